//! Carries out a rollout: takes each step that the machine names to Docker, the proxy and the disk.
//!
//! Nothing is decided here but how a step is done; what its failure means is the rollout's affair.

mod health;
mod name;
mod remake;
mod smoke;

pub use name::take_name;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::container;
use super::errors::{of_call_error, words};
use super::image_volumes;
use crate::config::app_file::{Healthcheck, Proof, Traffic};
use crate::config::docker_config;
use crate::config::settings::{Settings, Snapshots};
use crate::engine::{ContainerFacts, Engine, Healthy, LocalImage};
use crate::event_log::EventLog;
use crate::execute::proxy_client::ProxyClient;
use crate::lock::Lock;
use crate::paths::Paths;
use crate::policy::admit;
use crate::policy::admit::LabelRule;
use crate::policy::retention;
use crate::policy::rollout::{Ending, Rollout, RolloutAction, StepResult};
use crate::state::journal::{Entry, Journal, What};
use crate::state::labels::{self, DEPLOYMENT};
use crate::state::{ContainerId, Instance, Release, State, StepError, Store};
use autotag_base::clock;
use autotag_base::clock::Stopwatch;
use autotag_model::reference::{Digest, ImageName};
use autotag_model::secret::Credentials;
use autotag_protocol::{AppName, DeploymentId, Event, FailureCode, RolloutStep, Source};

/// How many of its last lines are shown of a container that failed.
const EXPLAINED: u32 = 60;

/// What a driver works with, and for whom.
#[derive(Debug)]
pub struct Driver<'a, E> {
    /// Docker.
    pub engine: &'a E,
    /// The proxy.
    pub proxy: &'a ProxyClient,
    /// Where things lie.
    pub paths: &'a Paths,
    /// The application.
    pub app: &'a AppName,
    /// The proof that nobody else changes it.
    pub lock: &'a Lock,
    /// Who is told.
    pub job: &'a EventLog,
    /// The audit trail; `None` where it could not be opened, which stops nothing.
    pub journal: Option<Journal>,
    /// For the pull; none: the host's own.
    pub credentials: Option<Credentials>,
    /// What the image's labels must say.
    pub labels: LabelRule,
    /// The image that was pulled, which was not here before.
    pub pulled: Option<(ImageName, Digest)>,
    /// Restarts that a container had when it was started here: further ones are crashes.
    pub restarts: BTreeMap<ContainerId, u64>,
}

/// What a step gives, or why it failed.
type Done = Result<(), StepError>;

impl<E: Engine> Driver<'_, E> {
    /// Goes through a rollout to its end. Gives also the state as it was last made durable.
    pub async fn run(&mut self, mut rollout: Rollout) -> (Ending, State) {
        loop {
            let step = rollout.step();
            let name = match &step {
                RolloutAction::End(ending) => return (ending.clone(), rollout.state().clone()),
                step => step.rollout_step().unwrap_or(RolloutStep::Save),
            };
            self.note(What::Began { step: name });
            // People do not wait for a file to be written.
            let reported = !matches!(step, RolloutAction::Save(_) | RolloutAction::Remake(_));
            if reported {
                self.job.say(Event::StepStarted { step: name.into() });
            }
            let stopwatch = Stopwatch::start();
            let event = self.perform(&step, &rollout).await;
            let failed = match &event {
                StepResult::Failed(error) => Some(Event::within_line(&error.why)),
                _ => None,
            };
            let milliseconds = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.note(What::Ended { step: name, milliseconds, failed: failed.clone() });
            if reported || failed.is_some() {
                self.job.say(Event::StepEnded { step: name.into(), milliseconds, failed });
            }
            rollout = rollout.next(event);
        }
    }

    /// Adds to the journal. One that cannot be written is told once; the deployment goes on, since the
    /// state, not the journal, is what everything rests on.
    pub fn note(&mut self, what: What) {
        let Some(journal) = &mut self.journal else { return };
        let entry = Entry { at: clock::now(), deployment: self.job.deployment.clone(), what };
        if let Err(error) = journal.append(&entry) {
            let text = format!("the journal cannot be written: {error}");
            tracing::error!(app = %self.app, "{text}");
            self.job.say(Event::Note { text });
            self.journal = None;
        }
    }

    async fn perform(&mut self, step: &RolloutAction, rollout: &Rollout) -> StepResult {
        let done = match step {
            RolloutAction::Save(state) => self.save(state),
            RolloutAction::Pull(release) => self.pull(release, rollout.state()).await,
            RolloutAction::Create(release) => match self.create(release).await {
                Ok(container) => return StepResult::Created(container),
                Err(why) => Err(why),
            },
            RolloutAction::Remake(instance) => match self.remake(instance, rollout.state()).await {
                Ok(Some(container)) => return StepResult::Created(container),
                Ok(None) => Ok(()),
                Err(why) => Err(why),
            },
            RolloutAction::Start(instance) => self.start(instance).await,
            RolloutAction::AwaitHealthy(instance) => self.await_healthy(instance).await,
            RolloutAction::Smoke(instance) => self.smoke(instance).await,
            RolloutAction::Hold => self.hold(rollout.state()).await,
            RolloutAction::Switch(instance) => self.switch(instance).await,
            RolloutAction::Verify(instance) => self.verify(instance).await,
            RolloutAction::Drain(instance) => self.drain(instance).await,
            RolloutAction::Stop(instance) => self.stop(instance).await,
            RolloutAction::Remove(instance) => self.remove_all_of(instance, rollout.state()).await,
            RolloutAction::Explain(release) => self.explain(release).await,
            RolloutAction::Discard(release) => self.discard(release, rollout.state()).await,
            RolloutAction::Prune => self.prune(rollout.state()).await,
            RolloutAction::End(_) => Ok(()),
        };
        done.map_or_else(StepResult::Failed, |()| StepResult::Done)
    }

    fn save(&self, state: &State) -> Done {
        let store = Store::new(&self.paths.state(self.app), self.app.clone());
        store.save(self.lock, state).map_err(|error| {
            StepError::of_file(format!("the state cannot be written to {}", store.path().display()), &error)
        })
    }

    /// What a deployment's container is made from. Its snapshot was written before anything else.
    fn settings(&self, deployment: &DeploymentId) -> Result<Settings, StepError> {
        let found = Snapshots::new(&self.paths.state(self.app)).load(deployment);
        found.map_err(|why| StepError::new(FailureCode::Storage, why))?.ok_or_else(|| {
            let why = format!("the settings of the deployment {deployment} no longer exist");
            StepError::new(FailureCode::Storage, why)
        })
    }

    async fn pull(&mut self, release: &Release, state: &State) -> Done {
        let (name, digest) = (&release.image, &release.digest);
        let image = self.there(name, digest).await?;
        if let Some(foreign) = &image.foreign {
            return Err(StepError::new(FailureCode::Platform, format!("{foreign}. {}", foreign.remedy())));
        }
        // What is brought back has served, whatever its labels say.
        let is_asked_for = self.job.deployment.as_ref() == Some(&release.deployment);
        let rule = if is_asked_for { &self.labels } else { &LabelRule::Optional };
        admit::labels(release, &image.labels, rule)
            .map_err(|refused| StepError::new(FailureCode::ImageLabels, refused.message))?;
        let settings = self.settings(&release.deployment)?;
        let checked = match &settings.file.container.healthcheck {
            Some(Healthcheck::Disabled) => false,
            Some(own) if own.has_test() => true,
            Some(Healthcheck::Test { .. }) | None => image.has_healthcheck,
        };
        if settings.file.health.proof == Proof::Docker && !checked {
            return Err(StepError::new(
                FailureCode::ImageHealthCheck,
                "nothing can tell whether this version works: its image has no HEALTHCHECK, and the app \
                 file neither a `healthcheck` with a `test` nor `health`. Add `health: {path: /healthz}` to \
                 the app file, or `health: none` for what cannot be asked",
            ));
        }
        self.nothing_is_lost(release, &settings, &image, state).await
    }

    /// No volume is left to Docker: its data would stay behind with the next deployment.
    async fn nothing_is_lost(
        &self,
        release: &Release,
        settings: &Settings,
        image: &LocalImage,
        state: &State,
    ) -> Done {
        let uncovered = image_volumes::uncovered(&image.volumes, &settings.file.container);
        if uncovered.is_empty() {
            return Ok(());
        }
        let today = Settings::today(self.paths, self.app, settings.given.clone());
        let today = today.unwrap_or_else(|_| settings.clone());
        if image_volumes::uncovered(&image.volumes, &today.file.container).is_empty() {
            let why = format!(
                "the image declares `VOLUME {}`, and the app file as it was with {} mounts nothing there; \
                 its data would be lost. Today's app file does: take today's configuration",
                uncovered.join("`, `VOLUME "),
                release.version
            );
            return Err(StepError::new(FailureCode::ImageVolume, why));
        }
        let serving = match state.active() {
            Some(active) => self.engine.inspect(active.container.as_str()).await.map_err(words)?,
            None => None,
        };
        let owner = image_volumes::VolumeHint {
            app: self.app,
            file: &self.paths.app_file(self.app),
            container: &today.file.container,
            serving: &serving.map(|facts| facts.volumes).unwrap_or_default(),
        };
        Err(StepError::new(FailureCode::ImageVolume, image_volumes::refusal(&uncovered, &owner)))
    }

    /// Removes a container. Its volumes stay; the owner hears of those that are found by no name of theirs.
    async fn remove(&mut self, container: &str, state: &State) -> Done {
        let kept = self.engine.remove(container).await.map_err(words)?;
        if kept.is_empty() {
            return Ok(());
        }
        let active = match state.active() {
            Some(active) => self.engine.inspect(active.container.as_str()).await.ok().flatten(),
            None => None,
        };
        let used = active.map(|facts| facts.volumes).unwrap_or_default();
        for volume in kept.iter().filter(|kept| used.iter().all(|used| used.name != kept.name)) {
            let text = image_volumes::kept(volume, container.get(..12).unwrap_or(container));
            self.job.say(Event::Note { text: Event::within_line(&text) });
            self.note(What::Noted { text });
        }
        Ok(())
    }

    /// The image on this machine, pulled if need be.
    async fn there(&mut self, name: &ImageName, digest: &Digest) -> Result<LocalImage, StepError> {
        if let Some(image) = self.engine.image(name, digest).await.map_err(words)? {
            return Ok(image);
        }
        let own = match &self.credentials {
            Some(_) => None,
            None => docker_config::credentials(self.paths, name)
                .map_err(|why| StepError::new(FailureCode::PullRefused, why))?,
        };
        let credentials = self.credentials.as_ref().or(own.as_ref());
        self.engine.pull(name, digest, credentials).await.map_err(words)?;
        self.pulled = Some((name.clone(), digest.clone()));
        let pulled = self.engine.image(name, digest).await.map_err(words)?;
        pulled.ok_or_else(|| {
            let why = format!("{} was pulled and then is not there", name.with_digest(digest));
            StepError::new(FailureCode::Docker, why)
        })
    }

    async fn create(&self, release: &Release) -> Result<ContainerId, StepError> {
        let settings = self.settings(&release.deployment)?;
        if settings.file.container.networks.is_empty() {
            let (name, labels) = (container::own_network(self.app), labels::app_labels(self.app));
            self.engine.ensure_network(&name, &labels).await.map_err(words)?;
        }
        let spec = container::spec(self.app, release, &settings);
        let id = self.engine.create(&spec).await.map_err(words)?;
        remake::id(&id)
    }

    async fn start(&mut self, instance: &Instance) -> Done {
        let before = self.facts(instance).await?;
        self.in_its_network(instance, &before).await?;
        // Docker begins to count anew when somebody starts a container.
        let restarts = if before.running { before.restarts } else { 0 };
        self.restarts.insert(instance.container.clone(), restarts);
        let started = self.engine.start(instance.container.as_str()).await;
        started.map_err(|error| of_call_error(&error, FailureCode::DoesNotStart))
    }

    /// Gives a container the application's own network back, where somebody has taken it away by hand:
    /// without it Docker starts none, and nobody reaches one that runs.
    async fn in_its_network(&self, instance: &Instance, facts: &ContainerFacts) -> Done {
        let Ok(settings) = self.settings(&instance.release.deployment) else { return Ok(()) };
        if !settings.file.container.networks.is_empty() {
            return Ok(());
        }
        let name = container::own_network(self.app);
        self.engine.ensure_network(&name, &labels::app_labels(self.app)).await.map_err(words)?;
        if facts.running && !facts.addresses.contains_key(&name) {
            self.job.say(Event::Note { text: format!("{} was taken out of its network {name}", facts.name) });
            self.engine.connect(&facts.id, &name).await.map_err(words)?;
        }
        Ok(())
    }

    /// The container, which has to be there.
    async fn facts(&self, instance: &Instance) -> Result<ContainerFacts, StepError> {
        let found = self.engine.inspect(instance.container.as_str()).await;
        found.map_err(words)?.ok_or_else(|| {
            let why = format!("the container {} is gone: somebody removed it", instance.container.short());
            StepError::new(FailureCode::ContainerGone, why)
        })
    }

    /// Where neither what serves nor what shall is behind the proxy, there may be none on this machine.
    async fn hold(&self, state: &State) -> Done {
        let unproxied = |release: &&Release| {
            let settings = self.settings(&release.deployment);
            settings.is_ok_and(|settings| matches!(settings.file.traffic, Traffic::Unproxied { .. }))
        };
        let releases = state.releases();
        if !releases.is_empty() && releases.iter().all(unproxied) {
            return Ok(());
        }
        self.proxy.hold(self.app).await
    }

    async fn switch(&self, instance: &Instance) -> Done {
        let settings = self.settings(&instance.release.deployment)?;
        let facts = self.facts(instance).await?;
        if !facts.running {
            let why = format!("the container {} does not run", instance.container.short());
            return Err(StepError::new(FailureCode::Exited, why));
        }
        // How it is made is known for certain now that it is in all its networks.
        let snapshots = Snapshots::new(&self.paths.state(self.app));
        if let Err(error) = snapshots.note_made(self.lock, &instance.release.deployment, &facts.configuration)
        {
            tracing::warn!(app = %self.app, %error, "manual changes will not be noticed");
        }
        match &settings.file.traffic {
            Traffic::Unproxied { .. } => self.proxy.forget(self.app).await?,
            Traffic::Proxied { .. } => {
                // Named here by its network, if it has none.
                address(self.app, &settings, &facts)?;
                self.proxy.switch_to(self.engine, self.app, &settings, &instance.container).await?;
            }
        }
        // Nobody's request depends on it: a name that cannot be had is told, and fails nothing.
        if let Err(why) = take_name(self.engine, self.app, instance.container.as_str()).await {
            self.job.say(Event::Note { text: Event::within_line(&why.why) });
        }
        Ok(())
    }

    async fn drain(&self, instance: &Instance) -> Done {
        let Traffic::Proxied { drain, .. } = self.settings(&instance.release.deployment)?.file.traffic else {
            return Ok(());
        };
        let drained = self.proxy.drain(self.app, &instance.container, drain).await?;
        if drained.requests_cut > 0 || drained.tunnels_cut > 0 {
            let why = format!(
                "after {} s {} requests and {} WebSockets were cut off; `drain` in the app file says how \
                 long they may take",
                drain.as_secs(),
                drained.requests_cut,
                drained.tunnels_cut
            );
            return Err(StepError::new(FailureCode::Cut, why));
        }
        Ok(())
    }

    async fn stop(&self, instance: &Instance) -> Done {
        // Without its settings it is stopped all the same, by the container's own grace period.
        let grace = self.settings(&instance.release.deployment).ok();
        let grace = grace.and_then(|settings| settings.file.container.stop_grace_period);
        for container in self.all_of(instance).await? {
            self.engine.stop(&container, grace).await.map_err(words)?;
        }
        Ok(())
    }

    async fn explain(&self, release: &Release) -> Done {
        for container in self.of_deployment(release).await? {
            if let Some(call_error) = &container.error {
                self.job.say(Event::Note { text: Event::within_line(&format!("Docker says: {call_error}")) });
            }
            for (code, output) in &container.health_log {
                for line in output.lines() {
                    self.job.say(Event::log(Source::Health, &format!("[exit {code}] {line}")));
                }
            }
            let lines = self.engine.logs(&container.id, EXPLAINED).await;
            for line in lines.map_err(words)? {
                self.job.say(Event::log(Source::Application, &line));
            }
        }
        Ok(())
    }

    async fn of_deployment(&self, release: &Release) -> Result<Vec<ContainerFacts>, StepError> {
        let labels = [(labels::APP, self.app.as_str()), (DEPLOYMENT, release.deployment.as_str())];
        self.engine.labelled(&labels).await.map_err(words)
    }

    async fn discard(&mut self, release: &Release, state: &State) -> Done {
        for container in self.of_deployment(release).await? {
            // Not by force: it may have begun to write somewhere.
            self.engine.stop(&container.id, None).await.map_err(words)?;
            self.remove(&container.id, state).await?;
        }
        Ok(())
    }

    /// Takes away what a deployment brought that failed: its snapshot, and its image if nothing else needs it. What
    /// cannot be removed goes with the next one that works.
    pub async fn clean_up(&mut self, state: &State, failed: &Release) {
        let needed = retention::needed(state, u32::MAX);
        if !needed.deployments.contains(&failed.deployment)
            && let Err(error) =
                Snapshots::new(&self.paths.state(self.app)).remove(self.lock, &failed.deployment)
        {
            tracing::warn!(app = %self.app, %error, "the settings of a failed deployment stay");
        }
        let Some((name, digest)) = self.pulled.take().filter(|(_, digest)| !needed.has(digest)) else {
            return;
        };
        if let Err(call_error) = self.engine.remove_image(&name, &digest).await {
            tracing::warn!(app = %self.app, %call_error, "the image of a failed deployment stays");
        }
    }

    async fn prune(&self, state: &State) -> Done {
        let Some(active) = state.active() else { return Ok(()) };
        let settings = self.settings(&active.release.deployment)?;
        let needed = retention::needed(state, settings.file.keep);
        let images = self.engine.images(&active.release.image).await.map_err(words)?;
        for image in images {
            // An image that somebody else pulled by another digest of this repository is ours to judge, too:
            // the repository is the application's own.
            for (name, digest) in image.digests {
                if name == active.release.image && !needed.has(&digest) {
                    self.engine.remove_image(&name, &digest).await.map_err(words)?;
                }
            }
        }
        Snapshots::new(&self.paths.state(self.app))
            .keep(self.lock, &|id| needed.deployments.iter().any(|known| known.as_str() == id))
            .map_err(|error| StepError::of_file("old settings cannot be removed", &error))
    }
}

/// Where the proxy and the probes reach a container at this moment.
pub(crate) fn address(
    app: &AppName,
    settings: &Settings,
    facts: &ContainerFacts,
) -> Result<IpAddr, StepError> {
    let network = container::network(app, settings);
    facts.addresses.get(&network).copied().ok_or_else(|| {
        let why = format!("the container {} has no address in the network {network}", facts.name);
        StepError::new(FailureCode::Docker, why)
    })
}

/// Whether it may serve right now, judged by what Docker knows: for a look that waits for nothing.
pub(crate) fn serves_at_once(facts: &ContainerFacts) -> bool {
    facts.running && !facts.paused && matches!(facts.health, Healthy::Yes | Healthy::Unchecked)
}

/// How long one request of a health or smoke test may take.
const REQUEST: Duration = Duration::from_secs(5);
