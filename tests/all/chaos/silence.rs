//! A server that takes a request and says nothing, or drips its answer: each try ends by its own deadline.
//!
//! The run is in this process, with short deadlines; the program's own are the same code with half a minute and
//! more in it. Only one deadline at a time is short, so that neither can stand in for the other, and the
//! servers' side gives up (or comes to its answer's end) long after it.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autotag_base::{CallErrorKind, Effect};
use autotag_deploy::adapters::github::{GitHub, GithubAccess};
use autotag_deploy::adapters::registry::OciRegistry;
use autotag_deploy::adapters::retry::{RetryPolicy, TryDeadlines};
use autotag_deploy::ports::{Forge as _, NewRelease, RefUpdate, Registry as _};
use autotag_model::git::{ObjectId, RefName};
use autotag_model::secret::Secret;

use super::behind::{Behind, side_by_side};
use crate::action::deploy::play::{self, Servers};
use testkit::github::Double;
use testkit::network::chaos::Harm;

/// What the servers answer in time is answered within this, also on a slow machine; if it is not, it is asked again.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_mins(5);

/// Of which `harm` can use up one only.
fn patience(harm: Harm) -> RetryPolicy {
    let usual = RetryPolicy::default();
    let (silence, whole) = if harm == Harm::Silent { (SHORT, LONG) } else { (LONG, SHORT) };
    let each = TryDeadlines { silence, whole, ..usual.each };
    RetryPolicy { each, first_delay: Duration::from_millis(50), ..usual }
}

/// What the program logs, of one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn of<T>(work: impl FnOnce() -> T) -> (T, String) {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let value = tracing::subscriber::with_default(lines, work);
        let text = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("text");
        (value, text)
    }
}

/// What a run does about a request whose answer does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Asks again.
    Again,
    /// Looks whether it has happened. It is never asked again.
    Look,
}

// invariant others-answers: Silence ends; a read is repeated, a write is looked up; broken by:
//   `src/adapters/http_error.rs`: no `read_timeout`; no `timeout`
#[test]
fn a_read_is_retried_and_a_write_looked_up() {
    const GITHUB: [(&str, Then); 5] = [
        ("GET */git/ref/autotag/v/head", Then::Again),
        ("POST */git/tags", Then::Again),
        ("POST /graphql", Then::Look),
        ("POST */releases", Then::Look),
        ("PATCH */releases/*", Then::Again),
    ];
    const REGISTRY: [(&str, Then); 3] = [
        ("GET */tags/list", Then::Again),
        ("GET */manifests/sha256:*", Then::Again),
        ("PUT */manifests/0.0.1", Then::Again),
    ];
    let requests = GITHUB.into_iter().chain(REGISTRY);
    let cases = requests.flat_map(|it| [(Harm::Silent, it), (Harm::Drip, it)]);
    let cases = cases.filter(|(harm, (request, _))| harm.is_for(request)).collect();
    side_by_side(cases, |(harm, (request, then))| one(harm, request, then));
}

fn one(harm: Harm, request: &str, then: Then) {
    let mut behind = Behind::new(format!("{} at {request}", harm.name()), &Behind::logins()[0]);
    behind.merge("patch");
    let chaos = if request.contains("manifests") || request.contains("tags/list") {
        &behind.registry
    } else {
        &behind.github
    };
    chaos.strike(request, harm);
    let (commit, digest) = behind.merged(0);
    let inputs = [("image-digest", digest.as_str())];
    let run = || play::run(&behind.project, &Servers::new(), commit, &inputs, &patience(harm));
    let (came, log) = Log::of(run);
    assert_eq!(chaos.take_struck().len(), 1, "{harm:?} at {request}: {log}");
    assert_eq!(came.output("outcome"), "released", "{harm:?} at {request}: {came:?}");
    let line = log.lines().find(|line| line.contains("no answer in time"));
    let line = line.unwrap_or_else(|| panic!("{harm:?} at {request}: no word of it: {log}"));
    match then {
        Then::Again => assert!(line.contains("trying again in"), "{harm:?} at {request}: {log}"),
        Then::Look => {
            assert!(!line.contains("trying again in"), "{harm:?} at {request}: {log}");
            // A query, such as that for a draft, may be asked as often as it takes.
            let is_query = |sent: &testkit::github::Recorded| {
                sent.body["query"].as_str().is_some_and(|text| text.starts_with("query"))
            };
            let queries = behind.project.github.requests().iter().filter(|sent| is_query(sent)).count();
            let queries = if request == "POST /graphql" { queries } else { 0 };
            let sent = behind.project.github.count(request) - queries;
            assert_eq!(sent, 1, "{harm:?}: {request} was repeated: {log}");
        }
    }
    behind.converge();
}

// invariant others-answers: Silence ends; a read is repeated, a write is looked up
/// The words, and what is known of the effect, where no answer ever comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_permanently_silent_server_is_reported() {
    let mut behind = Behind::new("silent".to_owned(), &Behind::logins()[0]);
    behind.merge("patch");
    let (url, token) = (behind.github.url(), Secret::new(Double::TOKEN));
    let access = GithubAccess {
        api_url: &url,
        graphql_url: &format!("{url}/graphql"),
        repository: "org/app",
        token: token.as_ref(),
    };
    let forge =
        GitHub::connect(access, RetryPolicy { attempts: 2, ..patience(Harm::Silent) }).expect("a client");
    let name: RefName = "refs/autotag/v/head".parse().expect("a name");
    for _ in 0..2 {
        behind.github.strike("GET */git/ref/autotag/v/head", Harm::Silent);
    }
    let error = forge.read_ref(&name).await.expect_err("no answer");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Unreachable, Effect::None), "{error}");
    assert!(error.why.starts_with("no answer in time: "), "{error}");
    assert!(error.why.contains("(tries: 2, in "), "{error}");
    behind.github.strike("POST /graphql", Harm::Silent);
    let update = RefUpdate { name, before: ObjectId::zero(), after: behind.merged(0).0.clone() };
    let error = forge.update_refs(&[update]).await.expect_err("no answer");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Unreachable, Effect::Unknown), "{error}");
    assert!(error.why.starts_with("no answer in time: "), "{error}");
    assert_eq!(behind.project.github.count("POST /graphql"), 1);
}

/// A port at which connections are neither taken nor refused: its queue is full, so the kernel drops what comes.
struct Full {
    address: SocketAddr,
    _held: (socket2::Socket, Vec<TcpStream>),
}

impl Full {
    fn start() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(0).expect("a listener");
        let address = socket.local_addr().expect("an address").as_socket().expect("an address");
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            waiting.push(stream);
        }
        Self { address, _held: (socket, waiting) }
    }
}

/// Then nothing was sent, so that even what is done once only is tried again.
#[tokio::test]
async fn a_connection_that_hangs_is_given_up_and_retried() {
    let full = Full::start();
    let usual = patience(Harm::Silent);
    let each = TryDeadlines { connect: Duration::from_secs(1), ..usual.each };
    let patience = RetryPolicy { attempts: 2, each, ..usual };
    let (url, token) = (format!("http://{}", full.address), Secret::new(Double::TOKEN));
    let access = GithubAccess {
        api_url: &url,
        graphql_url: &format!("{url}/graphql"),
        repository: "org/app",
        token: token.as_ref(),
    };
    let forge = GitHub::connect(access, patience.clone()).expect("a client");
    let image = format!("{}/org/app", full.address).parse().expect("a name");
    let registry = OciRegistry::new(image, None, patience).expect("a client");
    let release = NewRelease {
        tag: "v0.0.1".to_owned(),
        name: String::new(),
        body: String::new(),
        draft: false,
        make_latest: true,
    };
    for error in [
        forge.create_release(&release).await.expect_err("no connection"),
        registry.list_tags().await.expect_err("no connection"),
    ] {
        assert_eq!((error.kind, error.effect), (CallErrorKind::Unreachable, Effect::None), "{error}");
        assert!(error.why.starts_with("no connection in time: "), "{error}");
        assert!(error.why.contains("(tries: 2, in "), "{error}");
    }
}
