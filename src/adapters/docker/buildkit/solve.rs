//! One build, watched from its start to its end.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::{SolveResponse, StatusResponse};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

use autotag_docker::daemon::broken;
use autotag_model::secret::Credentials;

use super::super::wire::Way;
use super::channel::{GrpcConnection, solve, status};
use super::failed::Failed;
use super::frontend::solve_request;
use super::session::{BuildSource, serve, services};
use crate::ports::BuildRequest;

/// A build of which nothing is heard for so long has failed: BuildKit waits without end for a server that takes
/// its connection and says nothing. A step may well be silent for hours.
const SILENCE: Duration = Duration::from_hours(6);
/// The last events arrive after the build's answer, and some Engines never end their stream.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What to build.
pub(crate) struct Build<'a> {
    pub(crate) request: &'a BuildRequest,
    /// Build arguments beside the user's own.
    pub(crate) given: &'a BTreeMap<String, String>,
    pub(crate) source: BuildSource,
    /// By the names that BuildKit asks with.
    pub(crate) logins: HashMap<String, Credentials>,
}

/// What came of it, by BuildKit's names.
pub(crate) struct Solved(HashMap<String, String>);

impl Solved {
    /// The image's id.
    pub(crate) fn image(&self) -> Option<&str> {
        self.0.get("containerimage.digest").map(String::as_str)
    }
}

impl Build<'_> {
    /// Builds. It lives as long as the returned future.
    pub(crate) async fn run(
        self,
        way: &Way,
        mut watch: impl FnMut(&StatusResponse),
    ) -> Result<Solved, Failed> {
        // One for each build: two of one name would be handed each other's credentials.
        let id = format!("autotag-deploy-{:032x}", rand::random::<u128>());
        let connection = GrpcConnection::over(way.grpc().await?).await?;
        let (dockerfile, as_archive) = (self.source.plan.dockerfile_name(), self.source.archive.is_some());
        let request = solve_request(&id, self.request, self.given, dockerfile, as_archive);
        let services = services(self.source, self.logins);
        let mut session = Session(tokio::spawn(serve(connection.control(), id.clone(), services)));
        let mut solving = pin!(solve(connection.control(), request));
        let mut statuses = pin!(status(connection.control(), id));
        let (mut watching, mut serving) = (true, true);
        let answer = loop {
            let next = async {
                tokio::select! {
                    message = statuses.next(), if watching => SolveEvent::Status(message),
                    answer = &mut solving => SolveEvent::Answer(answer),
                    ended = &mut session.0, if serving => SolveEvent::SessionEnded(ended.unwrap_or(Ok(()))),
                }
            };
            match timeout(SILENCE, next).await {
                Ok(SolveEvent::Status(Some(Ok(message)))) => watch(&message),
                Ok(SolveEvent::Status(_)) => watching = false,
                Ok(SolveEvent::SessionEnded(Ok(()))) => serving = false,
                Ok(SolveEvent::SessionEnded(Err(status))) => return Err(status.into()),
                Ok(SolveEvent::Answer(answer)) => break answer,
                Err(_) => return Err(broken("the build reported nothing for six hours").into()),
            }
        };
        while watching && let Ok(Some(Ok(message))) = timeout(AFTERMATH, statuses.next()).await {
            watch(&message);
        }
        Ok(Solved(answer?.exporter_response))
    }
}

enum SolveEvent {
    Status(Option<Result<StatusResponse, Status>>),
    Answer(Result<SolveResponse, Status>),
    SessionEnded(Result<(), Status>),
}

/// Ends when it is dropped.
struct Session(JoinHandle<Result<(), Status>>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.abort();
    }
}
