//! `reset-highest`: the owner's way to take back a highest version that was none, such as one that a stolen key
//! claimed. Until then the server refuses every real version below it.

use std::cmp::Ordering;

use anyhow::{Context as _, bail};
use semver::Version;

use super::journal::LIMITS;
use super::journal::{Entry, Journal, What};
use crate::lock::{self, Lock, Tried};
use crate::paths::Paths;
use crate::state::{Phase, State, Store};
use autotag_base::clock;
use autotag_protocol::AppName;

/// Why it stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// Something is under way.
    #[error("a deployment is not finished yet; see `autotag-receiver status`, and run this again")]
    Unfinished,
    /// Nothing serves, so there is no version to take by itself.
    #[error("nothing serves now: name the version to go down to, such as 1.4.0")]
    NothingServes,
    /// What serves would be above the highest.
    #[error("{serves} serves, so the highest version cannot be {wanted}: roll back first, or name {serves}")]
    Serves {
        /// What does.
        serves: Version,
        /// What was to be the highest.
        wanted: Version,
    },
    /// It would not be lower.
    #[error("the highest version is {highest}, and only a lower one can take its place")]
    NotLower {
        /// It.
        highest: Version,
    },
    /// Nothing was ever live.
    #[error("nothing was live here yet, so there is no highest version")]
    None,
}

/// The same state with a lower highest version: this one, or the one that serves. Gives also that version and the
/// one before. Pure.
pub fn lowered(state: &State, to: Option<&Version>) -> Result<(State, Version, Version), Stays> {
    let Phase::Steady { active } = &state.change else { return Err(Stays::Unfinished) };
    let serves = active.as_ref().map(|active| &active.release.version);
    let highest = state.highest.as_ref().ok_or(Stays::None)?;
    let wanted = to.or(serves).ok_or(Stays::NothingServes)?;
    if let Some(serves) = serves
        && serves.cmp_precedence(wanted) == Ordering::Greater
    {
        return Err(Stays::Serves { serves: serves.clone(), wanted: wanted.clone() });
    }
    if wanted.cmp_precedence(highest) != Ordering::Less {
        return Err(Stays::NotLower { highest: highest.clone() });
    }
    let lower = State { highest: Some(wanted.clone()), ..state.clone() };
    Ok((lower, wanted.clone(), highest.clone()))
}

/// Does it, under the application's lock and without `serve`, which reads the state anew for each change. Gives the
/// words for whoever asked.
pub fn reset(paths: &Paths, app: &AppName, to: Option<&Version>) -> anyhow::Result<String> {
    let directory = paths.state(app);
    if !directory.is_dir() {
        bail!("nothing of {app} was deployed here yet: {} does not exist", directory.display());
    }
    let path = paths.lock(app);
    let held = Lock::try_take(&path, &lock::holder("reset-highest", None))
        .with_context(|| format!("locking {}", path.display()))?;
    let Tried::Taken(lock) = held else {
        bail!(
            "{app} is being changed right now (`autotag-receiver status {app}`): run this again when that \
             is done"
        );
    };
    let store = Store::new(&directory, app.clone());
    let (state, highest, before) = lowered(&store.load()?, to)?;
    store.save(&lock, &state).with_context(|| format!("writing {}", store.path().display()))?;
    let text = format!("root lowered the highest version from {before} to {highest}");
    let (limit, kept) = LIMITS;
    let what = What::Noted { text };
    let noted = Journal::open(&paths.journal(app), limit, kept)
        .and_then(|mut journal| journal.append(&Entry { at: clock::now(), deployment: None, what }));
    let journal = noted.err().map(|error| format!("; the journal does not say so: {error}"));
    Ok(format!(
        "{app}: the highest version is {highest} now, and was {before}; CI may deploy what is above \
         {highest}{}",
        journal.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use crate::testing::steady;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    /// A bogus version was live, and was rolled back to 1.4.0.
    fn state() -> State {
        State { highest: Some(version("999.0.0")), ..steady("1.4.0") }
    }

    #[test]
    fn the_highest_is_never_lowered_below_what_serves() {
        let nothing = State { change: Phase::Steady { active: None }, ..state() };
        let new = testing::release("1.5.0");
        let pending = State { change: Phase::Pending { active: None, new }, ..state() };
        let serves = |wanted| Stays::Serves { serves: version("1.4.0"), wanted: version(wanted) };
        let not_lower = || Stays::NotLower { highest: version("999.0.0") };
        for (state, to, expected) in [
            (state(), None, Ok("1.4.0")),
            (state(), Some("1.4.0"), Ok("1.4.0")),
            (state(), Some("2.0.0"), Ok("2.0.0")),
            (state(), Some("1.3.9"), Err(serves("1.3.9"))),
            (state(), Some("1.4.0-rc.1"), Err(serves("1.4.0-rc.1"))),
            (state(), Some("999.0.0"), Err(not_lower())),
            (state(), Some("1000.0.0"), Err(not_lower())),
            (steady("1.4.0"), None, Err(Stays::NotLower { highest: version("1.4.0") })),
            (nothing.clone(), None, Err(Stays::NothingServes)),
            (nothing, Some("0.1.0"), Ok("0.1.0")),
            (pending, Some("1.4.0"), Err(Stays::Unfinished)),
            (State::new("app".parse().unwrap()), Some("1.0.0"), Err(Stays::None)),
        ] {
            let to = to.map(version);
            let found = lowered(&state, to.as_ref());
            match (found, expected) {
                (Ok((lower, highest, before)), Ok(text)) => {
                    assert_eq!((&highest, lower.highest.as_ref()), (&version(text), Some(&highest)));
                    assert_eq!(Some(before), state.highest);
                    assert_eq!(State { highest: state.highest.clone(), ..lower }, state, "nothing else");
                }
                (found, expected) => assert_eq!(found.err(), expected.err(), "{to:?}"),
            }
        }
    }

    #[test]
    fn a_lowered_highest_version_is_durable_and_journalled() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, app) = (Paths::below(directory.path()), "app".parse::<AppName>().unwrap());
        let words = |result: anyhow::Result<String>| result.unwrap_err().to_string();
        assert!(words(reset(&paths, &app, None)).contains("var/lib/autotag/app"));
        std::fs::create_dir_all(paths.state(&app)).unwrap();
        let store = Store::new(&paths.state(&app), app.clone());
        let lock = testing::lock(&paths.state(&app));
        store.save(&lock, &state()).unwrap();
        insta::assert_snapshot!(words(reset(&paths, &app, None)), @"app is being changed right now (`autotag-receiver status app`): run this again when that is done");
        drop(lock);
        let output = reset(&paths, &app, None).unwrap();
        insta::assert_snapshot!(output, @"app: the highest version is 1.4.0 now, and was 999.0.0; CI may deploy what is above 1.4.0");
        assert_eq!(store.load().unwrap().highest, Some(version("1.4.0")));
        let journal = crate::state::journal::read(&paths.journal(&app)).unwrap();
        let [Entry { what: What::Noted { text }, .. }] = &journal.entries[..] else { panic!("{journal:?}") };
        insta::assert_snapshot!(text, @"root lowered the highest version from 999.0.0 to 1.4.0");
        insta::assert_snapshot!(words(reset(&paths, &app, None)), @"the highest version is 1.4.0, and only a lower one can take its place");
    }
}
