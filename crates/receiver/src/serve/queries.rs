//! Questions: status, history, logs. They take no lock; the state's file is always whole.

use super::Server;
use crate::config::app_file::Traffic;
use crate::config::settings::{Settings, Snapshots};
use crate::engine::Engine;
use crate::event_log::EventLog;
use crate::execute::driver::address;
use crate::execute::errors::code_of;
use crate::policy::drift;
use crate::policy::drift::DriftFacts;
use crate::state::labels;
use crate::state::missing_state;
use crate::state::{Record, State, Store};
use autotag_base::clock::Stopwatch;
use autotag_protocol::{
    AppName, Body, DeploymentId, End, Event, FailureCode, HistoryEntry, Outcome, RefusalCode, Refused,
    Running, Source, Status,
};

/// Answers a question, and ends the job.
pub(super) async fn answer<E: Engine>(server: &Server<E>, app: &AppName, question: Body, job: &EventLog) {
    let stopwatch = Stopwatch::start();
    let (answered, current) = match Store::new(&server.paths.state(app), app.clone()).load() {
        Err(error) => (Err(Refused::new(RefusalCode::HostState, error.to_string())), None),
        Ok(state) => match not_lost(server, app, &state).await {
            Ok(()) => (tell(server, app, question, &state, job).await, running(&state)),
            Err(why) => (Err(Refused::new(RefusalCode::HostState, why)), None),
        },
    };
    let milliseconds = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
    let end = match answered {
        Ok(()) => End::Reported {},
        Err(Refused { code, message }) => {
            End::Refused { code: code.into(), message: Event::within_line(&message) }
        }
    };
    // A question that cannot be answered says nothing against what serves.
    job.end(Outcome { end, running: current, deployment: None, milliseconds });
}

/// While Docker is away the journal alone is asked.
async fn not_lost<E: Engine>(server: &Server<E>, app: &AppName, state: &State) -> Result<(), String> {
    if !state.is_new() {
        return Ok(());
    }
    let containers = server.engine.labelled(&[(labels::APP, app.as_str())]).await.unwrap_or_default();
    missing_state::check(&server.paths, app, state, &containers)
}

fn running(state: &State) -> Option<Running> {
    state.active().map(|active| active.release.running())
}

async fn tell<E: Engine>(
    server: &Server<E>,
    app: &AppName,
    question: Body,
    state: &State,
    job: &EventLog,
) -> Result<(), Refused> {
    match question {
        Body::Status { deployment } => {
            let status = status(server, app, state, deployment.as_ref()).await;
            job.say(Event::Status(Box::new(status)));
        }
        Body::History { entries } => {
            for record in state.history.iter().rev().take(entries as usize) {
                job.say(Event::History(Box::new(entry(record))));
            }
        }
        Body::Logs { lines } => {
            let Some(active) = state.active() else {
                let why = state.last_served().map_or("nothing was deployed yet".to_owned(), |last| {
                    format!(
                        "nothing serves: the container of {} was removed, and its log with it",
                        last.version
                    )
                });
                return Err(Refused::new(RefusalCode::NotRecorded, why));
            };
            let lines = server.engine.logs(active.container.as_str(), lines).await;
            for line in lines.map_err(|error| unanswered(&error))? {
                job.say(Event::log(Source::Application, &line));
            }
        }
        // Changes do not come here.
        Body::Deploy(_) | Body::Rollback(_) => {}
    }
    Ok(())
}

fn unanswered(error: &autotag_base::CallError) -> Refused {
    let text = match &error.remedy {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    };
    Refused::new(code_of(error).map_or(RefusalCode::Host, FailureCode::of_host), text)
}

fn entry(record: &Record) -> HistoryEntry {
    HistoryEntry { release: record.release.running(), at: record.release.at, end: record.end() }
}

async fn status<E: Engine>(
    server: &Server<E>,
    app: &AppName,
    state: &State,
    asked: Option<&DeploymentId>,
) -> Status {
    let facts = facts(server, app, state).await;
    Status {
        running: running(state),
        drift: drift::drift(&facts).iter().map(|text| Event::within_line(text)).collect(),
        blocked: state.blocked.keys().cloned().collect(),
        busy: server.queues.of(app).holder(),
        highest: state.highest.clone(),
        asked: asked.and_then(|id| state.record_of(id)).map(entry),
    }
}

async fn facts<'a, E: Engine>(server: &Server<E>, app: &AppName, state: &'a State) -> DriftFacts<'a> {
    let snapshots = Snapshots::new(&server.paths.state(app));
    let labelled = server.engine.labelled(&[(labels::APP, app.as_str())]).await;
    let mut facts = DriftFacts {
        container: Ok(None),
        labelled: labelled.map_err(|call_error| call_error.to_string()),
        image: Ok(None),
        made_as: None,
        proxy: None,
        address: None,
        today: Err("nothing was deployed yet".to_owned()),
        state,
    };
    let Some(active) = state.active() else { return facts };
    let (release, words) = (&active.release, |call_error: autotag_base::CallError| call_error.to_string());
    facts.container = server.engine.inspect(active.container.as_str()).await.map_err(words);
    facts.image = server.engine.image(&release.image, &release.digest).await.map_err(words);
    facts.made_as = snapshots.made_as(&release.deployment);
    let snapshot = snapshots.load(&release.deployment).ok().flatten();
    let given = snapshot.as_ref().map(|snapshot| snapshot.given.clone()).unwrap_or_default();
    facts.today = Settings::today(&server.paths, app, given)
        .map(|settings| settings.hash())
        .map_err(|refused| refused.message);
    if let Some(snapshot) = snapshot
        && let Traffic::Proxied { .. } = snapshot.file.traffic
    {
        facts.proxy = Some(server.proxy.status(app).await.map_err(|error| error.why));
        facts.address = match &facts.container {
            Ok(Some(container)) => address(app, &snapshot, container).ok(),
            _ => None,
        };
    }
    facts
}
