//! As whom the image's registry is asked.

use super::raw::RawInputs;
use super::reader::Reader;
use super::run::{Cause, Run};
use autotag_model::reference::ImageName;
use autotag_model::secret::Credentials;

impl<'a> Reader<'a> {
    /// A user name for Basic authentication, in which a colon ends it (RFC 7617, section 2).
    pub(super) fn username(&mut self, name: &str) -> Option<&'a str> {
        let inputs: &'a RawInputs = self.raw;
        let username = inputs.given(name)?;
        if username.contains(':') || username.contains(char::is_control) {
            let expected = "a user name without colons; a password goes into the input for the password";
            // What stands behind the colon may be the password.
            let shown = username.split([':', '\n', '\r']).next().unwrap_or_default();
            self.errors.of_input(name, &format!("{shown}:\u{2026}"), expected);
        }
        Some(username)
    }

    /// The user's own; else the workflow's token, but for GitHub's own registry only.
    pub(super) fn registry_credentials(
        &mut self,
        image: Option<&ImageName>,
        run: &Run,
    ) -> Option<Credentials> {
        let username = self.username("registry-username");
        let password = self.raw.secret("registry-password");
        match (username, password) {
            (Some(username), Some(password)) => Some(Credentials { username: username.to_owned(), password }),
            // Pull requests of forks and of Dependabot get no secrets; they publish nothing either.
            (Some(_), None) if matches!(run.cause, Cause::Other { .. }) => {
                let notice = "`registry-password` is empty: the registry is asked without credentials";
                self.notices.push(notice.to_owned());
                None
            }
            (Some(username), None) => {
                self.errors.of_input(
                    "registry-password",
                    "",
                    format!("a password for `registry-username: {username}`"),
                );
                None
            }
            (None, Some(_)) => {
                self.errors.of_input(
                    "registry-username",
                    "",
                    "the user name that `registry-password` belongs to",
                );
                None
            }
            (None, None) => {
                let owned = image.is_some_and(|image| image.registry() == own_registry(&run.server_url));
                let token = self.raw.secret("workflow-token").filter(|_| owned)?;
                Some(Credentials { username: run.actor.clone(), password: token })
            }
        }
    }
}

/// The container registry that belongs to a GitHub server: ghcr.io, or `containers.HOST` on an Enterprise
/// Server and with data residency ("Working with the Container registry", GitHub's documentation).
pub(super) fn own_registry(server_url: &str) -> String {
    let host = server_url.split_once("://").map_or(server_url, |(_, host)| host).to_lowercase();
    if host == "github.com" { "ghcr.io".to_owned() } else { format!("containers.{host}") }
}
