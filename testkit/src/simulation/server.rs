//! A server in memory: the receiver's own admission and its own rollout machine, over containers that always
//! become healthy. One request is one step, as the receiver's lock makes it.

use std::fmt::Write as _;

use autotag_base::clock;
use autotag_model::reference::Digest;
use autotag_protocol::{
    Body, End, Event, Open, Outcome as WireOutcome, RefusalCode, Refused, Request, Running, Status,
};
use autotag_receiver::config::app_file::AppFile;
use autotag_receiver::config::config_hash::ConfigHash;
use autotag_receiver::policy::admit;
use autotag_receiver::policy::admit::{Admitted, Asker};
use autotag_receiver::policy::rollout::{Rollout, RolloutAction, StepResult, Verdict};
use autotag_receiver::state::{Phase, Purpose, Record, Release, State};
use semver::Version;

/// The server of one application.
#[derive(Debug, Clone)]
pub struct SimulatedServer {
    file: AppFile,
    state: State,
    /// Every version that traffic was switched to, in order.
    pub switched: Vec<Version>,
    /// What nobody may ever do.
    pub violations: Vec<String>,
}

impl SimulatedServer {
    /// Nothing was ever deployed.
    pub fn new(image: &str) -> Self {
        let text = format!("image: {image}\nport: 80\nlisten: 127.0.0.1:8080\nhealth: {{path: /}}\n");
        Self {
            file: AppFile::parse(&text).expect("an app file"),
            state: State::new("app".parse().expect("a name")),
            switched: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// What serves.
    pub fn serving(&self) -> Option<Running> {
        self.state.active().map(|active| active.release.running())
    }

    /// Versions that were rolled back.
    pub fn is_blocked(&self, version: &Version) -> bool {
        self.state.blocked.contains_key(version)
    }

    /// Everything that decides how things go on, but for the names of deployments, which are drawn by chance.
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{:?}{:?}", self.state.highest, self.state.blocked.keys());
        let release = |release: &Release| format!("{}@{}", release.version, release.digest.short());
        if let Some(active) = self.state.active() {
            let _ = write!(text, "{}", release(&active.release));
        }
        let _ = write!(text, "{:?}", self.switched.iter().max());
        for Record { release: done, failure } in &self.state.history {
            let _ = write!(text, " {}{}", release(done), failure.is_some());
        }
        text
    }

    /// One request, as `serve` treats it under its lock.
    pub fn ask(&mut self, request: &Request) -> Vec<Event> {
        let mut answers = Vec::new();
        let (end, deployment) = match &request.body {
            Body::Deploy(deploy) => {
                let given = deploy.environment.iter();
                let given = given.map(|(key, value)| (key.clone().into(), value.clone())).collect();
                let config = ConfigHash::of(&self.file, &given);
                let admitted =
                    admit::deploy(deploy, Asker::Key, &self.file, &self.state, &config, clock::now());
                (self.carry_out(admitted, deploy.allow_downgrade), Some(deploy.deployment.clone()))
            }
            Body::Rollback(rollback) => {
                let admitted = match admit::known_rollback(rollback, &self.state) {
                    Ok(Some(known)) => Ok(Admitted::Known(known)),
                    Err(refused) => Err(refused),
                    Ok(None) => {
                        let target = rollback.to.as_ref();
                        admit::rollback_target(target, Asker::Key, &self.state).and_then(|target| {
                            let config = target.release.config.clone();
                            admit::rollback(rollback, target, &self.file, &self.state, &config, clock::now())
                        })
                    }
                };
                (self.carry_out(admitted, true), Some(rollback.deployment.clone()))
            }
            Body::Status { .. } => {
                answers.push(Event::Status(Box::new(Status {
                    running: self.serving(),
                    drift: Vec::new(),
                    blocked: self.state.blocked.keys().cloned().collect(),
                    busy: None,
                    highest: self.state.highest.clone(),
                    asked: None,
                })));
                (End::Reported {}, None)
            }
            other => panic!("nobody asks a simulated server for this: {other:?}"),
        };
        answers.push(Event::Result(Box::new(WireOutcome {
            end,
            running: self.serving(),
            deployment,
            milliseconds: 1,
        })));
        answers
    }

    fn carry_out(&mut self, admitted: Result<Admitted, Refused>, allow_downgrade: bool) -> End {
        match admitted {
            Err(refused) => End::Refused { code: refused.code.into(), message: refused.message },
            Ok(Admitted::Unchanged(_)) => End::Unchanged {},
            Ok(Admitted::Known(record)) => record.end(),
            Ok(Admitted::RollOut(release)) => self.roll_out(release, allow_downgrade),
        }
    }

    fn roll_out(&mut self, release: Release, allow_downgrade: bool) -> End {
        let mut rollout = match Rollout::begin(self.state.clone(), release) {
            Ok(rollout) => rollout,
            Err(unfinished) => {
                return End::Refused {
                    code: Open::Known(RefusalCode::Unfinished),
                    message: unfinished.to_string(),
                };
            }
        };
        loop {
            let event = match rollout.step() {
                RolloutAction::End(ending) => {
                    self.state = rollout.state().clone();
                    assert!(matches!(self.state.change, Phase::Steady { .. }), "nothing fails here");
                    return match ending.verdict {
                        Verdict::Serves(release) if release.purpose == Purpose::Rollback => {
                            End::RolledBack {}
                        }
                        _ => End::Deployed {},
                    };
                }
                RolloutAction::Create(release) => {
                    let name = Digest::of(format!("{} {}", release.deployment, release.digest).as_bytes());
                    let id = name.as_str()["sha256:".len()..].parse().expect("64 digits");
                    StepResult::Created(id)
                }
                RolloutAction::Switch(to) => {
                    self.note_switch(&to.release.version, allow_downgrade);
                    StepResult::Done
                }
                _ => StepResult::Done,
            };
            rollout = rollout.next(event);
        }
    }

    fn note_switch(&mut self, version: &Version, allow_downgrade: bool) {
        let above = self
            .switched
            .iter()
            .all(|before| before < version || (before == version && !self.is_blocked(version)));
        if !above && !allow_downgrade {
            self.violations.push(format!(
                "11 (rises): {version} was switched to after {:?}, and nobody allowed a downgrade",
                self.switched.iter().map(ToString::to_string).collect::<Vec<_>>()
            ));
        }
        self.switched.push(version.clone());
    }
}
