//! An Engine on another machine, which takes connections by TLS alone.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::relay::by_tls;
use crate::action::build::Built;

/// A key, and a certificate for it from the authority of this directory, by the openssl program.
fn certify(directory: &Path, name: &str, subject: &str) {
    let extension = directory.join("extension");
    std::fs::write(&extension, "subjectAltName=IP:127.0.0.1\n").expect("a file");
    let (key, request, certificate) =
        (format!("{name}-key.pem"), format!("{name}.csr"), format!("{name}.pem"));
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", key.as_str()];
    openssl(directory, &[&new[..], &["-out", &request]].concat());
    let sign = ["x509", "-req", "-days", "1", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca-key.pem"];
    openssl(
        directory,
        &[&sign[..], &["-CAcreateserial", "-extfile", "extension", "-out", &certificate]].concat(),
    );
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("openssl (Debian package openssl): {error}"));
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_tls_builds_and_pushes() {
    autotag_deploy::adapters::install_tls();
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let authority = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=authority"];
    openssl(directory.path(), &[&authority[..], &["-keyout", "ca-key.pem", "-out", "ca.pem"]].concat());
    certify(directory.path(), "server", "/CN=engine");
    certify(directory.path(), "client", "/CN=runner");
    let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(at(name))
            .expect("a file")
            .map(|one| one.expect("a certificate"))
            .collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificates("ca.pem").remove(0)).expect("a root");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
    let key = PrivateKeyDer::from_pem_file(at("server-key.pem")).expect("a key");
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    let port =
        by_tls(config.with_single_cert(certificates("server.pem"), key).expect("a configuration")).await;
    std::fs::copy(at("client.pem"), at("cert.pem")).expect("a copy");
    std::fs::copy(at("client-key.pem"), at("key.pem")).expect("a copy");

    let built = Built::new();
    let run = built.project.workflow.push(&built.project.merge("one"));
    let run = run
        .env("DOCKER_HOST", &format!("tcp://127.0.0.1:{port}"))
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", &directory.path().display().to_string())
        .start();
    let run = tokio::task::spawn_blocking(move || run.finish()).await.expect("the run ends");
    run.ended("released");
}
