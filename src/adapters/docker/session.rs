//! A build whose context BuildKit fetches from us, in a session that is ours.
//!
//! bollard sends the context as the request's body. Docker with containerd's image store, before 27, hands that body
//! to BuildKit by the name of a host that nobody has, and no build works (moby/moby#47717). What works with every
//! Engine is BuildKit's own way: `remote=http://buildkit-session/ID`, whereupon it asks the session for the context.
//! bollard's session answers for logins alone, so this one is made here: `POST /session`, upgraded to HTTP/2, on which
//! we are the server.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Mutex;

use bollard::auth::DockerCredentials;
use bollard::health::health_server::{Health, HealthServer};
use bollard::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
};
use bollard::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use bollard::moby::upload::v1::BytesMessage;
use bollard::moby::upload::v1::upload_server::{Upload, UploadServer};
use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use autotag_build_context::context::ContextStream;

/// What the session can be asked for, as BuildKit is told at its start.
pub(super) const METHODS: &[&str] = &[
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
    "/moby.upload.v1.Upload/Pull",
    "/grpc.health.v1.Health/Check",
];

type Answer<T> = Result<Response<T>, Status>;
type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The services of one build.
pub(super) fn services(
    context: ContextStream,
    logins: HashMap<String, DockerCredentials>,
) -> tonic::service::Routes {
    tonic::service::Routes::new(HealthServer::new(Alive))
        .add_service(AuthServer::new(Logins(logins)))
        .add_service(UploadServer::new(Context(Mutex::new(Some(context)))))
        .prepare()
}

/// BuildKit asks every few seconds whether we are there.
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    type WatchStream = Told<HealthCheckResponse>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Answer<HealthListResponse> {
        Err(Status::unimplemented("only Check"))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Answer<Self::WatchStream> {
        Err(Status::unimplemented("only Check"))
    }
}

/// Logins by the names that BuildKit asks with. It fetches tokens itself.
struct Logins(HashMap<String, DockerCredentials>);

#[tonic::async_trait]
impl Auth for Logins {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Answer<CredentialsResponse> {
        // None means that it asks without.
        let login = self.0.get(&request.get_ref().host).cloned().unwrap_or_default();
        Ok(Response::new(CredentialsResponse {
            username: login.username.unwrap_or_default(),
            secret: login.password.unwrap_or_default(),
        }))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Answer<FetchTokenResponse> {
        Err(Status::unimplemented("tokens are fetched by BuildKit"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Answer<GetTokenAuthorityResponse> {
        Err(Status::unimplemented("tokens are fetched by BuildKit"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Answer<VerifyTokenAuthorityResponse> {
        Err(Status::unimplemented("tokens are fetched by BuildKit"))
    }
}

/// The context, which is read once.
struct Context(Mutex<Option<ContextStream>>);

#[tonic::async_trait]
impl Upload for Context {
    type PullStream = Told<BytesMessage>;

    async fn pull(&self, _: Request<Streaming<BytesMessage>>) -> Answer<Self::PullStream> {
        let context = self.0.lock().ok().and_then(|mut context| context.take());
        let context = context.ok_or_else(|| Status::not_found("the context has been sent"))?;
        Ok(Response::new(Box::pin(context.map(|chunk| match chunk {
            Ok(chunk) => Ok(BytesMessage { data: chunk.into() }),
            Err(error) => Err(Status::aborted(error.to_string())),
        }))))
    }
}
