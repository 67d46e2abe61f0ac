//! The configurations of `docs/server/front-proxy.md`, as they stand there, with real front proxies: TLS and
//! HTTP/2 outside, our proxy behind, and containers that change while clients of all kinds go through.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::proxy::process::ProxyProcess;
use testkit::clock;
use testkit::load::{ClientKind, Load, Mix};
use testkit::processes::app_process::AppProcess;
use testkit::server::free_port;

/// The page's first block of code in this language.
fn block(language: &str) -> String {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/server/front-proxy.md"));
    let page = page.expect("the page");
    let (_, rest) = page.split_once(&format!("```{language}\n")).expect("a block");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Each must stand there, or the page has changed and this test tests nothing.
#[track_caller]
fn replace(text: &str, what: &str, with: &str) -> String {
    assert!(text.contains(what), "`{what}` is not in the page's configuration");
    text.replace(what, with)
}

/// A port for TLS and one without: the load's clients speak no TLS.
struct Ports {
    tls: u16,
    plain: u16,
}

impl Ports {
    /// Both are free now; the front proxies can be handed no socket.
    fn free() -> Self {
        Self { tls: free_port(), plain: free_port() }
    }
}

fn certificate(directory: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "fullchain.pem"])
        .current_dir(directory)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A front proxy, killed at the end with the workers that it has.
struct Front(Child);

impl Front {
    fn start(command: &mut Command, ports: &Ports) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        let mut front = Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let started = clock::start();
        while TcpStream::connect(("127.0.0.1", ports.tls)).is_err() {
            assert!(front.0.try_wait().expect("it can be asked").is_none(), "it ended: {command:?}");
            assert!(started.elapsed().as_secs() < 20, "it does not listen: {command:?}");
            std::thread::yield_now();
        }
        front
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn nginx(directory: &Path, behind: SocketAddr, ports: &Ports) -> Front {
    let site = block("nginx");
    let site = replace(&site, "127.0.0.1:8080", &behind.to_string());
    let both = format!("listen 127.0.0.1:{} ssl http2; listen 127.0.0.1:{};", ports.tls, ports.plain);
    let site = replace(&site, "listen 443 ssl http2;", &both);
    let site = replace(&site, "app.example.com", "localhost");
    let site = replace(&site, "/etc/ssl/app", &directory.display().to_string());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", directory.display()))
        .concat();
    let configuration = format!(
        "daemon off; pid {}/nginx.pid; events {{}}\nhttp {{ access_log off;\n{temporary}{site}}}\n",
        directory.display()
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, configuration).expect("the configuration");
    Front::start(Command::new("nginx").args(["-e", "stderr", "-c"]).arg(file), ports)
}

fn caddy(directory: &Path, behind: SocketAddr, ports: &Ports) -> Front {
    let site = block("caddyfile");
    let site = replace(&site, "127.0.0.1:8080", &behind.to_string());
    // Its own certificates come from the internet; and the load's clients speak no TLS, so a second site has none.
    let files = format!("{{\n    tls {0}/fullchain.pem {0}/key.pem\n", directory.display());
    let secure = replace(&site, "app.example.com", &format!("https://localhost:{}", ports.tls));
    let secure = secure.replacen("{\n", &files, 1);
    let plain = replace(&site, "app.example.com", &format!("http://localhost:{}", ports.plain));
    let file = directory.join("Caddyfile");
    let configuration = format!("{{\n    admin off\n    auto_https disable_redirects\n}}\n{secure}\n{plain}");
    std::fs::write(&file, configuration).expect("the configuration");
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    // It keeps things in a home; and it says much.
    command.env("HOME", directory).env("XDG_DATA_HOME", directory).env("XDG_CONFIG_HOME", directory);
    Front::start(command.stderr(Stdio::null()), ports)
}

fn holds_what_the_page_says(mix: Mix, front: impl FnOnce(&Path, SocketAddr, &Ports) -> Front) {
    let directory = tempfile::tempdir().expect("a directory");
    certificate(directory.path());
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = ProxyProcess::start(&socket, directory.path());
    let apps = [1, 2, 3].map(|number| AppProcess::start(&[("VERSION", &format!("1.0.{number}"))]));
    proxy.swap("1", apps[0].address);
    let ports = Ports::free();
    let front = front(directory.path(), proxy.address, &ports);

    let asked = Command::new("curl")
        .args(["-sS", "--http2", "--cacert", "fullchain.pem", "--resolve"])
        .arg(format!("localhost:{}:127.0.0.1", ports.tls))
        .args(["--header", "X-Forwarded-For: 6.6.6.6", "--write-out", "over HTTP/%{http_version}\n"])
        .arg(format!("https://localhost:{}/head", ports.tls))
        .current_dir(directory.path())
        .output()
        .expect("curl");
    let seen = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    for line in ["over HTTP/2", "x-forwarded-proto: https", "x-forwarded-for: 127.0.0.1, 127.0.0.1"] {
        assert!(seen.lines().any(|found| found == line), "{line} is missing in\n{seen}");
    }
    assert!(seen.contains("x-forwarded-host: localhost") && !seen.contains("6.6.6.6"), "{seen}");

    let mix = Mix { host: Some("localhost".to_owned()), ..mix };
    let load = Load::start(SocketAddr::from(([127, 0, 0, 1], ports.plain)), &mix);
    for pair in apps.windows(2) {
        load.warm_up(2);
        let [before, next] = pair else { unreachable!("windows of two") };
        proxy.swap(&next.address.to_string(), next.address);
        let old = if before.address == apps[0].address { "1".to_owned() } else { before.address.to_string() };
        assert_eq!(proxy.drain(&old).requests_cut, 0);
    }
    load.warm_up(2);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.versions.len(), apps.len(), "{report}");
    drop(front);
}

#[test]
fn nginx_in_front_as_the_page_has_it() {
    holds_what_the_page_says(Mix::small(), nginx);
}

#[test]
fn caddy_in_front_as_the_page_has_it() {
    // Without POST: the application answers while it still reads, and Go's HTTP/1 server, which is Caddy's,
    // gives up on such an exchange now and then, whoever is behind it.
    let mut mix = Mix::small();
    mix.clients.retain(|(kind, _)| *kind != ClientKind::Post);
    holds_what_the_page_says(mix, caddy);
}
