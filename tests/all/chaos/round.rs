//! Some merges, whose runs meet faults and kills, drawn from a seed.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::behind::Behind;
use crate::action::workflow::{Finished, Running};
use testkit::clock::look_again;
use testkit::network::chaos::{Chaos, Dice};
use testkit::torture::tally;

/// What a round does to its runs.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// So many faults at most on each side, for each run.
    pub faults: u32,
    /// Of so many runs, one is killed; 0: none.
    pub kill_one_in: u32,
}

/// One round.
pub struct Round {
    seed: u64,
    random: StdRng,
    behind: Behind,
}

impl Round {
    /// All of it follows from the seed, but for the order in which the requests of runs at the same time come.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let auth = &Behind::logins()[random.random_range(0..3)];
        let mut behind = Behind::new(format!("seed {seed}"), auth);
        for _ in 0..random.random_range(2..5) {
            behind.merge(["patch", "patch", "minor", "major"][random.random_range(0..4)]);
        }
        Self { seed, random, behind }
    }

    /// From the first run to the last check.
    pub fn play(mut self, plan: Plan) {
        self.under_faults(plan);
        self.behind.converge();
        tally("runs", u64::try_from(self.behind.merges()).expect("small"));
    }

    /// Each merge's run once, some twice, in any order, up to three at the same time.
    fn under_faults(&mut self, plan: Plan) {
        let mut order: Vec<usize> = (0..self.behind.merges()).collect();
        order.extend_from_within(..self.random.random_range(0..self.behind.merges()));
        order.shuffle(&mut self.random);
        while !order.is_empty() {
            let wave: Vec<usize> = order.drain(..self.random.random_range(1..=order.len().min(3))).collect();
            let most = plan.faults * u32::try_from(wave.len()).expect("small");
            // What was just written is not listed yet, by up to so many writes.
            self.behind.project.github.lag_lists(self.random.random_range(0..4));
            for chaos in [&self.behind.github, &self.behind.registry] {
                chaos.throw(Dice::new(self.random.random(), most));
            }
            let running: Vec<(usize, Running)> =
                wave.into_iter().map(|place| (place, self.behind.run(place).start())).collect();
            for (place, running) in running {
                let run = if plan.kill_one_in > 0 && self.random.random_ratio(1, plan.kill_one_in) {
                    self.kill(running)
                } else {
                    running.finish()
                };
                tally("runs", 1);
                let (seed, outcome) = (self.seed, run.output("outcome"));
                println!("seed {seed}: merge {place} ended with {:?} {outcome}", run.code);
                self.behind.must_be_true(place, &run);
            }
            let both = [&self.behind.github, &self.behind.registry];
            for (harm, request) in both.into_iter().flat_map(Chaos::take_struck) {
                println!("seed {}: {} at {request}", self.seed, harm.name());
            }
        }
    }

    /// SIGKILL after some more requests of anybody's, if it still runs then.
    fn kill(&mut self, mut running: Running) -> Finished {
        let seen = [self.behind.github.seen(), self.behind.registry.seen()];
        let requests = || seen.iter().map(|seen| *seen.borrow()).sum::<usize>();
        let enough = requests() + self.random.random_range(0..28);
        while requests() < enough && !running.has_ended() {
            look_again();
        }
        let run = running.kill();
        tally("kills: action", u64::from(run.code.is_none()));
        run
    }
}
