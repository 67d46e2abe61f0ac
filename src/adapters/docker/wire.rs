//! The builder's own connection to the Engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::errors::Error;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use autotag_docker::daemon::{broken, refused};

/// Where the Engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Unix(String),
    Tcp(String),
    Tls {
        address: String,
        /// The directory of `ca.pem`, `cert.pem` and `key.pem`.
        certificates: PathBuf,
    },
}

impl Way {
    /// To this address: by TLS, where there is a directory of certificates for it. `None` for one of another form.
    pub(super) fn to(address: &str, certificates: Option<PathBuf>) -> Option<Self> {
        if let Some(path) = address.strip_prefix("unix://") {
            return Some(Self::Unix(path.to_owned()));
        }
        let forms = ["tcp://", "http://", "https://"];
        let host = forms.iter().find_map(|form| address.strip_prefix(form))?.trim_end_matches('/').to_owned();
        match certificates {
            Some(certificates) => Some(Self::Tls { address: host, certificates }),
            None => (!address.starts_with("https:")).then_some(Self::Tcp(host)),
        }
    }

    async fn connect(&self) -> Result<http1::SendRequest<Empty<Bytes>>, Error> {
        match self {
            Self::Unix(path) => shake(UnixStream::connect(path).await?).await,
            Self::Tcp(address) => shake(TcpStream::connect(address).await?).await,
            Self::Tls { address, certificates } => {
                let connector = TlsConnector::from(Arc::new(tls(certificates).map_err(broken)?));
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(broken)?;
                shake(connector.connect(name, TcpStream::connect(address).await?).await?).await
            }
        }
    }

    /// A stream to the BuildKit inside of the Engine, on which it takes calls of gRPC.
    pub(super) async fn grpc(&self) -> Result<Upgraded, Error> {
        let request = Request::post("/grpc")
            .header(header::HOST, "docker")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "h2c")
            .body(Empty::new())
            .map_err(broken)?;
        let response = self.connect().await?.send_request(request).await.map_err(broken)?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let (head, body) = response.into_parts();
            return Err(refused(head.status, body).await);
        }
        hyper::upgrade::on(response).await.map_err(broken)
    }
}

async fn shake<S>(stream: S) -> Result<http1::SendRequest<Empty<Bytes>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// Who the Engine has to be, and who we are to it.
fn tls(directory: &Path) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let path = |name| directory.join(name);
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path("ca.pem"))? {
        roots.add(root?)?;
    }
    let own = CertificateDer::pem_file_iter(path("cert.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(path("key.pem"))?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(own, key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_off_addresses() {
        let certificates = PathBuf::from("/certs");
        let tls = |address: &str| Way::Tls { address: address.to_owned(), certificates: "/certs".into() };
        for (address, with, way) in [
            ("unix:///var/run/docker.sock", None, Some(Way::Unix("/var/run/docker.sock".to_owned()))),
            ("unix:///a", Some(&certificates), Some(Way::Unix("/a".to_owned()))),
            ("tcp://127.0.0.1:2375", None, Some(Way::Tcp("127.0.0.1:2375".to_owned()))),
            ("http://h:2375/", None, Some(Way::Tcp("h:2375".to_owned()))),
            ("tcp://127.0.0.1:2376", Some(&certificates), Some(tls("127.0.0.1:2376"))),
            ("https://h:2376", Some(&certificates), Some(tls("h:2376"))),
            ("https://h:2376", None, None),
            ("npipe:////./pipe/docker", None, None),
            ("ssh://host", None, None),
        ] {
            assert_eq!(Way::to(address, with.cloned()), way, "{address}");
        }
    }
}
