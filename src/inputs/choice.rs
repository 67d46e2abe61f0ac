//! Inputs that take one of a few words.

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the input `bump` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Bump {
    /// The last number.
    Patch,
    /// The middle one.
    Minor,
    /// The first one.
    Major,
    /// What the commits ask for.
    Auto,
}

/// Where the build's cache is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Cache {
    /// In the image.
    Inline,
    /// Nowhere.
    None,
}

/// What to do about `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LatestPolicy {
    /// Keep it at the highest version; warn where the registry forbids to move it.
    Auto,
    /// Keep it there; fail where that is forbidden.
    #[strum(serialize = "true")]
    Must,
    /// Leave it alone.
    #[strum(serialize = "false")]
    Never,
}

/// What becomes of the hosts that are done when a later one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum OnFailure {
    /// They keep the new version.
    Keep,
    /// They go back to what they had.
    Rollback,
}
