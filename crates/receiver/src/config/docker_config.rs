//! The host's own login at a registry.

use std::io;

use crate::paths::Paths;
use autotag_docker::login;
use autotag_docker::login::Login;
use autotag_model::reference::ImageName;
use autotag_model::secret::Credentials;

/// root's login for this image's registry; `None` where there is none.
///
/// An error where there is one that cannot be used: a credential helper is a program, which the receiver
/// does not run for a request of CI's.
pub fn credentials(paths: &Paths, image: &ImageName) -> Result<Option<Credentials>, String> {
    let path = paths.docker_config();
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
    match login::find(text, image)? {
        Login::None => Ok(None),
        Login::Kept(credentials) => Ok(Some(credentials)),
        Login::Helper { helper, .. } => Err(format!(
            "the login is with the credential helper docker-credential-{helper}, which is not run here. Let \
             CI pass one with `deploy-registry-username` and `deploy-registry-password`, or keep one in the \
             file itself"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_helper_is_run_for_a_request() {
        let config = r#"{"credHelpers": {"ghcr.io": "gcloud"}}"#;
        let why = credentials_in(config, &"ghcr.io/org/app".parse().unwrap()).unwrap_err();
        assert!(
            why.contains("docker-credential-gcloud") && why.contains("deploy-registry-password"),
            "{why}"
        );
        assert_eq!(credentials_in("{}", &"ghcr.io/org/app".parse().unwrap()), Ok(None));
    }
}
