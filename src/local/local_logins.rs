//! What a person's own machine knows, where no CI says it: `gh`'s login, and Docker's.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use crate::inputs::raw::{Environment, RawInputs};
use crate::inputs::request::Request;
use autotag_docker::login;
use autotag_docker::login::Login;
use autotag_model::reference::ImageName;
use autotag_model::secret::{Credentials, Secret};

/// The GitHub server's name.
pub fn server_host(environment: &Environment) -> &str {
    host_of(environment.get("GITHUB_SERVER_URL").unwrap_or("https://github.com"))
}

/// The host of an address, with its port where it names one.
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Outside of Actions: the usual variables, and for a person who is there the login of GitHub's own command
/// line. Gives what is to be told about it.
pub fn find_github_token(environment: &Environment, raw: &mut RawInputs, attended: bool) -> Option<String> {
    if environment.in_actions() {
        return None;
    }
    if let Some(token) = environment.get("GITHUB_TOKEN").or_else(|| environment.get("GH_TOKEN")) {
        raw.set("github-token", token.to_owned());
        return None;
    }
    if environment.in_ci() || !attended {
        return None;
    }
    let host = server_host(environment);
    if !environment.get("GITHUB_API_URL").is_none_or(|api| belongs_to(api, host)) {
        return Some(format!(
            "`gh` is not asked for a login: GITHUB_API_URL is not of {host}, and only that host gets it"
        ));
    }
    match github_token(environment, host) {
        Some(token) => {
            raw.set("github-token", token.reveal().to_owned());
            Some(format!("{host}: using the login of `gh`"))
        }
        None => Some(format!("{host} is asked without a login: there is no GH_TOKEN, and none of `gh`")),
    }
}

/// Whether this address of the API is on the server, or on its `api.` neighbour (github.com, GHE.com).
fn belongs_to(api: &str, server: &str) -> bool {
    let host = host_of(api);
    host == server || host.strip_prefix("api.") == Some(server)
}

/// On a person's machine: Docker's own login for the image's registry. Gives what is to be told about it.
pub fn find_registry_login(environment: &Environment, request: &mut Request) -> Option<String> {
    let registry = request.version.image.registry();
    match docker_login(environment, &request.version.image) {
        Ok(None) => Some(format!(
            "{registry} is asked without a login: Docker keeps none (`docker login {registry}`)"
        )),
        Ok(Some(credentials)) => {
            let notice = format!("{registry} is asked as {}, by Docker's own login", credentials.username);
            request.registry = Some(credentials);
            Some(notice)
        }
        Err(why) => Some(format!("{registry} is asked without a login: {why}")),
    }
}

/// `None` where there is no `gh`, or no login.
fn github_token(environment: &Environment, server_host: &str) -> Option<Secret> {
    let mut gh = environment.command("gh");
    let output = gh.args(["auth", "token", "--hostname", server_host]).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| Secret::new(String::from_utf8(output.stdout).ok()?.trim())).flatten()
}

/// As `docker login` keeps it. The error says why there is one that cannot be used.
fn docker_login(environment: &Environment, image: &ImageName) -> Result<Option<Credentials>, String> {
    let directory = match (environment.get("DOCKER_CONFIG"), environment.get("HOME")) {
        (Some(directory), _) => PathBuf::from(directory),
        (None, Some(home)) => PathBuf::from(home).join(".docker"),
        (None, None) => return Ok(None),
    };
    let path = directory.join("config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    match login::find(&text, image).map_err(|why| format!("{}: {why}", path.display()))? {
        Login::None => Ok(None),
        Login::Kept(credentials) => Ok(Some(credentials)),
        Login::Helper { helper, server } => ask_helper(environment, &helper, &server),
    }
}

/// The protocol of docker-credential-helpers: the server's name on standard input, JSON on standard output.
fn ask_helper(environment: &Environment, helper: &str, server: &str) -> Result<Option<Credentials>, String> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: &str| format!("{program} gives no login for {server}: {why}");
    let mut command = environment.command(&program);
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
    login::answer(&output.stdout).map_err(failed)
}
