//! What a person's own machine knows, where no CI says it: `gh`'s login, and Docker's.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::said::Environment;
use crate::image::login::{self, Login};
use crate::image::reference::ImageName;
use crate::secret::{Credentials, Secret};

/// The token of GitHub's own command line for this server. `None` where there is no `gh`, or no login.
pub fn github_token(server_host: &str) -> Option<Secret> {
    let mut gh = Command::new("gh");
    let output = gh.args(["auth", "token", "--hostname", server_host]).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| Secret::new(String::from_utf8(output.stdout).ok()?.trim())).flatten()
}

/// The person's login for the image's registry, as `docker login` keeps it. The error says why there is one
/// that cannot be used.
pub fn docker_login(environment: &Environment, image: &ImageName) -> Result<Option<Credentials>, String> {
    let folder = match (environment.get("DOCKER_CONFIG"), environment.get("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => PathBuf::from(home).join(".docker"),
        (None, None) => return Ok(None),
    };
    let path = folder.join("config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    match login::find(&text, image).map_err(|why| format!("{}: {why}", path.display()))? {
        Login::None => Ok(None),
        Login::Kept(credentials) => Ok(Some(credentials)),
        Login::Helper { helper, server } => ask_helper(&helper, &server),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The protocol of docker-credential-helpers: the server's name on standard input, JSON on standard output.
fn ask_helper(helper: &str, server: &str) -> Result<Option<Credentials>, String> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: &str| format!("{program} gives no login for {server}: {why}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failed(&error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read says so by its answer.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        // The helpers have a sentence for this, and all the same exit code.
        let unknown = String::from_utf8_lossy(&output.stdout).contains("credentials not found");
        return if unknown { Ok(None) } else { Err(failed("it failed")) };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|_| failed("it answers no JSON"))?;
    // `<token>` stands for an identity token, which only Docker's own login can change into another.
    if answer.username == "<token>" {
        return Err(failed("it keeps an identity token"));
    }
    Ok(Secret::new(&answer.secret).map(|password| Credentials { username: answer.username, password }))
}
