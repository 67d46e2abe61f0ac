//! Every sequence of successes, failures, crashes and reboots, against a small world.
//!
//! The world has at most two containers, a proxy that points at one or at none, and a disk. At each step
//! the model tries: success; failure without effect; failure although it had its effect; the receiver killed
//! before the effect and after it; the whole machine gone before and after, coming back with no container,
//! with those that ran, or with all. The graph of all that can be reached is finite and explored whole, so
//! the number of crashes and failures is not bounded; the number of sequences is counted for up to
//! [`FAULTS`] of them.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use super::*;
use crate::receiver::state::Order;
use crate::receiver::testing;

/// Sequences are counted with at most so many failures, crashes and reboots.
const FAULTS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Container {
    Absent,
    Stopped,
    Running,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    disk: State,
    old: Container,
    new: Container,
    /// Where the proxy points.
    proxy: Option<ContainerId>,
    /// Whether the new one was ever committed to.
    committed: bool,
    /// The tests that the new one has passed.
    passed: Passed,
    /// After a reboot the world, not the machine, decides for a while what runs.
    rebooted: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Passed {
    health: bool,
    smoke: bool,
    front_door: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    world: World,
    rollout: Rollout,
}

/// Only what tells most of them apart: the whole of a node is kilobytes, and equality sees to the rest.
impl Hash for Node {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let World { disk, old, new, proxy, committed, passed, rebooted } = &self.world;
        (old, new, proxy, committed, passed, rebooted, disk.history.len()).hash(into);
        (discriminant(&disk.change), self.rollout.cold, self.rollout.notes.len()).hash(into);
        for act in &self.rollout.script {
            (discriminant(&act.step), act.if_fails).hash(into);
        }
    }
}

/// Where an edge comes from; only `Ok` is no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Ok,
    Fault(&'static str),
}

type Tamper = fn(&mut VecDeque<Act>);

struct Scenario {
    order: Order,
    with_old: bool,
    tamper: Tamper,
}

fn id(letter: char) -> ContainerId {
    letter.to_string().repeat(64).parse().expect("64 digits")
}

fn old_id() -> ContainerId {
    id('a')
}

fn new_id() -> ContainerId {
    id('b')
}

fn release(version: &str, order: Order) -> Release {
    Release { order, ..testing::release(version) }
}

impl World {
    fn container(&mut self, id: &ContainerId) -> &mut Container {
        if *id == old_id() { &mut self.old } else { &mut self.new }
    }

    /// Whether the step can succeed: nothing can be done with a container that is not there.
    fn allows(&mut self, step: &Step) -> bool {
        match step {
            Step::Start(it) => *self.container(&it.container) != Container::Absent,
            Step::AwaitHealthy(it) | Step::Smoke(it) | Step::Switch(it) => {
                *self.container(&it.container) == Container::Running
            }
            Step::Verify(it) => self.proxy.as_ref() == Some(&it.container),
            _ => true,
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Save(state) => {
                self.committed |= matches!(state.change, Phase::Unverified { .. });
                self.disk = (**state).clone();
            }
            Step::Create(_) => self.new = Container::Stopped,
            Step::Start(it) => *self.container(&it.container) = Container::Running,
            Step::Hold => self.proxy = None,
            Step::Switch(it) => self.proxy = Some(it.container.clone()),
            Step::Stop(it) => {
                let container = self.container(&it.container);
                if *container == Container::Running {
                    *container = Container::Stopped;
                }
            }
            Step::Remove(it) => *self.container(&it.container) = Container::Absent,
            Step::Discard(_) => self.new = Container::Absent,
            Step::Pull(_)
            | Step::AwaitHealthy(_)
            | Step::Smoke(_)
            | Step::Verify(_)
            | Step::Drain(_)
            | Step::Explain(_)
            | Step::Prune
            | Step::End(_) => {}
        }
    }

    /// What a step that was told to have succeeded has shown.
    fn pass(&mut self, step: &Step) {
        match step {
            Step::AwaitHealthy(it) if it.container == new_id() => self.passed.health = true,
            Step::Smoke(it) if it.container == new_id() => self.passed.smoke = true,
            Step::Verify(it) if it.container == new_id() => self.passed.front_door = true,
            _ => {}
        }
    }

    fn reboot(&self, which: &str) -> Self {
        let mut world = Self { proxy: None, rebooted: true, ..self.clone() };
        for container in [&mut world.old, &mut world.new] {
            *container = match (*container, which) {
                (Container::Absent, _) => Container::Absent,
                (_, "reboot, none runs") => Container::Stopped,
                (_, "reboot, all run") => Container::Running,
                (as_before, _) => as_before,
            };
        }
        world
    }
}

const REBOOTS: [&str; 3] = ["reboot, none runs", "reboot, as before", "reboot, all run"];

impl Scenario {
    fn first(&self) -> Node {
        let mut disk =
            if self.with_old { testing::steady("1.0.0") } else { State::new("app".parse().unwrap()) };
        if let Phase::Steady { active: Some(old) } = &mut disk.change {
            *old = Instance { container: old_id(), release: release("1.0.0", self.order) };
        }
        let world = World {
            old: if self.with_old { Container::Running } else { Container::Absent },
            new: Container::Absent,
            proxy: self.with_old.then(old_id),
            committed: false,
            passed: Passed::default(),
            rebooted: false,
            disk: disk.clone(),
        };
        let new = release("1.1.0", self.order);
        self.node(world, Rollout::begin(disk, new).expect("steady"))
    }

    fn node(&self, world: World, mut rollout: Rollout) -> Node {
        (self.tamper)(&mut rollout.script);
        Node { world, rollout }
    }

    fn recovered(&self, world: World) -> Node {
        let rollout = Rollout::recover(world.disk.clone());
        self.node(world, rollout)
    }

    /// What can happen next. The first edge is what happens when nothing goes wrong any more.
    fn edges(&self, node: &Node) -> Vec<(Edge, Node)> {
        let step = node.rollout.step();
        if let Step::End(ending) = &step {
            return match ending.unfinished {
                Some(_) => vec![(Edge::Ok, self.recovered(node.world.clone()))],
                None => Vec::new(),
            };
        }
        let before = node.world.clone();
        let mut after = before.clone();
        after.apply(&step);
        let next = |world: &World, event: Event| self.node(world.clone(), node.rollout.clone().next(event));
        let failed = || Event::Failed("as the model wanted".to_owned());
        let mut edges = Vec::new();
        if before.clone().allows(&step) {
            let done = if matches!(step, Step::Create(_)) { Event::Created(new_id()) } else { Event::Done };
            let mut passed = after.clone();
            passed.pass(&step);
            edges.push((Edge::Ok, next(&passed, done)));
            edges.push((Edge::Fault("failed, without effect"), next(&before, failed())));
            // Where a step changes nothing, after it is as before it.
            if after != before {
                edges.push((Edge::Fault("failed, with its effect"), next(&after, failed())));
                edges.push((Edge::Fault("killed after"), self.recovered(after.clone())));
                edges.extend(REBOOTS.map(|how| (Edge::Fault(how), self.recovered(after.reboot(how)))));
            }
        } else {
            edges.push((Edge::Ok, next(&before, failed())));
        }
        edges.push((Edge::Fault("killed before"), self.recovered(before.clone())));
        edges.extend(REBOOTS.map(|how| (Edge::Fault(how), self.recovered(before.reboot(how)))));
        edges
    }

    /// What must hold at every moment.
    fn check(&self, node: &Node) -> Result<(), String> {
        let World { disk, old, new, proxy, committed, passed, rebooted } = &node.world;
        let ensure = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
        let at_new = *proxy == Some(new_id());
        let target = match proxy {
            Some(_) if at_new => Some(new),
            Some(_) => Some(old),
            None => None,
        };
        ensure(target.is_none_or(|it| *it == Container::Running), "traffic goes to a container that runs")?;
        ensure(!at_new || *committed, "traffic goes to the new one only after the commit is durable")?;
        ensure(!committed || (passed.health && passed.smoke), "only what passed its tests is committed to")?;
        let proven = match &disk.change {
            Phase::Leaving { turned_back, .. } => !turned_back,
            Phase::Steady { active } => active.as_ref().is_some_and(|it| it.container == new_id()),
            Phase::Pending { .. } | Phase::Unverified { .. } => false,
        };
        ensure(!proven || passed.front_door, "only what was seen through the front door stays")?;
        if self.with_old && !proven {
            ensure(*old != Container::Absent, "the old one is kept until the new one is proven")?;
        }
        if self.with_old && !rebooted {
            match self.order {
                Order::StartFirst => {
                    ensure(proven || *old == Container::Running, "start-first: the old one runs on")?;
                    ensure(proxy.is_some(), "start-first: no request waits")?;
                }
                Order::StopFirst => ensure(
                    !(*old == Container::Running && *new == Container::Running),
                    "stop-first: never both run",
                )?,
            }
        }
        match node.rollout.step() {
            Step::End(Ending { unfinished: None, verdict, .. }) => self.check_rest(&node.world, &verdict),
            _ => Ok(()),
        }
    }

    /// What must hold when all is over.
    fn check_rest(&self, world: &World, verdict: &Verdict) -> Result<(), String> {
        let ensure = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
        let Phase::Steady { active } = &world.disk.change else {
            return Err("at rest the state is steady".to_owned());
        };
        let serving = active.as_ref().map(|active| active.container.clone());
        ensure(world.proxy == serving, "at rest the traffic is at what serves")?;
        let is = |id: ContainerId| if serving == Some(id) { Container::Running } else { Container::Absent };
        ensure(world.old == is(old_id()), "at rest the old one runs, or is gone")?;
        ensure(world.new == is(new_id()), "at rest the new one runs, or is gone")?;
        ensure(serving.is_some() || !self.with_old, "at rest something serves")?;
        let records =
            |failed: bool| world.disk.history.iter().filter(|it| it.failure.is_some() == failed).count();
        let new = release("1.1.0", self.order).version;
        let was_switched = world.disk.highest.as_ref() == Some(&new);
        let is_bad = was_switched && serving != Some(new_id());
        ensure(
            world.disk.bad.keys().eq(is_bad.then_some(&new)),
            "bad is what was switched to and does not serve, and nothing else",
        )?;
        match verdict {
            Verdict::Serves(it) => {
                ensure(
                    active.as_ref().map(|active| &active.release) == Some(it),
                    "the verdict tells the truth",
                )?;
                ensure(world.disk.highest.as_ref() == Some(&it.version), "what serves is the highest")
            }
            Verdict::Failed(it, _) => {
                ensure(
                    active.as_ref().map(|active| &active.release) != Some(it),
                    "the verdict tells the truth",
                )?;
                ensure(records(true) == 1, "a failure is remembered once")
            }
            Verdict::Settled => ensure(
                world.disk.history.len() == usize::from(self.with_old) + records(true)
                    || serving == Some(new_id()),
                "what is settled was remembered",
            ),
        }
    }

    fn explore(&self) -> Result<Explored, String> {
        let mut graph = Graph::default();
        graph.add(self.first(), None);
        let mut at = 0;
        while at < graph.nodes.len() {
            let node = graph.nodes[at].clone();
            self.check(&node).map_err(|rule| graph.story(at, &rule))?;
            for (edge, next) in self.edges(&node) {
                let to = graph.add(next, Some((at, edge)));
                graph.edges[at].push((edge, to));
            }
            at += 1;
        }
        for from in 0..graph.nodes.len() {
            graph.converges(from).map_err(|rule| graph.story(from, &rule))?;
        }
        Ok(graph.explored())
    }
}

#[derive(Default)]
struct Graph {
    index: HashMap<Node, usize>,
    nodes: Vec<Node>,
    edges: Vec<Vec<(Edge, usize)>>,
    /// How each node was first reached.
    from: Vec<Option<(usize, Edge)>>,
}

#[derive(Debug)]
struct Explored {
    nodes: usize,
    edges: usize,
    sequences: u128,
}

impl Graph {
    fn add(&mut self, node: Node, from: Option<(usize, Edge)>) -> usize {
        if let Some(known) = self.index.get(&node) {
            return *known;
        }
        self.index.insert(node.clone(), self.nodes.len());
        self.nodes.push(node);
        self.edges.push(Vec::new());
        self.from.push(from);
        self.nodes.len() - 1
    }

    /// When nothing goes wrong any more, it comes to rest.
    fn converges(&self, from: usize) -> Result<(), String> {
        let mut at = from;
        for _ in 0..100 {
            match self.edges[at].first() {
                None => return Ok(()),
                Some((_, next)) => at = *next,
            }
        }
        Err("it does not come to rest".to_owned())
    }

    fn explored(&self) -> Explored {
        let mut known = vec![[None; FAULTS + 1]; self.nodes.len()];
        Explored {
            nodes: self.nodes.len(),
            edges: self.edges.iter().map(Vec::len).sum(),
            sequences: self.sequences(0, FAULTS, &mut known),
        }
    }

    fn sequences(&self, at: usize, faults: usize, known: &mut [[Option<u128>; FAULTS + 1]]) -> u128 {
        if let Some(count) = known[at][faults] {
            return count;
        }
        let count = match self.edges[at].as_slice() {
            [] => 1,
            edges => edges
                .iter()
                .map(|(edge, next)| match edge {
                    Edge::Ok => self.sequences(*next, faults, known),
                    Edge::Fault(_) if faults > 0 => self.sequences(*next, faults - 1, known),
                    Edge::Fault(_) => 0,
                })
                .sum(),
        };
        known[at][faults] = Some(count);
        count
    }

    /// How it came to what broke the rule: one of the shortest ways.
    fn story(&self, at: usize, rule: &str) -> String {
        let mut lines = Vec::new();
        let mut here = at;
        while let Some((before, edge)) = self.from[here] {
            let step = self.nodes[before].rollout.step();
            let what = step.milestone().map_or("end".to_owned(), |step| format!("{step:?}"));
            lines.push(format!("{what}: {edge:?}"));
            here = before;
        }
        lines.reverse();
        let world = &self.nodes[at].world;
        format!(
            "broken: {rule}\n{}\nold {:?}, new {:?}, proxy {:?}, disk {:?}",
            lines.join("\n"),
            world.old,
            world.new,
            world.proxy.as_ref().map(ContainerId::short),
            world.disk.change
        )
    }
}

const ORDERS: [Order; 2] = [Order::StartFirst, Order::StopFirst];

#[test]
fn whatever_happens_one_container_serves_and_it_is_the_right_one() {
    for order in ORDERS {
        for with_old in [true, false] {
            let explored = Scenario { order, with_old, tamper: |_| {} }
                .explore()
                .unwrap_or_else(|story| panic!("{order:?}, with old: {with_old}: {story}"));
            println!(
                "{order:?}, {}: {} situations, {} transitions, any number of faults; {} sequences with up to {FAULTS}",
                if with_old { "over an old one" } else { "the first one" },
                explored.nodes,
                explored.edges,
                explored.sequences,
            );
            assert!(explored.sequences > 100_000, "{explored:?}");
        }
    }
}

fn is_commit(act: &Act) -> bool {
    matches!(&act.step, Step::Save(state) if matches!(state.change, Phase::Unverified { .. }))
}

fn of_old(act: &Act) -> bool {
    matches!(&act.step, Step::Switch(it) | Step::Start(it) if it.container == old_id())
}

/// A model that accepts everything proves nothing: each of these machines is broken, and found out.
#[test]
fn broken_machines_are_found_out() {
    let stop_before_commit: Tamper = |script| {
        if script.front().is_some_and(is_commit) {
            let stops = script.iter().position(|act| matches!(act.step, Step::Stop(_)));
            if let Some(stop) = stops.and_then(|at| script.remove(at)) {
                script.push_front(stop);
            }
        }
    };
    let commit_not_saved: Tamper = |script| script.retain(|act| !is_commit(act));
    let switch_before_commit: Tamper = |script| {
        if script.front().is_some_and(is_commit) {
            script.swap(0, 1);
        }
    };
    let failed_verification_ignored: Tamper = |script| {
        for act in script.iter_mut().filter(|act| matches!(act.step, Step::Verify(_))) {
            act.if_fails = IfFails::Note;
        }
    };
    let never_switched_back: Tamper =
        |script| script.retain(|act| !(of_old(act) && matches!(act.step, Step::Switch(_))));
    let old_not_restarted: Tamper =
        |script| script.retain(|act| !(of_old(act) && matches!(act.step, Step::Start(_))));
    let leftover_kept: Tamper = |script| script.retain(|act| !matches!(act.step, Step::Discard(_)));
    let old_kept: Tamper = |script| script.retain(|act| !matches!(act.step, Step::Remove(_)));
    let stop_without_hold: Tamper = |script| script.retain(|act| act.step != Step::Hold);
    let failed_stop_ignored: Tamper = |script| {
        for act in script.iter_mut().filter(|act| matches!(act.step, Step::Stop(_))) {
            act.if_fails = IfFails::Note;
        }
    };
    let failed_switch_back_ignored: Tamper = |script| {
        for act in script.iter_mut().filter(|act| of_old(act)) {
            act.if_fails = IfFails::Note;
        }
    };
    let cases: [(&str, Tamper, Order, &str); 11] = [
        (
            "stops the old one before the commit",
            stop_before_commit,
            Order::StartFirst,
            "traffic goes to a container that runs",
        ),
        ("does not save the commit", commit_not_saved, Order::StartFirst, "only after the commit is durable"),
        (
            "switches before the commit",
            switch_before_commit,
            Order::StartFirst,
            "only after the commit is durable",
        ),
        ("ignores a failed verification", failed_verification_ignored, Order::StartFirst, "front door"),
        ("does not switch back", never_switched_back, Order::StartFirst, "traffic"),
        ("does not start the old one again", old_not_restarted, Order::StopFirst, "rest"),
        ("does not remove what failed", leftover_kept, Order::StartFirst, "the new one runs, or is gone"),
        ("does not remove the old one", old_kept, Order::StartFirst, "the old one runs, or is gone"),
        (
            "stops the old one under its traffic",
            stop_without_hold,
            Order::StopFirst,
            "traffic goes to a container that runs",
        ),
        (
            "starts the new one though the old one runs",
            failed_stop_ignored,
            Order::StopFirst,
            "never both run",
        ),
        (
            "stops the new one though the proxy may still point at it",
            failed_switch_back_ignored,
            Order::StartFirst,
            "traffic",
        ),
    ];
    for (what, tamper, order, rule) in cases {
        match (Scenario { order, with_old: true, tamper }).explore() {
            Ok(explored) => panic!("a machine that {what} passed: {explored:?}"),
            Err(story) => {
                assert!(story.lines().next().is_some_and(|first| first.contains(rule)), "{what}: {story}");
            }
        }
    }
}
