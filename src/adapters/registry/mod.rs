//! An OCI registry over HTTP (distribution specification 1.1): tags, manifests, labels.
//!
//! A request goes through three layers: [`connection`] knows how to ask (login, redirects, bounds,
//! repeats), [`tags`] and [`manifest`] know what an answer means, and [`refusal`] what to do about a no.
//! Everything that others wrote is read by pure functions ([`challenge`], [`link`], `read_…`).

mod access;
mod auth;
pub mod challenge;
mod connection;
mod grammar;
mod http;
pub mod link;
mod manifest;
mod refusal;
mod tags;
mod upload;

use std::collections::BTreeMap;

use ::http::{HeaderMap, StatusCode};
use reqwest::Url;

use super::retry::RetryPolicy;
use crate::ports::{Manifest, ManifestName, Registry, TagListing};
use autotag_base::CallResult;
use autotag_model::reference::{ImageName, ImageTag};
use autotag_model::secret::Credentials;

use connection::{RegistryAnswer, RegistryConnection};

pub use auth::{read_token, trusted_realm};
pub use manifest::{Part, labels_in, manifest_in, part};
pub use refusal::Complaint;
pub use tags::tags_in;
pub(crate) use {access::Permission, refusal::Parties};

/// One repository in a registry.
///
/// Loopback registries are asked by http, as Docker does, all others by https; the system's certificate
/// authorities are trusted, or those in the file that `SSL_CERT_FILE` names.
pub struct OciRegistry {
    name: ImageName,
    connection: RegistryConnection,
}

impl OciRegistry {
    /// Prepares; the first request is made by the first question.
    ///
    /// Fails where no certificate authorities are found, or where the user name cannot be sent.
    pub fn new(
        name: ImageName,
        credentials: Option<&Credentials>,
        patience: RetryPolicy,
    ) -> CallResult<Self> {
        let connection = RegistryConnection::new(&name, credentials, patience)?;
        Ok(Self { name, connection })
    }

    /// The repository's name.
    pub fn name(&self) -> &ImageName {
        &self.name
    }
}

impl Registry for OciRegistry {
    async fn list_tags(&self) -> CallResult<TagListing> {
        tags::list(&self.connection, &self.name).await
    }

    async fn may_push(&self) -> CallResult<()> {
        upload::may_push(&self.connection, &self.name).await
    }

    async fn manifest(&self, name: &ManifestName) -> CallResult<Option<Manifest>> {
        manifest::get(&self.connection, &self.name, name).await
    }

    async fn put_manifest(&self, tag: &ImageTag, manifest: &Manifest) -> CallResult<()> {
        manifest::put(&self.connection, &self.name, tag, manifest).await
    }

    async fn labels(&self, manifest: &Manifest) -> CallResult<BTreeMap<String, String>> {
        manifest::labels(&self.connection, &self.name, manifest).await
    }
}

/// Whether a URL stays on this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(domain)) => domain == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether an answer is the registry's own "there is no such thing".
fn is_absent(answer: &RegistryAnswer) -> bool {
    answer.status == StatusCode::NOT_FOUND && refusal::Complaint::read(&answer.body).is_absence()
}

/// The media type of an answer without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(::http::header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}
