//! All schedules of a scenario, or some that are drawn by chance.
//!
//! Schedules that lead to the same situation have the same future: what the world is, and what each run has
//! seen so far, decide everything. So each situation is gone on from once, and the number of schedules that
//! leads through it is counted, not walked. Nothing is left out by this.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::choice::{Budget, Choice, Fate, Limits};
use super::scenario::{Scenario, Start};
use super::schedule::{Simulation, Situation};
use super::verdict;

/// What was gone through.
#[derive(Debug, Default)]
pub struct Explored {
    /// Different situations.
    pub situations: u64,
    /// Schedules that lead through them.
    pub schedules: u128,
    /// The longest one, in choices.
    pub longest: usize,
    /// Calls of each actor: fewest and most.
    pub effects: Vec<(usize, usize)>,
    /// How they ended, and how many different last situations ended so.
    pub outcomes: BTreeMap<String, u64>,
    /// Faults, kills, lists that lagged: in how many last situations.
    pub injected: BTreeMap<&'static str, u64>,
}

impl std::fmt::Display for Explored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let effects: Vec<String> =
            self.effects.iter().map(|(least, most)| format!("{least}-{most}")).collect();
        writeln!(
            f,
            "{} schedules through {} situations, at most {} steps; calls of each: {}",
            self.schedules,
            self.situations,
            self.longest,
            effects.join(", ")
        )?;
        for (outcome, count) in &self.outcomes {
            writeln!(f, "    {count:7} x {outcome}")?;
        }
        Ok(())
    }
}

struct Frame {
    situation: Situation,
    key: u64,
    choices: Vec<Choice>,
    next: usize,
    schedules: u128,
}

/// Goes through every schedule within the limits. Panics at the first violation, with its story.
pub fn all(scenario: &Scenario, limits: Limits) -> Explored {
    runtime().block_on(all_of(scenario, limits))
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
}

async fn all_of(scenario: &Scenario, limits: Limits) -> Explored {
    let start = scenario.start().await;
    let mut simulation = Simulation::new(&start, scenario.actors.clone(), limits);
    let mut explored = Explored::of(scenario);
    // How many schedules lead on from a situation that is done with. None leads back to itself: each choice
    // adds to what a run has been told.
    let mut done: HashMap<u64, u128> = HashMap::new();
    let first = simulation.beginning(&start).await;
    let mut frames = vec![frame(&simulation, first)];
    while let Some(top) = frames.last_mut() {
        if let Some(choice) = top.choices.get(top.next).copied() {
            top.next += 1;
            let mut situation = top.situation.clone();
            simulation.take(&mut situation, choice).await;
            let new = frame(&simulation, situation);
            match done.get(&new.key) {
                Some(schedules) => top.schedules = top.schedules.saturating_add(*schedules),
                None => frames.push(new),
            }
            continue;
        }
        explored.longest = explored.longest.max(frames.len() - 1);
        let Some(mut over) = frames.pop() else { break };
        explored.situations += 1;
        if over.choices.is_empty() {
            over.schedules = 1;
            explored.note_end(&simulation, &over.situation);
            let path: Vec<Choice> = frames.iter().map(|frame| frame.choices[frame.next - 1]).collect();
            check(scenario, &start, &mut simulation, over.situation, &path).await;
        }
        done.insert(over.key, over.schedules);
        match frames.last_mut() {
            Some(below) => below.schedules = below.schedules.saturating_add(over.schedules),
            None => explored.schedules = over.schedules,
        }
    }
    explored
}

fn frame(simulation: &Simulation, situation: Situation) -> Frame {
    let (key, choices) = (simulation.key(&situation), simulation.choices(&situation));
    Frame { situation, key, choices, next: 0, schedules: 0 }
}

impl Explored {
    fn of(scenario: &Scenario) -> Self {
        Self { effects: vec![(usize::MAX, 0); scenario.actors.len()], ..Self::default() }
    }

    fn note_end(&mut self, simulation: &Simulation, situation: &Situation) {
        for (run, (least, most)) in self.effects.iter_mut().enumerate() {
            *least = (*least).min(simulation.calls(situation, run));
            *most = (*most).max(simulation.calls(situation, run));
        }
        *self.outcomes.entry(verdict::outcome(simulation, situation)).or_default() += 1;
        for (what, count) in situation.injected.named() {
            *self.injected.entry(what).or_default() += u64::from(count);
        }
    }
}

/// Judges what is over; a violation is shown with its whole story.
async fn check(
    scenario: &Scenario,
    start: &Start,
    simulation: &mut Simulation,
    mut situation: Situation,
    path: &[Choice],
) {
    let undisturbed = !situation.injected.hurts();
    let wrong = verdict::judge(simulation, &mut situation, undisturbed).await;
    if wrong.is_empty() {
        return;
    }
    let story = trace(scenario, start, path).await;
    let schedule: Vec<String> = path.iter().map(ToString::to_string).collect();
    panic!(
        "{story}\nTo see it again:\n    {SCHEDULE}='{}: {}' cargo test --test all simulation::a_schedule_is_replayed -- --nocapture",
        scenario.name,
        schedule.join(" ")
    );
}

/// Names a scenario and the choices to be followed: `NAME: 0 1 1 0f`.
pub const SCHEDULE: &str = "AUTOTAG_DEPLOY_SCHEDULE";

/// Follows a schedule, and tells what happens.
pub fn replay(scenario: &Scenario, path: &[Choice]) -> String {
    runtime().block_on(async {
        let start = scenario.start().await;
        trace(scenario, &start, path).await
    })
}

/// What one actor calls, alone and undisturbed: a line for each call, by its kind, without names of objects.
pub fn steps(scenario: &Scenario, run: usize) -> String {
    runtime().block_on(async {
        let start = scenario.start().await;
        let mut simulation = Simulation::new(&start, scenario.actors.clone(), Limits::default());
        let mut situation = simulation.beginning(&start).await;
        let mut steps = String::new();
        while let Some(call) = simulation.waiting(&situation, run) {
            let kind = format!("{:?}", call.kind);
            let kind = kind.split('(').next().unwrap_or_default();
            let words = call.what.split(['-', ' ', '.', ',']).filter(|word| word.len() == 12);
            let hashes = words.filter(|word| word.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let what = hashes.fold(call.what.clone(), |what, hash| what.replace(hash, "*"));
            let _ = writeln!(steps, "{kind:<6} {what}");
            simulation.take(&mut situation, Choice::Call(run, Fate::Good)).await;
        }
        steps
    })
}

async fn trace(scenario: &Scenario, start: &Start, path: &[Choice]) -> String {
    let budget = Budget { faults: u8::MAX, kills: u8::MAX, stale: u8::MAX };
    let mut simulation =
        Simulation::new(start, scenario.actors.clone(), Limits { budget, ..Limits::default() });
    simulation.trace = Some(Vec::new());
    let mut situation = simulation.beginning(start).await;
    for choice in path {
        simulation.take(&mut situation, *choice).await;
    }
    let mut story = format!("{} ({}):\n{}", scenario.name, scenario.about, simulation.story());
    let undisturbed = !situation.injected.hurts();
    let wrong = verdict::judge(&mut simulation, &mut situation, undisturbed).await;
    let _ = write!(story, "Then every job is run again:\n{}", simulation.story());
    for fault in wrong {
        let _ = writeln!(story, "WRONG: {fault}");
    }
    story
}

/// How a schedule is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Chance {
    /// The most that is done to the runs.
    pub budget: Budget,
    /// Of a hundred calls so many meet a fault, at most.
    pub faults: u32,
}

/// Some schedules by their seeds. Panics at a violation, with its story.
pub fn by_chance(scenario: &Scenario, chance: Chance, seeds: impl Iterator<Item = u64>) -> Explored {
    runtime().block_on(async {
        let start = scenario.start().await;
        let limits = Limits { budget: chance.budget, preemptions: None, reduced: true };
        let mut simulation = Simulation::new(&start, scenario.actors.clone(), limits);
        let mut explored = Explored::of(scenario);
        for seed in seeds {
            // What is known of the programs is kept from one schedule to the next, but not for ever.
            if simulation.programs.len() > MOST_PLACES {
                simulation = Simulation::new(&start, scenario.actors.clone(), limits);
            }
            one_by_chance(scenario, &start, &mut simulation, (chance, seed), &mut explored).await;
        }
        explored
    })
}

/// Places in programs that are kept, at some kilobytes each.
const MOST_PLACES: usize = 100_000;

async fn one_by_chance(
    scenario: &Scenario,
    start: &Start,
    simulation: &mut Simulation,
    (chance, seed): (Chance, u64),
    explored: &mut Explored,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut situation = simulation.beginning(start).await;
    // Some schedules change over at every call, others let each run go far.
    let stays = [0.0, 0.5, 0.8, 0.95][random.random_range(0..4)];
    let faults = f64::from(random.random_range(0..=chance.faults)) / 100.0;
    let mut path = Vec::new();
    while let Some(choice) = draw(&simulation.choices(&situation), &mut random, stays, faults) {
        path.push(choice);
        simulation.take(&mut situation, choice).await;
    }
    explored.longest = explored.longest.max(path.len());
    explored.schedules += 1;
    explored.note_end(simulation, &situation);
    check(scenario, start, simulation, situation, &path).await;
}

fn draw(choices: &[Choice], random: &mut StdRng, stays: f64, faults: f64) -> Option<Choice> {
    let (calm, rough): (Vec<Choice>, Vec<Choice>) =
        choices.iter().partition(|choice| matches!(choice, Choice::Call(_, Fate::Good) | Choice::Wake(_)));
    if calm.is_empty() || (!rough.is_empty() && random.random_bool(faults)) {
        // Effects that are late have to come at last.
        return (!rough.is_empty()).then(|| rough[random.random_range(0..rough.len())]);
    }
    if random.random_bool(stays) {
        // The first one is of the run that went on last.
        return calm.first().copied();
    }
    Some(calm[random.random_range(0..calm.len())])
}
