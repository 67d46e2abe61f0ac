//! The builder's own connection to the Engine: for a session, and for the build that belongs to it.

use bollard::errors::Error;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::session::METHODS;
use autotag_docker::daemon::{Lines, broken, json, refused};

/// Where the Engine listens, where that is a way that we can go by ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Unix(String),
    Tcp(String),
}

impl Way {
    /// `None` for what only bollard knows to reach.
    pub(super) fn to(address: &str) -> Option<Self> {
        if let Some(path) = address.strip_prefix("unix://") {
            return Some(Self::Unix(path.to_owned()));
        }
        let host = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("http://"))?;
        Some(Self::Tcp(host.trim_end_matches('/').to_owned()))
    }

    async fn connect(&self) -> Result<http1::SendRequest<Empty<Bytes>>, Error> {
        match self {
            Self::Unix(path) => shake(UnixStream::connect(path).await?).await,
            Self::Tcp(host) => shake(TcpStream::connect(host).await?).await,
        }
    }

    /// Serves these to BuildKit under the session's id until the returned task is dropped.
    pub(super) async fn session(&self, id: &str, services: tonic::service::Routes) -> Result<Session, Error> {
        let mut request = Request::post("/session")
            .header(header::HOST, "docker")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "h2c")
            .header("X-Docker-Expose-Session-Uuid", id)
            .header("X-Docker-Expose-Session-Name", "autotag-deploy")
            .header("X-Docker-Expose-Session-Sharedkey", "");
        for method in METHODS {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", *method);
        }
        let request = request.body(Empty::new()).map_err(broken)?;
        let response = self.connect().await?.send_request(request).await.map_err(broken)?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused_by(response).await);
        }
        let stream = hyper::upgrade::on(response).await.map_err(broken)?;
        Ok(Session(tokio::spawn(async move {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // Its end is the build's, whose answer says more.
            let _ = server.serve_connection(stream, TowerToHyperService::new(services)).await;
        })))
    }

    /// The answer to `POST /build` with this query.
    pub(super) async fn build(&self, query: &str) -> Result<Lines, Error> {
        let request = Request::post(format!("/build?{query}"))
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/x-tar")
            .body(Empty::new())
            .map_err(broken)?;
        let response = self.connect().await?.send_request(request).await.map_err(broken)?;
        if !response.status().is_success() {
            return Err(refused_by(response).await);
        }
        Ok(Lines::of(response.into_body()))
    }

    /// Whether the Engine has containerd's image store, which says so of itself and not by a version.
    pub(super) async fn has_containerd_store(&self) -> Result<bool, Error> {
        let request = Request::get("/info").header(header::HOST, "docker").body(Empty::new());
        let response = self.connect().await?.send_request(request.map_err(broken)?).await.map_err(broken)?;
        if !response.status().is_success() {
            return Err(refused_by(response).await);
        }
        let info = json(response.into_body()).await?;
        let status = info.get("DriverStatus").and_then(serde_json::Value::as_array);
        Ok(status.into_iter().flatten().any(|pair| {
            pair.get(0).is_some_and(|key| key == "driver-type")
                && pair.get(1).is_some_and(|value| value == "io.containerd.snapshotter.v1")
        }))
    }
}

/// Ends when it is dropped.
pub(super) struct Session(tokio::task::JoinHandle<()>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.abort();
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

async fn refused_by(response: Response<Incoming>) -> Error {
    let (head, body) = response.into_parts();
    refused(head.status, body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_off_addresses() {
        for (address, way) in [
            ("unix:///var/run/docker.sock", Some(Way::Unix("/var/run/docker.sock".to_owned()))),
            ("tcp://127.0.0.1:2375", Some(Way::Tcp("127.0.0.1:2375".to_owned()))),
            ("npipe:////./pipe/docker", None),
            ("ssh://host", None),
        ] {
            assert_eq!(Way::to(address), way, "{address}");
        }
    }
}
