//! A machine's own login at a registry, as `docker login` keeps it in `config.json`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use autotag_model::reference::ImageName;
use autotag_model::secret::{Credentials, Secret};

#[derive(Deserialize, Default)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Auth {
    #[serde(default)]
    auth: String,
}

/// What Docker calls the Hub in its configuration (moby, `registry.IndexServer`).
const HUB: &str = "https://index.docker.io/v1/";

/// Where the login for a registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Nowhere.
    None,
    /// In the file itself.
    Kept(Credentials),
    /// With the program `docker-credential-HELPER`, which calls the registry this.
    Helper {
        /// The program's name without `docker-credential-`.
        helper: String,
        /// What to ask it for.
        server: String,
    },
}

/// The login for this image's registry in the text of a `config.json`.
pub fn find(text: &str, image: &ImageName) -> Result<Login, String> {
    let config: Config = serde_json::from_str(text)
        .map_err(|error| format!("it is not the JSON that Docker writes (line {})", error.line()))?;
    let host = image.registry();
    let hub = (host == "docker.io").then(|| HUB.to_owned());
    let names = [host.to_owned(), format!("https://{host}"), format!("https://{host}/")];
    let found = names.iter().chain(&hub).find_map(|name| Some((name, config.auths.get(name)?)));
    let (server, auth) = match found {
        Some((_, Auth { auth })) if !auth.is_empty() => (host, auth),
        // An entry without a login means that the store has it.
        found => {
            let store = config.store.as_ref().filter(|_| found.is_some());
            let server = found.map_or(hub.as_deref().unwrap_or(host), |(name, _)| name);
            let mut own = std::iter::once(host).chain(hub.as_deref());
            return Ok(match own.find_map(|name| config.helpers.get(name)).or(store) {
                Some(helper) => Login::Helper { helper: helper.clone(), server: server.to_owned() },
                None => Login::None,
            });
        }
    };
    let broken = || format!("the login for {server} cannot be read; log in again: docker login {server}");
    let bytes = STANDARD.decode(auth).map_err(|_| broken())?;
    let text = String::from_utf8(bytes).map_err(|_| broken())?;
    let (username, password) = text.split_once(':').ok_or_else(broken)?;
    let password = Secret::new(password.trim_end_matches('\0')).ok_or_else(broken)?;
    Ok(Login::Kept(Credentials { username: username.to_owned(), password }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What a credential helper answers to `get`: JSON with `Username` and `Secret`
/// (<https://github.com/docker/docker-credential-helpers#development>). An empty secret is no login.
///
/// An error says why it is none that can be used, without a word of it.
pub fn answer(bytes: &[u8]) -> Result<Option<Credentials>, &'static str> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|_| "its answer is not JSON")?;
    // It stands for an identity token, which only Docker's own login can change into another.
    if answer.username == "<token>" {
        return Err("it keeps an identity token");
    }
    Ok(Secret::new(&answer.secret).map(|password| Credentials { username: answer.username, password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, image: &str) -> Result<Login, String> {
        find(config, &image.parse().unwrap())
    }

    #[test]
    fn logins_are_found_as_docker_keeps_them() {
        let auth = STANDARD.encode("user:pass:word");
        for (host, image) in [
            ("ghcr.io", "ghcr.io/org/app"),
            ("https://ghcr.io", "ghcr.io/org/app"),
            ("localhost:5000", "localhost:5000/app"),
            (HUB, "docker.io/org/app"),
        ] {
            let config = format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}, "other": 1}}"#);
            let Ok(Login::Kept(login)) = found(&config, image) else { panic!("no login for {host}") };
            assert_eq!((login.username.as_str(), login.password.reveal()), ("user", "pass:word"), "{host}");
            assert_eq!(found(&config, "example.org/app"), Ok(Login::None), "{host}");
        }
        assert_eq!(found("{}", "ghcr.io/org/app"), Ok(Login::None));
    }

    #[test]
    fn a_credential_helper_is_asked_for_the_name_it_stored() {
        for (config, image, expected) in [
            (r#"{"auths": {"ghcr.io": {}}, "credsStore": "desktop"}"#, "ghcr.io/a/b", ("desktop", "ghcr.io")),
            (r#"{"credHelpers": {"gcr.io": "gcloud"}}"#, "gcr.io/a/b", ("gcloud", "gcr.io")),
            (
                r#"{"auths": {"https://index.docker.io/v1/": {}}, "credsStore": "desktop"}"#,
                "docker.io/a/b",
                ("desktop", HUB),
            ),
        ] {
            let (helper, server) = (expected.0.to_owned(), expected.1.to_owned());
            assert_eq!(found(config, image), Ok(Login::Helper { helper, server }), "{config}");
        }
        // A store that never heard of the registry is not asked.
        assert_eq!(found(r#"{"auths": {}, "credsStore": "desktop"}"#, "ghcr.io/a/b"), Ok(Login::None));
    }

    #[test]
    fn an_unreadable_login_is_an_error_that_hides_it() {
        let secret = STANDARD.encode("hunter2");
        for auth in ["%%%", secret.as_str()] {
            let config = format!(r#"{{"auths": {{"ghcr.io": {{"auth": "{auth}"}}}}}}"#);
            let why = found(&config, "ghcr.io/org/app").unwrap_err();
            assert!(!why.contains("hunter2") && !why.contains(&secret), "{why}");
        }
    }

    #[test]
    fn a_credential_helpers_answer_is_a_login_or_a_reason() {
        let login = answer(br#"{"ServerURL": "ghcr.io", "Username": "user", "Secret": "hunter2"}"#);
        let Ok(Some(login)) = login else { panic!("no login") };
        assert_eq!((login.username.as_str(), login.password.reveal()), ("user", "hunter2"));
        assert_eq!(answer(br#"{"Username": "", "Secret": ""}"#), Ok(None));
        assert_eq!(
            answer(br#"{"Username": "<token>", "Secret": "hunter2"}"#),
            Err("it keeps an identity token")
        );
        for text in ["", "hunter2", r#"{"Username": "user"}"#, r#"{"username": "user", "secret": "hunter2"}"#]
        {
            assert_eq!(answer(text.as_bytes()), Err("its answer is not JSON"), "{text}");
        }
    }
}
