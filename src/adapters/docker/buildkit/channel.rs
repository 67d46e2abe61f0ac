//! gRPC over a byte stream that somebody else has opened.

use std::task::{Context, Poll};

use bollard::errors::Error;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{
    SolveRequest, SolveResponse, StatusRequest, StatusResponse,
};
use futures_util::{Stream, TryFutureExt as _, TryStreamExt as _};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::{Pin, Service};
use tonic::{Response, Status};

use autotag_docker::daemon::broken;

/// How much may be on its way and unread, in bytes, in each direction. h2 ends a connection on which more small
/// pieces lie unread than this allows for, and BuildKit asks for each file in a piece of 20 bytes.
pub(super) const WINDOW: u32 = 64 * 1024 * 1024;
/// How large the head of a call may be, in bytes; this is what gRPC takes in Go. BuildKit asks for paths in one, and
/// explains a failure in another with the whole Dockerfile.
pub(super) const LARGEST_HEAD: u32 = 16 * 1024 * 1024;
/// BuildKit's own limit of a message.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// What a service of ours answers to BuildKit.
pub(super) type ServiceResult<T> = Result<Response<T>, Status>;
/// The same, in pieces.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The control of a BuildKit, by any number of clones.
pub(super) type Control = ControlClient<Channel>;

/// Ends with all that goes over it when it is dropped.
pub(super) struct GrpcConnection {
    channel: Channel,
    task: JoinHandle<()>,
}

impl GrpcConnection {
    pub(super) async fn over(stream: Upgraded) -> Result<Self, Error> {
        let (channel, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(LARGEST_HEAD)
            .handshake(stream)
            .await
            .map_err(broken)?;
        // How it ends, the calls on it say.
        let task = tokio::spawn(async { drop(connection.await) });
        Ok(Self { channel: Channel(channel), task })
    }

    pub(super) fn control(&self) -> Control {
        let origin = http::Uri::from_static("http://buildkit");
        ControlClient::with_origin(self.channel.clone(), origin).max_decoding_message_size(LARGEST_MESSAGE)
    }
}

impl Drop for GrpcConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to a build.
pub(super) async fn solve(mut control: Control, request: SolveRequest) -> Result<SolveResponse, Status> {
    Ok(control.solve(request).await?.into_inner())
}

/// What happens in the build of this name, from its start on.
pub(super) fn status(
    mut control: Control,
    name: String,
) -> impl Stream<Item = Result<StatusResponse, Status>> {
    async move { control.status(StatusRequest { r#ref: name }).await }
        .map_ok(|answer| answer.into_inner().into_stream())
        .try_flatten_stream()
}

#[derive(Clone)]
pub(super) struct Channel(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
