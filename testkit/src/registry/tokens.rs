//! A token server as registries have beside them (distribution's token authentication).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::clock::now;
use crate::network::faults::{Fault, Faults};
use crate::network::http::{HttpRequest, HttpServer, Reply};

/// The registry's name in tokens.
pub const SERVICE: &str = "registry.test";
/// The token server's name in tokens.
pub const ISSUER: &str = "tokens.test";

/// distribution 2.8 takes tokens for so many seconds after their end (`Leeway` in its package `token`).
const LEEWAY: i64 = 60;

/// A request for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// What it asks for, such as `repository:org/app:pull,push`.
    pub scopes: Vec<String>,
    /// The service it names.
    pub service: Option<String>,
    /// The user of its Basic credentials.
    pub user: Option<String>,
    /// Whether a token was given.
    pub granted: bool,
}

/// A running token server.
pub struct TokenServer {
    server: HttpServer,
    certificate: PathBuf,
    shared: Arc<TokenShared>,
}

struct TokenShared {
    credentials: String,
    key: EcdsaKeyPair,
    chain: String,
    settings: Mutex<TokenSettings>,
}

struct TokenSettings {
    lifetime: i64,
    given: Option<i64>,
    field: &'static str,
    actions: Vec<String>,
    dead: usize,
    requests: Vec<TokenRequest>,
    faults: Faults,
}

impl TokenServer {
    /// Knows one user; keeps its certificate in the directory.
    pub fn start(user: &str, password: &str, directory: &Path) -> Self {
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        let certificate = certify(document.as_ref(), directory);
        let text = std::fs::read_to_string(&certificate).expect("the certificate");
        let shared = Arc::new(TokenShared {
            credentials: STANDARD.encode(format!("{user}:{password}")),
            key: key.expect("the key"),
            chain: text.lines().filter(|line| !line.starts_with("-----")).collect(),
            settings: Mutex::new(TokenSettings {
                lifetime: 300,
                given: Some(300),
                field: "token",
                actions: vec!["pull".to_owned(), "push".to_owned()],
                dead: 0,
                requests: Vec::new(),
                faults: Faults::default(),
            }),
        });
        let behind = Arc::clone(&shared);
        let server = HttpServer::start(move |asked| {
            let shared = Arc::clone(&behind);
            async move { shared.answer(&asked) }
        });
        Self { server, certificate, shared }
    }

    /// Where tokens are to be had: the `realm` of the registry's challenge.
    pub fn realm(&self) -> String {
        format!("{}/token", self.server.url())
    }

    /// The certificate that the registry trusts.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// How many seconds a token serves, to the second; and what its `expires_in` says (`None`: nothing).
    pub fn lifetime(&self, seconds: i64, given: Option<i64>) {
        let mut settings = self.settings();
        (settings.lifetime, settings.given) = (seconds, given);
    }

    /// The next so many tokens have run out before they arrive: the registry answers 401 to them.
    pub fn next_run_out(&self, count: usize) {
        self.settings().dead = count;
    }

    /// The answer's field: `token` (the default) or `access_token`.
    pub fn field(&self, name: &'static str) {
        self.settings().field = name;
    }

    /// What the user may do at most: `pull` and `push` by default.
    pub fn allow(&self, actions: &[&str]) {
        self.settings().actions = actions.iter().map(|action| (*action).to_owned()).collect();
    }

    /// Something happens to requests; the pattern is for `GET /token`.
    pub fn inject(&self, fault: Fault) {
        self.settings().faults.inject(fault);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.settings().requests.clone()
    }

    /// How many tokens were given.
    pub fn issued(&self) -> usize {
        self.settings().requests.iter().filter(|request| request.granted).count()
    }

    fn settings(&self) -> MutexGuard<'_, TokenSettings> {
        self.shared.settings()
    }
}

impl TokenShared {
    fn settings(&self) -> MutexGuard<'_, TokenSettings> {
        self.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn answer(&self, asked: &HttpRequest) -> Reply {
        let mut settings = self.settings();
        let fault = settings.faults.strike(&format!("{} {}", asked.method, asked.path));
        let own = match &fault {
            Some(fault) if fault.replaces() && !fault.is_after_effect() => None,
            _ => Some(self.own_answer(&mut settings, asked)),
        };
        match fault {
            Some(fault) => fault.apply(own),
            None => own.expect("an answer"),
        }
    }

    fn own_answer(&self, settings: &mut TokenSettings, asked: &HttpRequest) -> Reply {
        if asked.method != "GET" || asked.path != "/token" {
            return Reply::json(404, &json!({ "errors": [{ "code": "NOT_FOUND" }] }));
        }
        let scopes: Vec<String> = url::form_urlencoded::parse(asked.query.as_bytes())
            .filter(|(key, _)| key == "scope")
            .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let basic = asked.header("authorization").and_then(|header| header.strip_prefix("Basic "));
        let user = basic
            .and_then(|basic| STANDARD.decode(basic).ok())
            .and_then(|decoded| Some(String::from_utf8(decoded).ok()?.split_once(':')?.0.to_owned()));
        let granted = basic == Some(&self.credentials);
        settings.requests.push(TokenRequest {
            service: asked.parameter("service"),
            user,
            granted,
            scopes: scopes.clone(),
        });
        if !granted {
            let body =
                json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required" }] });
            return Reply::json(401, &body);
        }
        let dead = settings.dead > 0;
        settings.dead = settings.dead.saturating_sub(1);
        let lifetime = if dead { -1 } else { settings.lifetime };
        let mut body =
            json!({ "issued_at": jiff::Timestamp::from_second(now()).expect("a date").to_string() });
        body[settings.field] = json!(self.sign(&scopes, &settings.actions, lifetime));
        if let Some(given) = settings.given {
            body["expires_in"] = json!(given);
        }
        Reply::json(200, &body)
    }

    /// A JSON Web Token as distribution reads it: the certificate travels in `x5c`.
    fn sign(&self, scopes: &[String], actions: &[String], lifetime: i64) -> String {
        let issued = now();
        let access: Vec<Value> = scopes.iter().filter_map(|scope| grant(scope, actions)).collect();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.chain] });
        let claims = json!({
            "iss": ISSUER,
            "sub": "user",
            "aud": SERVICE,
            "iat": issued - LEEWAY - 10,
            "nbf": issued - LEEWAY - 10,
            "exp": issued + lifetime - LEEWAY,
            "jti": format!("{issued}-{}", scopes.join(" ")),
            "access": access,
        });
        let payload = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.key.sign(&SystemRandom::new(), payload.as_bytes()).expect("a signature");
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn grant(scope: &str, allowed: &[String]) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> =
        actions.split(',').filter(|action| allowed.iter().any(|may| may == action)).collect();
    Some(json!({ "type": kind, "name": name, "actions": actions }))
}

/// A self-signed certificate for the key, by the openssl program: no library in the tree makes one.
fn certify(key: &[u8], directory: &Path) -> PathBuf {
    let (key_file, certificate) = (directory.join("token-key.der"), directory.join("token-certificate.pem"));
    std::fs::write(&key_file, key).expect("the key");
    let output = Command::new("openssl")
        .args(["req", "-x509", "-new", "-days", "1", "-subj", "/CN=tokens.test", "-keyform", "DER", "-key"])
        .arg(&key_file)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap_or_else(|error| panic!("openssl (Debian package openssl): {error}"));
    assert!(output.status.success(), "openssl req: {}", String::from_utf8_lossy(&output.stderr));
    certificate
}
