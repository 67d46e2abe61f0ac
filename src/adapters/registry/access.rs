//! What a request is about to do, which decides what a token has to allow.

/// What a request needs to be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Read tags, manifests, blobs.
    Pull,
    /// Put a manifest.
    Push,
}
