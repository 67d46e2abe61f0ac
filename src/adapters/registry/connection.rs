//! One request to the registry: login, redirects, bounds, repeats.

use ::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Client, Response, Url};

use super::access::Permission;
use super::auth::{Auth, Sent};
use super::challenge;
use super::http::{beginning, bounded_body, is_plain};
use super::refusal::Complaint;
use crate::adapters::http_error;
use crate::adapters::retry;
use crate::adapters::retry::{Idempotency, RetryPolicy};
use autotag_base::{CallError, CallErrorKind, CallResult, Effect};
use autotag_model::help::Topic;
use autotag_model::reference::ImageName;
use autotag_model::secret::Credentials;

/// A chain of more redirects than this leads nowhere. Registries use one, to the blob's storage.
const REDIRECTS: usize = 5;

/// With no login, with one, with one that has more scopes.
const LOGINS: usize = 3;

/// Of the body of an error answer, so much is read.
const ERROR_BODY: usize = 1 << 16;

/// A request, without what the connection adds.
pub struct RegistryRequest<'a> {
    /// In words, for errors.
    pub doing: &'a str,
    /// GET, PUT, POST or DELETE.
    pub method: Method,
    /// On the registry's own host.
    pub url: Url,
    /// What it needs to be allowed.
    pub access: Permission,
    /// The media types that are understood.
    pub accept: &'static str,
    /// What is put, with its media type.
    pub body: Option<(&'a [u8], &'a str)>,
    /// Bytes of the answer; more than that is an error.
    pub limit: usize,
    /// What doing it twice means.
    pub repeat: Idempotency,
}

/// An answer with its whole body: whatever the caller can branch on. Rate limits and failures of the
/// server never get here.
pub struct RegistryAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body; of an error answer its beginning.
    pub body: Vec<u8>,
    /// Where it came from.
    pub url: Url,
    /// Whether an earlier try of the same request may have taken effect.
    pub perhaps_done: bool,
}

/// The way to one registry.
pub struct RegistryConnection {
    client: Client,
    home: Url,
    auth: Auth,
    patience: RetryPolicy,
}

impl RegistryConnection {
    /// Opens nothing yet.
    pub fn new(
        name: &ImageName,
        credentials: Option<&Credentials>,
        patience: RetryPolicy,
    ) -> CallResult<Self> {
        let doing = format!("preparing to ask {}", name.registry());
        let scheme = if name.is_loopback() { "http" } else { "https" };
        let home = Url::parse(&format!("{scheme}://{}/v2/", name.api_host()))
            .map_err(|error| CallError::new(CallErrorKind::Rejected, &doing, error.to_string()))?;
        crate::adapters::install_tls();
        let mut builder = http_error::client(patience.each)
            // Both are done here: repeats by one table, redirects without the login.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if name.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            CallError::new(CallErrorKind::Rejected, &doing, http_error::chain(&error)).with_remedy(
                "let SSL_CERT_FILE name a file with the certificates of the authorities to trust; in a container, \
                 copy /etc/ssl/certs/ca-certificates.crt into it",
            )
            .about(Topic::Certificate)
        })?;
        Ok(Self { client, home, auth: Auth::new(name.clone(), credentials)?, patience })
    }

    /// A URL under `/v2/`.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.home.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }

    /// The URL in a `Link`, which must lead to this registry again.
    ///
    /// A registry behind a proxy that ends TLS often thinks that it is served by http; on the same host
    /// that is read as https.
    pub fn next_url(&self, page: &Url, link: &str) -> Option<Url> {
        let mut next = page.join(link).ok().filter(is_plain)?;
        next.set_fragment(None);
        if next.scheme() == "http" && self.home.scheme() == "https" && next.port().is_none() {
            next.set_scheme("https").ok()?;
        }
        (next.origin() == self.home.origin()).then_some(next)
    }

    /// Asks, with patience.
    pub async fn ask(&self, ask: &RegistryRequest<'_>) -> CallResult<RegistryAnswer> {
        let mut perhaps_done = false;
        let answer = retry::with_retries(&self.patience, ask.repeat, async || {
            let outcome = self.ask_once(ask).await;
            perhaps_done |= matches!(&outcome, Err(error) if error.effect == Effect::Unknown);
            outcome
        });
        let answer = answer.await?;
        Ok(RegistryAnswer { perhaps_done, ..answer })
    }

    /// The error of an answer that the caller has no use for.
    pub fn refusal(&self, ask: &RegistryRequest<'_>, answer: &RegistryAnswer) -> CallError {
        let complaint = Complaint::read(&answer.body);
        let parties = self.auth.parties();
        let error =
            parties.refusal(ask.doing, answer.status, &answer.headers, &complaint, (ask.repeat, ask.access));
        if answer.perhaps_done { error.perhaps_done() } else { error }
    }

    /// Asks, and takes the first answer.
    pub async fn ask_once(&self, ask: &RegistryRequest<'_>) -> CallResult<RegistryAnswer> {
        if self.auth.wants_greeting() {
            self.greet(ask).await?;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let login = self.auth.header(&self.client, ask.access).await?;
            let sent = if login.is_some() { Sent::Login } else { Sent::Nothing };
            let (response, url) = self.send(ask, login).await?;
            // A 401 from where a redirect led is no question of the registry's.
            if response.status() == StatusCode::UNAUTHORIZED
                && url.origin() == self.home.origin()
                && tries < LOGINS
                && self.auth.learn(&challenges(response.headers()), ask.access, sent, tries == 1)?
            {
                continue;
            }
            return self.whole(ask, response, url).await;
        }
    }

    /// Asks for the way to log in before anything else.
    ///
    /// Without a login some registries answer 404 for what they have and would show; taken at its word
    /// that would be "nothing was pushed yet".
    async fn greet(&self, ask: &RegistryRequest<'_>) -> CallResult<()> {
        let request = self.client.get(self.home.clone());
        let response = request
            .send()
            .await
            .map_err(|error| http_error::from_reqwest(ask.doing, error, Idempotency::Read))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::UNAUTHORIZED {
            self.auth.learn(&challenges(&headers), ask.access, Sent::Nothing, true)?;
        } else if !status.is_success() {
            let call_error = http_error::from_status(ask.doing, status, &headers, "", Idempotency::Read);
            if is_passing(&call_error) {
                return Err(call_error);
            }
        }
        self.auth.greeted();
        Ok(())
    }

    /// Sends, and follows the redirects of a GET: the login stays at the registry, and nothing goes from
    /// https to http. A PUT follows none.
    async fn send(
        &self,
        ask: &RegistryRequest<'_>,
        mut login: Option<HeaderValue>,
    ) -> CallResult<(Response, Url)> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let mut request =
                self.client.request(ask.method.clone(), url.clone()).header(header::ACCEPT, ask.accept);
            if let Some(login) = &login {
                request = request.header(header::AUTHORIZATION, login.clone());
            }
            if let Some((bytes, media_type)) = ask.body {
                request = request.header(header::CONTENT_TYPE, media_type).body(bytes.to_vec());
            }
            let response = request
                .send()
                .await
                .map_err(|error| http_error::from_reqwest(ask.doing, error, ask.repeat))?;
            if ask.method != Method::GET || !is_redirect(response.status()) {
                return Ok((response, url));
            }
            url = redirect_target(&url, response.headers())
                .map_err(|why| CallError::new(CallErrorKind::InvalidResponse, ask.doing, why))?;
            if url.origin() != self.home.origin() {
                login = None;
            }
        }
        Err(CallError::new(
            CallErrorKind::InvalidResponse,
            ask.doing,
            format!("more than {REDIRECTS} redirects in a row"),
        ))
    }

    /// Reads the answer; what the retry table may repeat becomes an error here.
    async fn whole(
        &self,
        ask: &RegistryRequest<'_>,
        response: Response,
        url: Url,
    ) -> CallResult<RegistryAnswer> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = if status.is_success() {
            bounded_body(ask.doing, response, ask.limit, ask.repeat).await?
        } else {
            beginning(response, ERROR_BODY).await
        };
        let answer = RegistryAnswer { status, headers, body, url, perhaps_done: false };
        if !status.is_success() {
            let error = self.refusal(ask, &answer);
            if is_passing(&error) {
                return Err(error);
            }
        }
        Ok(answer)
    }
}

/// Whether waiting may help, so that it is for the retry table and not for the caller.
fn is_passing(error: &CallError) -> bool {
    matches!(error.kind, CallErrorKind::Throttled | CallErrorKind::Unreachable)
}

fn challenges(headers: &HeaderMap) -> Vec<challenge::Challenge> {
    let values = headers.get_all(header::WWW_AUTHENTICATE);
    values.iter().flat_map(|value| challenge::parse(&String::from_utf8_lossy(value.as_bytes()))).collect()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads; else why nobody goes there. The URL is not in the words: it may be signed.
fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok()).filter(is_plain);
    let target = target.ok_or("a redirect without a plain http or https URL")?;
    if from.scheme() == "https" && target.scheme() != "https" {
        return Err(format!("a redirect from https to http, to {}", target.host_str().unwrap_or_default()));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(name: &str) -> RegistryConnection {
        RegistryConnection::new(&name.parse().expect(name), None, RetryPolicy::quick()).expect("a client")
    }

    #[test]
    fn the_scheme_is_docker_s() {
        for (name, url) in [
            ("ghcr.io/o/a", "https://ghcr.io/v2/x"),
            ("o/a", "https://registry-1.docker.io/v2/x"),
            ("localhost:5000/a", "http://localhost:5000/v2/x"),
            ("[::1]:5000/a", "http://[::1]:5000/v2/x"),
        ] {
            assert_eq!(connection(name).url("x").as_str(), url);
        }
    }

    #[test]
    fn the_next_page_is_on_the_same_host() {
        let connection = connection("ghcr.io/o/a");
        let page = Url::parse("https://ghcr.io/v2/o/a/tags/list?n=1000").expect("a URL");
        let list = "https://ghcr.io/v2/o/a/tags/list";
        for (link, expected) in [
            ("/v2/o/a/tags/list?last=b", Some(format!("{list}?last=b"))),
            ("?last=b&n=5", Some(format!("{list}?last=b&n=5"))),
            ("https://ghcr.io:443/v2/o/a/tags/list?last=b#x", Some(format!("{list}?last=b"))),
            ("http://ghcr.io/v2/o/a/tags/list?last=b", Some(format!("{list}?last=b"))),
            ("", Some(page.to_string())),
            ("http://ghcr.io:8080/v2/o/a/tags/list", None),
            ("https://ghcr.io:8443/v2/o/a/tags/list", None),
            ("https://evil.example/v2/o/a/tags/list", None),
            ("//evil.example/v2/o/a/tags/list", None),
            ("https://ghcr.io@evil.example/", None),
            ("https://user@ghcr.io/v2/", None),
            ("https://[", None),
        ] {
            assert_eq!(connection.next_url(&page, link).map(|url| url.to_string()), expected, "{link}");
        }
    }

    #[test]
    fn redirects_never_leave_https() {
        for (from, location, expected) in [
            ("https://r/v2/", Some("https://s/x?sig=1"), Some("https://s/x?sig=1")),
            ("https://r/v2/", Some("/y"), Some("https://r/y")),
            ("http://localhost/v2/", Some("http://localhost:9000/y"), Some("http://localhost:9000/y")),
            ("http://localhost/v2/", Some("https://s/"), Some("https://s/")),
            ("https://r/v2/", Some("http://r/x"), None),
            ("https://r/v2/", Some("https://u:p@s/x"), None),
            ("https://r/v2/", Some("file:///etc/passwd"), None),
            ("https://r/v2/", Some("data:,x"), None),
            ("https://r/v2/", None, None),
        ] {
            let headers = location
                .map(|location| (header::LOCATION, location.parse().expect("a header")))
                .into_iter()
                .collect::<HeaderMap>();
            let from = Url::parse(from).expect("a URL");
            let target = redirect_target(&from, &headers).map(|url| url.to_string());
            assert_eq!(target.as_deref().ok(), expected, "{from} {location:?}");
        }
    }
}
