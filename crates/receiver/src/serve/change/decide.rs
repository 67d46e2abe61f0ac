//! What is to be done about a change: by the request, the app file and the state, before anything is done.

use super::refusals::unrecorded;
use super::{Change, Decision, Locked};
use crate::config::settings::{Settings, Variables};
use crate::engine::Engine;
use crate::policy::admit;
use crate::policy::admit::{Admitted, WayBack};
use crate::serve::peer::Caller;
use crate::state::journal::What;
use crate::state::{Record, Release, State};
use autotag_base::clock;
use autotag_protocol::{
    Configuration, Deploy, DeploymentId, End, EnvironmentKey, Event, RefusalCode, Refused, Rollback,
};

impl<E: Engine> Locked<'_, E> {
    /// By a steady state. Nothing is done yet.
    pub(super) fn admit<'c>(
        &self,
        caller: &Caller,
        change: &'c Change,
        state: &'c State,
    ) -> Result<Decision<'c>, Refused> {
        let (settings, admitted) = match change {
            Change::Deploy(deploy) => self.admit_deploy(caller, deploy, state)?,
            Change::Rollback(rollback) => match admit::way_back(rollback, caller.asker(), state)? {
                WayBack::To(target) => self.admit_rollback(caller, rollback, target, state)?,
                WayBack::Withdraw(deployment, end) => return Ok(Decision::Withdraw(deployment, end)),
            },
        };
        Ok(Decision::Go(Box::new((settings, admitted))))
    }

    fn admit_deploy(
        &self,
        caller: &Caller,
        deploy: &Deploy,
        state: &State,
    ) -> Result<(Settings, Admitted), Refused> {
        // The owner's command does not know CI's secrets: what CI gave last stays.
        let settings = match caller {
            Caller::Owner if deploy.environment.is_empty() => self.today_with(self.given_last(state)?)?,
            _ => Settings::today(&self.server.paths, self.app, deploy.environment.clone())?,
        };
        let admitted =
            admit::deploy(deploy, caller.asker(), &settings.file, state, &settings.hash(), clock::now())?;
        Ok((settings, admitted))
    }

    /// With which configuration: what is the owner's comes from the app file as it is now, unless root itself asks
    /// for that of then. An old app file may have had mounts, capabilities or secrets that were taken away for a
    /// reason, and CI's key must not bring them back. Of then it gets CI's own variables, also where a deployment is
    /// reverted by itself: what the version needs beside them its owner has in today's file, and if it does not
    /// work with that, it does not pass, and what serves goes on.
    fn admit_rollback(
        &self,
        caller: &Caller,
        rollback: &Rollback,
        target: &Record,
        state: &State,
    ) -> Result<(Settings, Admitted), Refused> {
        let settings = match rollback.configuration {
            Configuration::Today => self.today_with(self.given_last(state)?)?,
            Configuration::Then => {
                let then = self.settings_of(&target.release)?;
                if *caller == Caller::Owner { then } else { self.today_with(then.given)? }
            }
        };
        let admitted =
            admit::rollback(rollback, target, &settings.file, state, &settings.hash(), clock::now())?;
        Ok((settings, admitted))
    }

    /// Makes sure that a deployment which does not serve never will.
    pub(super) fn withdraw(
        &mut self,
        deployment: &DeploymentId,
        state: &State,
        end: End,
    ) -> Result<End, Refused> {
        if let Some(withdrawn) = state.with_withdrawn(deployment) {
            self.note_asked();
            self.save(&withdrawn)?;
            self.driver.note(What::Noted { text: format!("{deployment} is withdrawn") });
        }
        Ok(end)
    }

    /// Today's configuration, with what CI gave earlier. The app file may not allow all of it any more.
    fn today_with(&self, given: Variables) -> Result<Settings, Refused> {
        let (settings, left_out) = Settings::today_with(&self.server.paths, self.app, given)?;
        if !left_out.is_empty() {
            let names: Vec<&str> = left_out.iter().map(EnvironmentKey::as_str).collect();
            let names = names.join(", ");
            self.say(&Event::within_line(&format!(
                "the app file no longer allows these variables, so they are left out: {names}"
            )));
        }
        Ok(settings)
    }

    /// The variables that CI gave with what serves now.
    fn given_last(&self, state: &State) -> Result<Variables, Refused> {
        let Some(last) = state.active().map(|active| &active.release).or_else(|| state.last_served()) else {
            return Ok(Variables::new());
        };
        let settings = self.snapshots.load(&last.deployment).map_err(unrecorded)?;
        Ok(settings.map(|settings| settings.given).unwrap_or_default())
    }

    fn settings_of(&self, release: &Release) -> Result<Settings, Refused> {
        self.snapshots.load(&release.deployment).map_err(unrecorded)?.ok_or_else(|| {
            let text = format!(
                "the configuration that {} had is no longer kept (`keep` in the app file); roll back with \
                 the current one",
                release.version
            );
            Refused::new(RefusalCode::NotRecorded, text)
        })
    }
}
