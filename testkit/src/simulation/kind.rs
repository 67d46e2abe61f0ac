//! What a call is, as far as schedules and faults differ by it.

/// A list that may lag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListOf {
    GitTags,
    ImageTags(String),
}

/// What a call is, as far as schedules and faults differ by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallKind {
    /// It reads what never changes: when it happens makes no difference.
    Fixed,
    /// It makes what no other run ever sees: likewise.
    Unseen,
    /// It reads what others may write.
    Read,
    /// A read of a list.
    List(ListOf),
    /// It writes what others may read.
    Write,
}

impl CallKind {
    /// Whether nobody else can notice when it happens.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Fixed | Self::Unseen)
    }

    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Fixed | Self::Read | Self::List(_))
    }
}
