//! Deploy, rollback and recovery: one at a time, under the lock.

mod account;
mod decide;
mod kind;
mod refusals;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;

pub(super) use kind::Change;
use refusals::{host, host_error, not_finished, unrecorded};

use super::Server;
use crate::config::app_file::Traffic;
use crate::config::settings::{Settings, Snapshots};
use crate::engine::{ContainerFacts, Engine};
use crate::event_log::EventLog;
use crate::execute::driver::{Driver, address, serves_at_once, take_name};
use crate::execute::image_volumes;
use crate::lock::{Lock, Tried, holder};
use crate::policy::admit;
use crate::policy::admit::{Admitted, Asker, LabelRule};
use crate::policy::rollout::{Ending, Rollout, Verdict};
use crate::serve::peer::Caller;
use crate::state::journal::LIMITS;
use crate::state::journal::{Journal, What};
use crate::state::labels;
use crate::state::missing_state;
use crate::state::{
    ContainerId, Failure, Instance, Phase, Purpose, Record, Release, State, StepError, Store,
};
use autotag_base::clock::Stopwatch;
use autotag_model::secret::Credentials;
use autotag_protocol::{AppName, DeploymentId, End, Event, Holder, Outcome, RefusalCode, Refused};

/// Does it, and tells the job everything up to the result.
pub(super) async fn carry_out<E: Engine>(
    server: &Server<E>,
    caller: &Caller,
    app: &AppName,
    change: Change,
    job: &EventLog,
) {
    let place = server.queues.of(app);
    let stopwatch = Stopwatch::start();
    let holder = holder(&change.purpose(), Some(change.deployment().clone()));
    let turn =
        place.turn(caller.asker(), holder.clone(), |before| job.say(Event::Waiting { holder: before })).await;
    let (end, state, unfinished) = match lock(server, app, &holder, job).await {
        Err(refused) => (refusal(&refused), None, false),
        Ok(lock) => {
            let mut locked = Locked::new(server, app, &lock, job, change.credentials());
            place
                .refusals(server.queues.now())
                .into_iter()
                .for_each(|text| locked.driver.note(What::Noted { text }));
            locked.asked = Some(What::Asked {
                request: change.purpose(),
                user: caller.name(),
                run: change.run().to_owned(),
            });
            let end = locked.change(caller, &change).await.unwrap_or_else(|refused| refusal(&refused));
            locked.answered(caller, &place, &end);
            let state = locked.store.load().ok();
            // It was removed while this went on, or before, and what was to take its place failed.
            let missing = match &state {
                Some(state) => locked.is_missing(state).await,
                None => false,
            };
            (end, state, locked.unfinished || missing)
        }
    };
    drop(turn);
    tracing::info!(%app, deployment = %change.deployment(), ?end, "answered {}", change.purpose());
    let steady = state.as_ref().is_none_or(is_steady);
    if unfinished || !steady {
        server.queues.schedule_retry(app);
    }
    // Nothing is under way, and what should serve does not: it did not come up again.
    let down = unfinished && steady;
    let active = state.as_ref().and_then(State::active).filter(|_| !down);
    let running = active.map(|active| active.release.running());
    let milliseconds = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
    place.over(change.deployment());
    job.end(Outcome { end, running, deployment: Some(change.deployment().clone()), milliseconds });
}

/// Makes sure that what should serve does, and goes on with what was under way. `Err` where it could not be
/// brought to its end; it may be tried again.
pub(super) async fn recover<E: Engine>(server: &Server<E>, app: &AppName) -> Result<(), String> {
    let _in_flight = server.queues.in_flight.token();
    let job = EventLog::new(None);
    let holder = holder("recovery", None);
    let place = server.queues.of(app);
    let turn = place.turn(Asker::Owner, holder.clone(), |_| ()).await;
    let lock = lock(server, app, &holder, &job).await.map_err(|refused| refused.message)?;
    let mut locked = Locked::new(server, app, &lock, &job, None);
    let state = locked.load().map_err(|refused| refused.message)?;
    locked.not_lost(&state).await.map_err(|refused| refused.message)?;
    if locked.serves_already(&state).await? {
        return Ok(());
    }
    let (_, unfinished) = locked.go_on(Rollout::recover(state)).await;
    drop(turn);
    unfinished.map_or(Ok(()), |failure| Err(not_finished(&failure).message))
}

/// Removes what no deployment knows any more, where this container is one such.
pub(super) async fn sweep<E: Engine>(
    server: &Server<E>,
    app: &AppName,
    container: &str,
) -> Result<(), String> {
    let _in_flight = server.queues.in_flight.token();
    let job = EventLog::new(None);
    let holder = holder("sweep", None);
    let _turn = server.queues.of(app).turn(Asker::Owner, holder.clone(), |_| ()).await;
    let lock = lock(server, app, &holder, &job).await.map_err(|refused| refused.message)?;
    let mut locked = Locked::new(server, app, &lock, &job, None);
    locked.sweep(container).await.map_err(|refused| refused.message)
}

fn refusal(refused: &Refused) -> End {
    End::Refused { code: refused.code.into(), message: Event::within_line(&refused.message) }
}

fn is_steady(state: &State) -> bool {
    matches!(state.change, Phase::Steady { .. })
}

/// The kernel's lock. Within this process it is free, since the turn is ours; another process may have it:
/// a `serve` that is about to end, while its successor starts.
async fn lock<E>(
    server: &Server<E>,
    app: &AppName,
    holder: &Holder,
    job: &EventLog,
) -> Result<Lock, Refused> {
    let directory = server.paths.state(app);
    let unusable = |error: io::Error| {
        host(StepError::of_file(format!("{} cannot be used", directory.display()), &error))
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(unusable)?;
    let path = server.paths.lock(app);
    match Lock::try_take(&path, holder).map_err(unusable)? {
        Tried::Taken(lock) => Ok(lock),
        Tried::Held(by) => {
            job.say(Event::Waiting { holder: by });
            let holder = holder.clone();
            let waiting = tokio::task::spawn_blocking(move || Lock::take(&path, &holder, |_| ()));
            waiting.await.map_err(|error| unrecorded(error.to_string()))?.map_err(unusable)
        }
    }
}

/// What is to be done about a change.
enum Decision<'a> {
    /// It goes on, with these settings.
    Go(Box<(Settings, Admitted)>),
    /// This deployment does not serve, and never will; then this is the answer.
    Withdraw(&'a DeploymentId, End),
}

/// One application, locked, with everything at hand.
struct Locked<'a, E> {
    server: &'a Server<E>,
    app: &'a AppName,
    store: Store,
    snapshots: Snapshots,
    lock: &'a Lock,
    driver: Driver<'a, E>,
    /// What it did last could not be brought to its end.
    unfinished: bool,
    /// What was asked for, until the journal has it: of what is refused at once it has the number alone.
    asked: Option<What>,
    /// It was done before, and asked for again after a lost connection.
    repeated: bool,
}

impl<'a, E: Engine> Locked<'a, E> {
    fn new(
        server: &'a Server<E>,
        app: &'a AppName,
        lock: &'a Lock,
        job: &'a EventLog,
        credentials: Option<Credentials>,
    ) -> Self {
        let directory = server.paths.state(app);
        let (limit, kept) = LIMITS;
        let journal = Journal::open(&server.paths.journal(app), limit, kept);
        if let Err(error) = &journal {
            job.say(Event::Note { text: format!("the journal cannot be opened: {error}") });
        }
        let driver = Driver {
            engine: &server.engine,
            proxy: &server.proxy,
            paths: &server.paths,
            app,
            lock,
            job,
            journal: journal.ok(),
            credentials,
            // Whoever asks for a deployment sets it; what has served is brought back in any case.
            labels: LabelRule::Optional,
            pulled: None,
            restarts: BTreeMap::new(),
        };
        let store = Store::new(&directory, app.clone());
        let snapshots = Snapshots::new(&directory);
        Self { server, app, store, snapshots, lock, driver, unfinished: false, asked: None, repeated: false }
    }

    fn load(&self) -> Result<State, Refused> {
        self.store.load().map_err(|error| unrecorded(error.to_string()))
    }

    fn save(&self, state: &State) -> Result<(), Refused> {
        let path = self.store.path();
        let unwritten = |error: io::Error| host(StepError::of_file(path.display(), &error));
        self.store.save(self.lock, state).map_err(unwritten)
    }

    /// The whole of a change, from a look at the host to the ending.
    async fn change(&mut self, caller: &Caller, change: &Change) -> Result<End, Refused> {
        let mut state = self.load()?;
        if let Some(known) = known(change, &state)? {
            self.repeated = true;
            return Ok(known.end());
        }
        if let Err(error) = self.server.engine.version().await {
            return Err(host_error(&error));
        }
        self.not_lost(&state).await?;
        if !is_steady(&state) {
            state = self.finish(caller, change, state).await?;
            // It may have been this very one; a rollback without a target would go back once more.
            if let Some(known) = known(change, &state)? {
                return Ok(known.end());
            }
        }
        let (settings, admitted) = match self.admit(caller, change, &state)? {
            Decision::Withdraw(deployment, end) => return self.withdraw(deployment, &state, end),
            Decision::Go(go) => *go,
        };
        match admitted {
            Admitted::Known(record) => Ok(record.end()),
            Admitted::Unchanged(active) => self.unchanged(&active, state).await,
            Admitted::RollOut(release) => {
                self.driver.labels = match change {
                    Change::Deploy(_) => LabelRule::of(caller.asker(), &settings.file, &state),
                    // It has served here.
                    Change::Rollback(_) => LabelRule::Optional,
                };
                self.roll_out(state, release, &settings).await
            }
        }
    }

    /// What is asked for serves already, unless somebody has stopped it.
    async fn unchanged(&mut self, active: &Instance, mut state: State) -> Result<End, Refused> {
        if state.shared.as_ref() != Some(&active.release.deployment) {
            state.shared = Some(active.release.deployment.clone());
            self.save(&state)?;
        }
        let facts = self.server.engine.inspect(active.container.as_str()).await;
        match facts.map_err(|error| host_error(&error))? {
            Some(facts) if facts.running && !facts.paused => Ok(End::Unchanged {}),
            _ => {
                self.note_asked();
                self.say("its container does not run: starting it again");
                let (_, unfinished) = self.go_on(Rollout::recover(state)).await;
                unfinished.map_or(Ok(End::Unchanged {}), |failure| Err(not_finished(&failure)))
            }
        }
    }

    /// A missing state is one of nothing, unless there was one; see [`missing_state`].
    async fn not_lost(&self, state: &State) -> Result<(), Refused> {
        if !state.is_new() {
            return Ok(());
        }
        let containers = self.labelled().await?;
        missing_state::check(&self.server.paths, self.app, state, &containers)
            .map_err(|why| Refused::new(RefusalCode::HostState, why))
    }

    async fn labelled(&self) -> Result<Vec<ContainerFacts>, Refused> {
        let labels = [(labels::APP, self.app.as_str())];
        self.server.engine.labelled(&labels).await.map_err(|error| host_error(&error))
    }

    /// Removes containers of earlier deployments that the state does not know. Docker makes a container
    /// although whoever asked for it was killed meanwhile, and it may be there only after the recovery.
    async fn sweep(&mut self, made: &str) -> Result<(), Refused> {
        let state = self.load()?;
        let known: Vec<&str> = state.containers().into_iter().map(ContainerId::as_str).collect();
        // One that was made and is known is what usually comes of a deployment: Docker need not be asked.
        if !is_steady(&state) || known.contains(&made) {
            return Ok(());
        }
        for container in self.labelled().await? {
            let deployment = container.labels.get(labels::DEPLOYMENT).map(|text| text.parse());
            let Some(Ok(deployment)) = deployment else { continue };
            // One of what serves was made in the place of one that was removed, and is not named yet.
            let serves = state.active().is_some_and(|active| active.release.deployment == deployment);
            if known.contains(&container.id.as_str()) || serves || state.record_of(&deployment).is_none() {
                continue;
            }
            let text =
                format!("removing {}, which was created after its deployment was over", container.name);
            tracing::warn!(app = %self.app, "{text}");
            self.driver.note(What::Noted { text });
            let error = |error: autotag_base::CallError| host_error(&error);
            self.server.engine.stop(&container.id, None).await.map_err(error)?;
            for volume in self.server.engine.remove(&container.id).await.map_err(error)? {
                self.driver.note(What::Noted { text: image_volumes::kept(&volume, &container.name) });
            }
        }
        Ok(())
    }

    /// Whether somebody removed the container that should serve.
    async fn is_missing(&self, state: &State) -> bool {
        let Some(active) = state.active() else { return false };
        // Without an answer nothing is known to be missing; Docker's return brings a recovery anyway.
        matches!(self.server.engine.inspect(active.container.as_str()).await, Ok(None))
    }

    fn say(&self, text: &str) {
        self.driver.job.say(Event::Note { text: text.to_owned() });
    }

    async fn roll_out(
        &mut self,
        state: State,
        release: Release,
        settings: &Settings,
    ) -> Result<End, Refused> {
        if let Traffic::Proxied { .. } = settings.file.traffic {
            self.server.proxy.status(self.app).await.map_err(host)?;
        }
        self.note_asked();
        self.driver.job.mask(&settings.masks());
        self.snapshots.save(self.lock, &release.deployment, settings).map_err(|error| {
            let directory = self.server.paths.state(self.app);
            host(StepError::of_file(format!("{} cannot be written", directory.display()), &error))
        })?;
        let rollout = Rollout::begin(state, release)
            .map_err(|unfinished| Refused::new(RefusalCode::Unfinished, unfinished.to_string()))?;
        let (ending, _) = self.run(rollout).await;
        Ok(self.end_of(&ending).unwrap_or(End::Reported {}))
    }

    /// Brings what is under way to its end, before this change. Gives the state, which is steady then; what
    /// should serve may be down all the same, which is no reason to refuse what may be its remedy.
    async fn finish(&mut self, caller: &Caller, change: &Change, state: State) -> Result<State, Refused> {
        self.note_asked();
        self.say("an earlier deployment was interrupted: finishing it first");
        // What would be refused afterwards is not worth what a recovery may take away for it.
        let over = State { change: Phase::Steady { active: state.active().cloned() }, ..state.clone() };
        let rollout = match self.admit(caller, change, &over) {
            Ok(Decision::Go(go)) if matches!(go.1, Admitted::RollOut(_)) => {
                Rollout::recover_for_new_deploy(state)
            }
            _ => Rollout::recover(state),
        };
        let (state, unfinished) = self.go_on(rollout).await;
        match unfinished {
            Some(failure) if !is_steady(&state) => Err(not_finished(&failure)),
            Some(failure) => {
                self.say(&Event::within_line(&format!("what served before does not: {}", failure.why)));
                Ok(state)
            }
            None => Ok(state),
        }
    }

    /// Goes through a recovery. Gives the state, and what could not be done, if anything.
    async fn go_on(&mut self, recovery: Rollout) -> (State, Option<Failure>) {
        self.driver.note(What::Recovers { phase: recovery.state().change.to_string() });
        let (ending, state) = self.run(recovery).await;
        (state, ending.unfinished)
    }

    async fn run(&mut self, rollout: Rollout) -> (Ending, State) {
        let (ending, state) = self.driver.run(rollout).await;
        self.unfinished = ending.unfinished.is_some();
        if let Verdict::Failed(failed, _) = &ending.verdict
            && is_steady(&state)
        {
            self.driver.clean_up(&state, failed).await;
        }
        (ending, state)
    }

    /// A rollout's or a recovery's ending in the protocol's words; what failed on the way is told as notes.
    fn end_of(&self, ending: &Ending) -> Option<End> {
        for note in ending.notes.iter().chain(&ending.unfinished) {
            self.say(&Event::within_line(&format!("{}: {}", note.step.word(), note.why)));
        }
        match &ending.verdict {
            Verdict::Serves(release) if release.purpose == Purpose::Rollback => Some(End::RolledBack {}),
            Verdict::Serves(_) => Some(End::Deployed {}),
            Verdict::Failed(_, failure) => {
                let message = Event::within_line(&failure.why);
                Some(End::Failed { step: failure.step.into(), code: failure.code.into(), message })
            }
            Verdict::Settled => None,
        }
    }

    /// Whether what should serve does, as far as Docker and its health check say; then the proxy is pointed
    /// at it at once. Anything else is for a recovery, which waits for health.
    async fn serves_already(&self, state: &State) -> Result<bool, String> {
        let Phase::Steady { active } = &state.change else { return Ok(false) };
        let Some(active) = active else { return Ok(true) };
        let facts = self.server.engine.inspect(active.container.as_str()).await;
        let Some(facts) = facts.map_err(|call_error| call_error.to_string())?.filter(serves_at_once) else {
            return Ok(false);
        };
        let Some(settings) = self.snapshots.load(&active.release.deployment)? else { return Ok(false) };
        if let Traffic::Proxied { .. } = settings.file.traffic {
            // Without one somebody took its network away; a start gives it back.
            if address(self.app, &settings, &facts).is_err() {
                return Ok(false);
            }
            let Server { engine, proxy, .. } = self.server;
            let pointed = proxy.switch_to(engine, self.app, &settings, &active.container).await;
            pointed.map_err(|error| error.why)?;
        }
        if let Err(why) = take_name(&self.server.engine, self.app, active.container.as_str()).await {
            tracing::warn!(app = %self.app, "{why}");
        }
        Ok(true)
    }
}

/// The same deployment, asked for before: the caller lost its connection.
fn known(change: &Change, state: &State) -> Result<Option<Record>, Refused> {
    match change {
        Change::Rollback(rollback) => admit::known_rollback(rollback, state),
        Change::Deploy(deploy) => admit::known_deploy(deploy, state),
    }
}
