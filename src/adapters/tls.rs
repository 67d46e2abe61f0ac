//! The one TLS stack of the program: rustls with ring.

/// Makes ring the process's provider of cryptography. Called again it does nothing.
///
/// reqwest and octocrab are built without a provider of their own, so that aws-lc-rs (C, cmake) stays
/// out of the tree; without this call they panic at the first client.
pub fn install_tls() {
    // An error says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
