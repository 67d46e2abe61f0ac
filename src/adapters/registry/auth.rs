//! Who we are, in the way that the registry asks for it: Basic, or a token that Basic buys.
//!
//! The password goes to two places: to the registry itself if it asks for Basic, and to the realm that
//! the registry itself named in a challenge. Never further: not along redirects, not over http but on
//! this machine's loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::Deserialize;

use super::access::Permission;
use super::challenge::Challenge;
use super::refusal::{Complaint, Parties};
use super::{http, is_loopback};
use crate::adapters::http_error;
use crate::adapters::retry::Idempotency;
use autotag_base::clock::Stopwatch;
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_model::help::Topic;
use autotag_model::reference::ImageName;
use autotag_model::secret::Credentials;

/// The life of a token that does not name it (distribution, token authentication specification).
const USUAL_LIFE: Duration = Duration::from_mins(1);

/// A token longer than this is none; answers of realms are bounded by it.
const TOKEN_ANSWER: usize = 1 << 20;

/// How the registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Offer {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// A token of the registry's, as the header that carries it.
struct Token {
    header: HeaderValue,
    age: Stopwatch,
    /// Not used when it is older than this.
    lasts: Duration,
}

/// What the registry has told so far.
#[derive(Default)]
struct Known {
    greeted: bool,
    offer: Option<Offer>,
    tokens: BTreeMap<Permission, Token>,
    scopes: BTreeMap<Permission, BTreeSet<String>>,
}

/// The login to one registry for one repository.
pub struct Auth {
    parties: Parties,
    /// `Basic …`.
    basic: Option<HeaderValue>,
    known: Mutex<Known>,
}

/// What was sent along with a request that the registry then refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No login.
    Nothing,
    /// A login of the kind that was last offered.
    Login,
}

impl Auth {
    /// A login that knows nothing of the registry yet.
    pub fn new(name: ImageName, credentials: Option<&Credentials>) -> CallResult<Self> {
        let doing = format!("logging in to {}", name.registry());
        let with_credentials = credentials.is_some();
        Ok(Self {
            parties: Parties { name, with_credentials },
            basic: credentials.map(|credentials| basic_header(&doing, credentials)).transpose()?,
            known: Mutex::default(),
        })
    }

    /// For the remedies.
    pub fn parties(&self) -> &Parties {
        &self.parties
    }

    /// Whether there are credentials, and nobody has asked yet how to present them.
    pub fn wants_greeting(&self) -> bool {
        self.basic.is_some() && !self.known().greeted
    }

    /// Takes in that the registry has been asked.
    pub fn greeted(&self) {
        self.known().greeted = true;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `Authorization` for a request to the registry itself; a token is fetched where one is needed.
    pub async fn header(
        &self,
        client: &reqwest::Client,
        access: Permission,
    ) -> CallResult<Option<HeaderValue>> {
        let (realm, service) = {
            let known = self.known();
            match &known.offer {
                None => return Ok(None),
                Some(Offer::Basic) => return Ok(self.basic.clone()),
                Some(Offer::Bearer { realm, service }) => {
                    if let Some(token) =
                        known.tokens.get(&access).filter(|token| token.age.elapsed() < token.lasts)
                    {
                        return Ok(Some(token.header.clone()));
                    }
                    (realm.clone(), service.clone())
                }
            }
        };
        let token = self
            .fetch_token(client, token_url(realm, service.as_deref(), &self.scopes(access)), access)
            .await?;
        let header = token.header.clone();
        self.known().tokens.insert(access, token);
        Ok(Some(header))
    }

    /// What to ask a token for: our own need, and what the registry has said that it wants to see.
    fn scopes(&self, access: Permission) -> BTreeSet<String> {
        let mut scopes = self.known().scopes.get(&access).cloned().unwrap_or_default();
        scopes.insert(self.own_scope(access));
        scopes
    }

    fn own_scope(&self, access: Permission) -> String {
        let actions = if access == Permission::Pull { "pull" } else { "pull,push" };
        format!("repository:{}:{actions}", self.parties.name.repository())
    }

    /// Takes in the challenges of a 401 from the registry itself. True if it makes sense to ask again:
    /// with a login where there was none, with a new token where the old one may have run out, with
    /// more scopes where more are asked for.
    pub fn learn(
        &self,
        challenges: &[Challenge],
        access: Permission,
        sent: Sent,
        first_try: bool,
    ) -> CallResult<bool> {
        let bearer =
            challenges.iter().find(|it| it.scheme == "bearer" && it.parameters.contains_key("realm"));
        let Some(bearer) = bearer else {
            let basic = self.basic.is_some() && challenges.iter().any(|it| it.scheme == "basic");
            let mut known = self.known();
            let news = basic && (sent == Sent::Nothing || known.offer != Some(Offer::Basic));
            if news {
                known.offer = Some(Offer::Basic);
            }
            return Ok(news);
        };
        let realm = self.trusted_realm(&bearer.parameters["realm"])?;
        let scopes: BTreeSet<String> = bearer
            .parameters
            .get("scope")
            .map(|scopes| scopes.split_ascii_whitespace().map(str::to_owned).collect())
            .unwrap_or_default();
        let asked_so_far = self.scopes(access);
        let more_scopes = !scopes.is_subset(&asked_so_far);
        let mut known = self.known();
        known.tokens.remove(&access);
        known.offer = Some(Offer::Bearer { realm, service: bearer.parameters.get("service").cloned() });
        known.scopes.entry(access).or_default().extend(scopes);
        Ok(sent == Sent::Nothing || first_try || more_scopes)
    }

    /// The realm, if the password may go there.
    fn trusted_realm(&self, realm: &str) -> CallResult<Url> {
        let refuse = |why: &str| {
            let registry = self.parties.name.registry();
            Err(CallError::new(
                CallErrorKind::InvalidResponse,
                format!("logging in to {registry}"),
                format!("it sends logins to {}, {why}", http_error::excerpt(realm)),
            ))
        };
        trusted_realm(&self.parties.name, realm).or_else(refuse)
    }

    async fn fetch_token(&self, client: &reqwest::Client, url: Url, access: Permission) -> CallResult<Token> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let doing = format!("logging in to {} at {host}", self.parties.name.registry());
        let age = Stopwatch::start();
        let mut request = client.get(url).header(header::ACCEPT, "application/json");
        if let Some(basic) = &self.basic {
            request = request.header(header::AUTHORIZATION, basic.clone());
        }
        let response = request
            .send()
            .await
            .map_err(|error| http_error::from_reqwest(&doing, error, Idempotency::Read))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = http::bounded_body(&doing, response, TOKEN_ANSWER, Idempotency::Read).await?;
        if status != StatusCode::OK {
            let complaint = Complaint::read(&body);
            return Err(self.parties.refusal(
                &doing,
                status,
                &headers,
                &complaint,
                (Idempotency::Read, access),
            ));
        }
        let (header, life) =
            read_token(&body).map_err(|why| CallError::new(CallErrorKind::InvalidResponse, doing, why))?;
        // A little earlier than it runs out: the request itself takes time.
        let lasts = life.saturating_sub(Duration::from_secs(10).min(life / 5));
        Ok(Token { header, age, lasts })
    }
}

/// The realm that a registry names, if the password for this image may go there; else why not.
pub fn trusted_realm(name: &ImageName, realm: &str) -> Result<Url, &'static str> {
    let url = Url::parse(realm).map_err(|_| "which is no URL")?;
    if !http::is_plain(&url) {
        return Err("which is not a plain http or https URL");
    }
    let on_this_machine = name.is_loopback() && is_loopback(&url);
    if url.scheme() != "https" && !on_this_machine {
        return Err("where the password would be sent unencrypted");
    }
    Ok(url)
}

fn basic_header(doing: &str, credentials: &Credentials) -> CallResult<HeaderValue> {
    if credentials.username.contains(':') {
        return Err(CallError::new(
            CallErrorKind::Rejected,
            doing,
            "the user name contains a `:`, which no HTTP login can carry (RFC 7617, 2)",
        )
        .with_remedy("set the input `registry-username` to the user's name alone")
        .about(Topic::RegistryLogin));
    }
    let pair = format!("{}:{}", credentials.username, credentials.password.reveal());
    let mut header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
        .expect("base64 is made of characters that a header may hold");
    header.set_sensitive(true);
    Ok(header)
}

/// The realm with its own query kept, and ours added.
fn token_url(mut realm: Url, service: Option<&str>, scopes: &BTreeSet<String>) -> Url {
    let mut query = realm.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    for scope in scopes {
        query.append_pair("scope", scope);
    }
    drop(query);
    realm
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// The token of a realm's answer and how long it lives; else why there is none, without the body: it
/// may hold half a token.
pub fn read_token(body: &[u8]) -> Result<(HeaderValue, Duration), String> {
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|error| {
        format!("the answer is not a token: line {}, column {}", error.line(), error.column())
    })?;
    let token = [answer.token, answer.access_token]
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty())
        .ok_or("the answer holds neither `token` nor `access_token`")?;
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| "the token has characters that no header can hold".to_owned())?;
    header.set_sensitive(true);
    Ok((header, answer.expires_in.map_or(USUAL_LIFE, Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use super::super::challenge::parse;
    use super::*;
    use autotag_model::secret::Secret;

    fn auth(name: &str, password: Option<&str>) -> Auth {
        let credentials = password.map(|password| Credentials {
            username: "usér".to_owned(),
            password: Secret::new(password).expect("not empty"),
        });
        Auth::new(name.parse().expect(name), credentials.as_ref()).expect("usable credentials")
    }

    #[test]
    fn basic_carries_every_character() {
        let every: String = ('!'..='~').chain("äß€🦀".chars()).collect();
        let header = auth("ghcr.io/o/a", Some(&every)).basic.expect("a header");
        let text = header.to_str().expect("ASCII").strip_prefix("Basic ").expect("Basic").to_owned();
        let pair = STANDARD.decode(text).expect("base64");
        assert_eq!(String::from_utf8(pair).expect("UTF-8"), format!("usér:{every}"));
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[test]
    fn a_user_with_a_colon_is_refused() {
        let credentials =
            Credentials { username: "a:b".to_owned(), password: Secret::new("x").expect("not empty") };
        let error =
            Auth::new("ghcr.io/o/a".parse().expect("a name"), Some(&credentials)).err().expect("refused");
        assert!(error.remedy.expect("a remedy").contains("registry-username"));
    }

    // invariant secrets
    #[test]
    fn realms_that_would_give_the_password_away_are_refused() {
        for (name, realm, trusted) in [
            ("ghcr.io/o/a", "https://ghcr.io/token", true),
            ("docker.io/o/a", "https://auth.docker.io/token", true),
            ("localhost:5000/a", "http://127.0.0.1:5001/token", true),
            ("localhost:5000/a", "http://[::1]:5001/token", true),
            ("localhost:5000/a", "https://auth.example/token", true),
            ("localhost:5000/a", "http://auth.example/token", false),
            ("ghcr.io/o/a", "http://ghcr.io/token", false),
            ("ghcr.io/o/a", "http://127.0.0.1/token", false),
            ("ghcr.io/o/a", "https://user:secret@ghcr.io/token", false),
            ("ghcr.io/o/a", "/token", false),
            ("ghcr.io/o/a", "ftp://ghcr.io/token", false),
            ("ghcr.io/o/a", "", false),
        ] {
            assert_eq!(auth(name, Some("x")).trusted_realm(realm).is_ok(), trusted, "{name} {realm}");
        }
    }

    #[test]
    fn it_asks_again_only_with_something_new() {
        let bearer = "Bearer realm=\"https://x/t\",service=\"s\",scope=\"repository:o/a:pull\"";
        let wider = "Bearer realm=\"https://x/t\",scope=\"repository:o/a:pull repository:o/a:metadata_read\"";
        for (password, header, sent, first_try, expected) in [
            (Some("x"), "Basic realm=a", Sent::Nothing, true, true),
            (None, "Basic realm=a", Sent::Nothing, true, false),
            (Some("x"), "Negotiate", Sent::Nothing, true, false),
            (Some("x"), "Bearer service=y", Sent::Nothing, true, false),
            (None, bearer, Sent::Nothing, true, true),
            (Some("x"), bearer, Sent::Login, true, true),
            (Some("x"), bearer, Sent::Login, false, false),
            (Some("x"), wider, Sent::Login, false, true),
        ] {
            let auth = auth("ghcr.io/o/a", password);
            let again = auth.learn(&parse(header), Permission::Pull, sent, first_try).expect("trusted");
            assert_eq!(again, expected, "{header} {sent:?} {first_try}");
        }
        let basic = auth("ghcr.io/o/a", Some("x"));
        let refused =
            |sent| basic.learn(&parse("Basic realm=a"), Permission::Push, sent, true).expect("no realm");
        assert_eq!((refused(Sent::Nothing), refused(Sent::Login)), (true, false));
    }

    #[test]
    fn what_is_asked_of_the_realm() {
        let auth = auth("ghcr.io/o/a", None);
        let wider = "Bearer realm=\"https://x/t?q=1\",scope=\"repository:o/a:metadata_read\"";
        auth.learn(&parse(wider), Permission::Pull, Sent::Nothing, true).expect("trusted");
        let url = |access| {
            let realm = Url::parse("https://x/t?q=1").expect("a URL");
            token_url(realm, Some("a b&c"), &auth.scopes(access)).to_string()
        };
        let start = "https://x/t?q=1&service=a+b%26c&scope=repository%3Ao%2Fa%3A";
        assert_eq!(url(Permission::Pull), format!("{start}metadata_read&scope=repository%3Ao%2Fa%3Apull"));
        assert_eq!(url(Permission::Push), format!("{start}pull%2Cpush"));
    }

    #[test]
    fn tokens_are_read_in_both_spellings() {
        for (body, expected) in [
            (r#"{"token":"t"}"#, Some(("Bearer t", 60))),
            (r#"{"access_token":"t","expires_in":300}"#, Some(("Bearer t", 300))),
            (r#"{"token":"","access_token":"t","refresh_token":"r"}"#, Some(("Bearer t", 60))),
            (r#"{"token":"t","access_token":"u","expires_in":null}"#, Some(("Bearer t", 60))),
            ("{}", None),
            (r#"{"token":"a\nb"}"#, None),
            ("<html>", None),
        ] {
            let token = read_token(body.as_bytes());
            let token =
                token.as_ref().ok().map(|(header, life)| (header.to_str().expect("ASCII"), life.as_secs()));
            assert_eq!(token, expected, "{body}");
        }
    }
}
