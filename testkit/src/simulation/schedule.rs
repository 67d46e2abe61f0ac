//! From one situation to the next, by one choice.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;

use autotag_base::Effect;
use autotag_deploy::failure::FailureKind;
use autotag_deploy::ports::DeploymentState;
use autotag_model::git::ObjectId;

use super::Outside;
use super::choice::{Budget, Choice, Fate, Injected, Limits};
use super::ending::{Ended, is_whole, words};
use super::kind::CallKind;
use super::program::{Next, Place, Programs};
use super::scenario::{Actor, IMAGE, Scenario, Start};
use super::simulated_ports::{CallAnswer, PendingCall};

/// Where everything stands.
#[derive(Clone)]
pub struct Situation {
    places: Vec<Place>,
    pub outside: Outside,
    /// What is outside, as a number.
    fingerprint: u64,
    /// Calls that were given up and have not happened yet.
    ghosts: Vec<Rc<PendingCall>>,
    left: Budget,
    pub injected: Injected,
    preemptions: u8,
    last: Option<usize>,
    /// What was found wrong on the way.
    pub violations: Vec<String>,
}

/// A scenario's actors, and what is known of their programs.
pub struct Simulation {
    pub programs: Programs,
    pub limits: Limits,
    /// What happened, in words; only where somebody wants to read it.
    pub trace: Option<Vec<String>>,
    /// Commits whose runs make releases, now or before.
    pub releasing: BTreeSet<ObjectId>,
    /// Where a read leads, by where its run is and by what it reads.
    reads: HashMap<(Place, u64), Place>,
}

impl Simulation {
    /// Nothing has happened.
    pub fn new(start: &Start, actors: Vec<Actor>, limits: Limits) -> Self {
        let maker = format!("after{}-r", start.released);
        let mut releasing = start.releasing.clone();
        let runs =
            actors.iter().filter_map(|actor| if let Actor::Run(run) = actor { Some(run) } else { None });
        releasing.extend(runs.filter(|run| run.releases).map(|run| start.commits[run.commit].clone()));
        Self {
            programs: Programs::new(actors, start.commits.clone(), maker),
            limits,
            trace: None,
            releasing,
            reads: HashMap::new(),
        }
    }

    /// All actors stand before their first call.
    pub async fn beginning(&mut self, start: &Start) -> Situation {
        let mut places = Vec::new();
        for run in 0..self.programs.actors().len() {
            places.push(self.programs.beginning(run, 1).await);
        }
        let mut situation = Situation {
            places,
            outside: start.outside.clone(),
            fingerprint: 0,
            ghosts: Vec::new(),
            left: self.limits.budget,
            injected: Injected::default(),
            preemptions: 0,
            last: None,
            violations: Vec::new(),
        };
        self.judge(&mut situation);
        situation
    }

    fn judge(&self, situation: &mut Situation) {
        let mut hasher = DefaultHasher::new();
        situation.outside.fingerprint(self.limits.budget.stale > 0).hash(&mut hasher);
        situation.fingerprint = hasher.finish();
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    /// What happened since somebody wanted to know.
    pub fn story(&mut self) -> String {
        let lines = self.trace.take().unwrap_or_default();
        self.trace = Some(Vec::new());
        lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
    }

    fn next(&self, situation: &Situation, run: usize) -> &Next {
        self.programs.next(situation.places[run])
    }

    fn works(&self, situation: &Situation, run: usize) -> bool {
        !matches!(self.next(situation, run), Next::End(_))
    }

    /// The call that this actor waits for, if it waits for one.
    pub fn waiting(&self, situation: &Situation, run: usize) -> Option<Rc<PendingCall>> {
        match self.next(situation, run) {
            Next::PendingCall(call) => Some(Rc::clone(call)),
            _ => None,
        }
    }

    /// How this actor's work ended, if it did.
    pub fn result(&self, situation: &Situation, run: usize) -> Option<Rc<Ended>> {
        match self.next(situation, run) {
            Next::End(ended) => Some(Rc::clone(ended)),
            _ => None,
        }
    }

    /// How many calls this actor made in its last try.
    pub fn calls(&self, situation: &Situation, run: usize) -> usize {
        self.programs.calls(situation.places[run])
    }

    /// What can happen next. Nothing: it is over.
    ///
    /// Reduced, a call that nobody else can notice happens at once, before any other run goes on; but it may
    /// fail there, and its run may be killed before it, as at every other call.
    pub fn choices(&self, situation: &Situation) -> Vec<Choice> {
        let mut choices = Vec::new();
        let actors = self.programs.actors().len();
        // The one that went on last comes first: so the first schedule is the one without preemption.
        let rest = (0..actors).filter(|run| Some(*run) != situation.last);
        for run in situation.last.into_iter().chain(rest) {
            let call = match self.next(situation, run) {
                Next::End(_) => continue,
                // A pause disturbs nobody.
                Next::Pause if self.limits.reduced => return vec![Choice::Wake(run)],
                Next::Pause => {
                    choices.push(Choice::Wake(run));
                    continue;
                }
                Next::PendingCall(call) => call,
            };
            if self.limits.reduced && call.kind.is_private() {
                choices.clear();
                self.add_calls(situation, run, call, &mut choices);
                return choices;
            }
            let is_spent = self.limits.preemptions.is_some_and(|most| situation.preemptions >= most);
            if is_spent && self.preempts(situation, run) {
                continue;
            }
            self.add_calls(situation, run, call, &mut choices);
        }
        choices.extend((0..situation.ghosts.len()).map(Choice::Happens));
        choices
    }

    fn add_calls(&self, situation: &Situation, run: usize, call: &PendingCall, choices: &mut Vec<Choice>) {
        let left = situation.left;
        choices.push(Choice::Call(run, Fate::Good));
        if let CallKind::List(list) = &call.kind
            && left.stale > 0
        {
            let longest = situation.outside.longest_lag(list);
            choices.extend((1..=longest).map(|lag| Choice::Call(run, Fate::Stale(lag))));
        }
        if !matches!(self.programs.actors()[run], Actor::Run(_)) {
            return;
        }
        if left.faults > 0 {
            choices.push(Choice::Call(run, Fate::FailsBefore));
            if !call.kind.is_read() {
                choices.push(Choice::Call(run, Fate::AnswerLost));
            }
            if call.kind == CallKind::Write {
                choices.push(Choice::Call(run, Fate::Late));
            }
        }
        if left.kills > 0 {
            choices.push(Choice::Kill(run));
        }
    }

    fn preempts(&self, situation: &Situation, run: usize) -> bool {
        situation.last.is_some_and(|last| last != run && self.works(situation, last))
    }

    /// Goes on by one choice.
    pub async fn take(&mut self, situation: &mut Situation, choice: Choice) {
        match choice {
            Choice::Call(run, fate) => {
                self.goes_on(situation, run);
                self.call(situation, run, fate).await;
            }
            Choice::Wake(run) => {
                let place = self.programs.awake(situation.places[run]).await;
                self.arrive(situation, run, place).await;
            }
            Choice::Kill(run) => {
                self.goes_on(situation, run);
                self.note(|| format!("  {run} is killed"));
                situation.left.kills = situation.left.kills.saturating_sub(1);
                situation.injected.kills += 1;
                self.begin_again(situation, run).await;
            }
            Choice::Happens(place) => {
                let call = situation.ghosts.remove(place);
                self.note(|| format!("  late: {}", call.what));
                call.happens(&mut situation.outside, 0);
                self.judge(situation);
            }
        }
    }

    fn goes_on(&self, situation: &mut Situation, run: usize) {
        if self.preempts(situation, run) {
            situation.preemptions = situation.preemptions.saturating_add(1);
        }
        situation.last = Some(run);
    }

    async fn call(&mut self, situation: &mut Situation, run: usize, fate: Fate) {
        let Next::PendingCall(call) = self.next(situation, run) else { panic!("{run} waits for no answer") };
        let call = Rc::clone(call);
        let from = (situation.places[run], situation.fingerprint);
        let is_read = fate == Fate::Good && matches!(call.kind, CallKind::Read | CallKind::List(_));
        if is_read
            && self.trace.is_none()
            && let Some(place) = self.reads.get(&from)
        {
            let place = *place;
            return self.arrive(situation, run, place).await;
        }
        let answer = meet(situation, &call, fate);
        if !call.kind.is_read() {
            self.judge(situation);
        }
        let attempt = self.programs.attempt(situation.places[run]);
        self.note(|| {
            let fate = if fate == Fate::Good { String::new() } else { format!(" [{fate:?}]") };
            format!("  {run}.{attempt}: {}{fate}\n         -> {}", call.what, shortened(&answer.shown))
        });
        let place = self.programs.after(from.0, &call, &answer).await;
        if is_read {
            self.reads.insert(from, place);
        }
        self.arrive(situation, run, place).await;
    }

    /// The actor is somewhere else now, perhaps at its end.
    async fn arrive(&mut self, situation: &mut Situation, run: usize, place: Place) {
        situation.places[run] = place;
        let Next::End(ended) = self.programs.next(place) else { return };
        let ended = Rc::clone(ended);
        let reported = match &*ended {
            Ok(ending) => ending.as_ref().map_or("done".to_owned(), words),
            Err(failure) => format!("failed: {failure}"),
        };
        self.note(|| format!("  {run} ends: {reported}"));
        let missed = self.programs.missed(place);
        if ended.is_ok() && missed.read {
            situation
                .violations
                .push(format!("6 (no guess): run {run} went on after a read had failed: {reported}"));
        }
        if !missed.unseen {
            situation.violations.extend(self.wrongly_shown(situation, run, &ended));
        }
        // Somebody presses "re-run".
        let again = self.programs.attempt(place) <= situation.injected.all();
        if !is_whole(&ended) && situation.injected.hurts() && again {
            self.begin_again(situation, run).await;
        }
    }

    /// What GitHub's page shows of a run's deployment is what became of it.
    fn wrongly_shown(&self, situation: &Situation, run: usize, ended: &Ended) -> Option<String> {
        let deployment = ended.as_ref().ok()?.as_ref()?.deployment()?;
        let expected = match &deployment.failure {
            Some(failure) if failure.kind == FailureKind::Unavailable => DeploymentState::Error,
            Some(_) => DeploymentState::Failure,
            None if deployment.deployed() => DeploymentState::Success,
            None => DeploymentState::Inactive,
        };
        let maker = self.programs.maker(run, self.programs.attempt(situation.places[run])) + " ";
        let pages = situation.outside.github.deployments().filter(|page| page.maker.starts_with(&maker));
        let shown: Vec<_> = pages.map(|page| page.state).collect();
        (shown != [Some(expected)])
            .then(|| format!("12 (known): run {run} ended {expected:?}, and GitHub shows {shown:?}"))
    }

    async fn begin_again(&mut self, situation: &mut Situation, run: usize) {
        let attempt = self.programs.attempt(situation.places[run]) + 1;
        situation.places[run] = self.programs.beginning(run, attempt).await;
    }

    /// All that the future depends on, as one number.
    pub fn key(&self, situation: &Situation) -> u64 {
        let mut hasher = DefaultHasher::new();
        situation.places.hash(&mut hasher);
        (situation.fingerprint, situation.left, situation.injected, situation.found_wrong())
            .hash(&mut hasher);
        situation.ghosts.iter().map(|call| &call.what).collect::<Vec<_>>().hash(&mut hasher);
        if self.limits.preemptions.is_some() {
            (situation.preemptions, situation.last).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Does this actor's work again, alone and undisturbed, to its end.
    pub async fn run_alone(&mut self, situation: &mut Situation, run: usize) -> Rc<Ended> {
        situation.left = Budget::default();
        situation.injected = Injected::default();
        self.begin_again(situation, run).await;
        loop {
            match self.next(situation, run) {
                Next::End(ended) => return Rc::clone(ended),
                Next::Pause => self.take(situation, Choice::Wake(run)).await,
                Next::PendingCall(_) => self.take(situation, Choice::Call(run, Fate::Good)).await,
            }
        }
    }
}

/// The call meets its fate; what its maker is told.
fn meet(situation: &mut Situation, call: &Rc<PendingCall>, fate: Fate) -> CallAnswer {
    if matches!(fate, Fate::FailsBefore | Fate::AnswerLost | Fate::Late) {
        situation.left.faults = situation.left.faults.saturating_sub(1);
    }
    match fate {
        Fate::Good => call.happens(&mut situation.outside, 0),
        Fate::Stale(lag) => {
            situation.left.stale = situation.left.stale.saturating_sub(1);
            situation.injected.stale += 1;
            call.happens(&mut situation.outside, lag)
        }
        Fate::FailsBefore => {
            situation.injected.failed_before += 1;
            call.fails("connection refused", Effect::None)
        }
        Fate::AnswerLost => {
            situation.injected.answers_lost += 1;
            call.happens(&mut situation.outside, 0);
            call.fails("the connection was lost", Effect::Unknown)
        }
        Fate::Late => {
            situation.injected.late += 1;
            situation.ghosts.push(Rc::clone(call));
            call.fails("no answer within the deadline", Effect::Unknown)
        }
    }
}

/// Of a long answer its beginning.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 160;
    let cut: String = text.chars().take(LONGEST).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

impl Situation {
    /// How much is wrong so far: who has done wrong and who has not never meet again.
    fn found_wrong(&self) -> usize {
        let repositories = self.outside.repositories.values().map(|repository| repository.violations.len());
        let others = self.outside.github.violations.len() + self.outside.server.violations.len();
        self.violations.len() + others + repositories.sum::<usize>()
    }

    /// What each repository, GitHub and the server found wrong, too.
    pub fn all_violations(&self) -> Vec<String> {
        let repositories = self.outside.repositories.values().flat_map(|repository| &repository.violations);
        let others = self.outside.github.violations.iter().chain(&self.outside.server.violations);
        self.violations.iter().chain(repositories).chain(others).cloned().collect()
    }
}

impl Scenario {
    /// What is there before anybody acts.
    pub async fn start(&self) -> Start {
        let mut outside = Outside::new(IMAGE);
        outside.absent = self.absent;
        let mut commits: Vec<ObjectId> = Vec::new();
        for (number, parents) in self.commits.iter().enumerate() {
            let parents: Vec<ObjectId> = parents.iter().map(|parent| commits[*parent].clone()).collect();
            commits
                .push(Rc::make_mut(&mut outside.github).commit_with(&format!("commit {number}"), &parents));
        }
        Rc::make_mut(&mut outside.github).set_main(commits.last().expect("at least one commit"));
        let mut start = Start { outside, commits, released: 0, releasing: BTreeSet::new() };
        for run in &self.before {
            let mut simulation = Simulation::new(&start, vec![Actor::Run(run.clone())], Limits::default());
            let mut situation = simulation.beginning(&start).await;
            let ended = simulation.run_alone(&mut situation, 0).await;
            assert!(ended.is_ok(), "what came before was released: {ended:?}");
            start.outside = situation.outside;
            start.releasing = simulation.releasing;
            start.released += 1;
        }
        start.outside.settle();
        start
    }
}
