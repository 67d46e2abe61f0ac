//! What BuildKit may ask of this machine during a build: whether it is there, logins, and the context.
//!
//! The session is HTTP/2 inside of a call: BuildKit is the client on it, and this is the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
};
use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage as Piece;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use bollard_buildkit_proto::moby::upload::v1::BytesMessage;
use bollard_buildkit_proto::moby::upload::v1::upload_server::{Upload, UploadServer};
use futures_util::{StreamExt as _, stream};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use autotag_build_context::context::{ContextFault, ContextPlan, ContextStream};
use autotag_model::secret::Credentials;

use super::channel::{Answers, Control, LARGEST_HEAD, ServiceResult, WINDOW};
use super::file_sync;

/// What it can be asked for, as BuildKit learns at its start.
const METHODS: &[&str] = &[
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.upload.v1.Upload/Pull",
    "/grpc.health.v1.Health/Check",
];
/// One piece of the session's stream, in bytes.
const PIECE: usize = 64 * 1024;
/// How much may wait between the session and its call, in each direction.
const BUFFER: usize = 4 * PIECE;

/// Where Dockerfile and context come from.
pub(crate) struct BuildSource {
    pub(crate) plan: Arc<ContextPlan>,
    /// The whole context, where BuildKit does not ask for its files one by one.
    pub(crate) archive: Option<ContextStream>,
    /// Where an error of theirs is left.
    pub(crate) fault: ContextFault,
}

/// The services of one build.
pub(super) fn services(source: BuildSource, logins: HashMap<String, Credentials>) -> Routes {
    Routes::new(HealthServer::new(Alive))
        .add_service(AuthServer::new(Logins(logins)))
        .add_service(file_sync::service(source.plan, source.fault))
        .add_service(UploadServer::new(Archive(Mutex::new(source.archive))))
        .prepare()
}

/// Serves these to BuildKit, under the session's id, until BuildKit ends it.
pub(super) async fn serve(mut control: Control, id: String, services: Routes) -> Result<(), Status> {
    let (near, far) = tokio::io::duplex(BUFFER);
    let (reader, mut writer) = tokio::io::split(near);
    let pieces = stream::unfold(reader, |mut reader| async {
        let mut data = Vec::with_capacity(PIECE);
        let read = reader.read_buf(&mut data).await.unwrap_or_default();
        (read > 0).then_some((Piece { data }, reader))
    });
    let mut request = Request::new(pieces);
    let metadata = request.metadata_mut();
    let id = AsciiMetadataValue::try_from(id).map_err(|_| Status::internal("not the id of a session"))?;
    // What was sent in one session is kept for the next one of the same key, and there a file counts as the same
    // by its size and its time: with a restored clone that can be wrong. So each build has a key of its own.
    metadata.insert("x-docker-expose-session-sharedkey", id.clone());
    metadata.insert("x-docker-expose-session-uuid", id);
    metadata.insert("x-docker-expose-session-name", AsciiMetadataValue::from_static("autotag-deploy"));
    for method in METHODS {
        let method = AsciiMetadataValue::from_static(method);
        metadata.append("x-docker-expose-session-grpc-method", method);
    }
    let call = async {
        let mut pieces = control.session(request).await?.into_inner();
        while let Some(piece) = pieces.message().await? {
            if writer.write_all(&piece.data).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let server = http2::Builder::new(TokioExecutor::new())
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(far), TowerToHyperService::new(services));
    tokio::select! {
        ended = call => ended,
        // Its end is the build's, whose answer says more.
        _ = server => Ok(()),
    }
}

/// BuildKit asks every few seconds whether we are there.
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    type WatchStream = Answers<HealthCheckResponse>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> ServiceResult<HealthCheckResponse> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> ServiceResult<HealthListResponse> {
        Err(Status::unimplemented("only Check"))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> ServiceResult<Self::WatchStream> {
        Err(Status::unimplemented("only Check"))
    }
}

/// Logins by the names that BuildKit asks with. It fetches tokens itself.
struct Logins(HashMap<String, Credentials>);

#[tonic::async_trait]
impl Auth for Logins {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> ServiceResult<CredentialsResponse> {
        // None means that it asks without.
        let login = self.0.get(&request.get_ref().host);
        let login = login.map(|login| (login.username.clone(), login.password.reveal().to_owned()));
        let (username, secret) = login.unwrap_or_default();
        Ok(Response::new(CredentialsResponse { username, secret }))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> ServiceResult<FetchTokenResponse> {
        Err(Status::unimplemented("tokens are fetched by BuildKit"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> ServiceResult<GetTokenAuthorityResponse> {
        Err(Status::unimplemented("tokens are fetched by BuildKit"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> ServiceResult<VerifyTokenAuthorityResponse> {
        Err(Status::unimplemented("tokens are fetched by BuildKit"))
    }
}

/// The context as one archive, which is read once.
struct Archive(Mutex<Option<ContextStream>>);

#[tonic::async_trait]
impl Upload for Archive {
    type PullStream = Answers<BytesMessage>;

    async fn pull(&self, _: Request<Streaming<BytesMessage>>) -> ServiceResult<Self::PullStream> {
        let context = self.0.lock().ok().and_then(|mut context| context.take());
        let context = context.ok_or_else(|| Status::not_found("the context has been sent"))?;
        Ok(Response::new(Box::pin(context.map(|chunk| match chunk {
            Ok(chunk) => Ok(BytesMessage { data: chunk.into() }),
            Err(error) => Err(Status::aborted(error.to_string())),
        }))))
    }
}
