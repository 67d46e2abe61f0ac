//! The host's own login at a registry, as `docker login` keeps it in `config.json`.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::layout::Layout;
use crate::image::reference::ImageName;
use crate::secret::{Credentials, Secret};

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

/// root's login for this image's registry; `None` where there is none.
///
/// An error where there is one that cannot be used: a credential helper is a program, which the receiver
/// does not run for a request of CI's.
pub fn credentials(layout: &Layout, image: &ImageName) -> Result<Option<Credentials>, String> {
    let path = layout.docker_config();
    let shown = path.display();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{shown} cannot be read: {error}")),
    };
    credentials_in(&text, image).map_err(|why| format!("{shown}: {why}"))
}

/// The login for this image's registry in the text of a `config.json`.
pub fn credentials_in(text: &str, image: &ImageName) -> Result<Option<Credentials>, String> {
    let config: Config = serde_json::from_str(text)
        .map_err(|error| format!("it is no JSON of Docker's (line {})", error.line()))?;
    find(&config, image)
}

fn find(config: &Config, image: &ImageName) -> Result<Option<Credentials>, String> {
    let host = image.registry();
    let names = [host.to_owned(), format!("https://{host}"), format!("https://{host}/")];
    let hub = (host == "docker.io").then(|| HUB.to_owned());
    let Some(auth) = names.iter().chain(&hub).find_map(|name| config.auths.get(name)) else {
        return match config.helpers.get(host) {
            Some(helper) => Err(helper_only(helper)),
            None => Ok(None),
        };
    };
    if auth.auth.is_empty() {
        return match config.helpers.get(host).or(config.store.as_ref()) {
            Some(helper) => Err(helper_only(helper)),
            None => Ok(None),
        };
    }
    let broken = || format!("the login for {host} is not readable; log in again: docker login {host}");
    let bytes = STANDARD.decode(&auth.auth).map_err(|_| broken())?;
    let text = String::from_utf8(bytes).map_err(|_| broken())?;
    let (username, password) = text.split_once(':').ok_or_else(broken)?;
    let password = Secret::new(password.trim_end_matches('\0')).ok_or_else(broken)?;
    Ok(Some(Credentials { username: username.to_owned(), password }))
}

fn helper_only(helper: &str) -> String {
    format!(
        "the login lies with the credential helper docker-credential-{helper}, which is not run here. Let CI give one by `deploy-registry-username` and `deploy-registry-password`, or keep one in the file itself"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, image: &str) -> Result<Option<(String, String)>, String> {
        let config = serde_json::from_str(config).unwrap();
        let found = find(&config, &image.parse().unwrap())?;
        Ok(found.map(|found| (found.username, found.password.reveal().to_owned())))
    }

    #[test]
    fn logins_are_found_as_docker_keeps_them() {
        let login = Ok(Some(("user".to_owned(), "pass:word".to_owned())));
        let auth = STANDARD.encode("user:pass:word");
        for (host, image) in [
            ("ghcr.io", "ghcr.io/org/app"),
            ("https://ghcr.io", "ghcr.io/org/app"),
            ("localhost:5000", "localhost:5000/app"),
            (HUB, "docker.io/org/app"),
        ] {
            let config = format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}, "other": 1}}"#);
            assert_eq!(found(&config, image), login, "{host}");
            assert_eq!(found(&config, "example.org/app"), Ok(None), "{host}");
        }
        assert_eq!(found("{}", "ghcr.io/org/app"), Ok(None));
    }

    #[test]
    fn a_login_that_cannot_be_used_is_an_error_without_it() {
        let secret = STANDARD.encode("hunter2");
        for config in [
            r#"{"auths": {"ghcr.io": {}}, "credsStore": "desktop"}"#.to_owned(),
            r#"{"credHelpers": {"ghcr.io": "gcloud"}}"#.to_owned(),
            r#"{"auths": {"ghcr.io": {"auth": "%%%"}}}"#.to_owned(),
            format!(r#"{{"auths": {{"ghcr.io": {{"auth": "{secret}"}}}}}}"#),
        ] {
            let why = found(&config, "ghcr.io/org/app").unwrap_err();
            assert!(!why.contains("hunter2") && !why.contains(&secret), "{why}");
        }
    }
}
