//! Every sequence of successes, failures, crashes and reboots, against a small world.
//!
//! The world has at most two containers, a proxy that points at one or at none, and a disk. At each step
//! the model tries: success; failure without effect; failure although it had its effect; the receiver killed
//! before the effect and after it; the whole machine gone before and after, coming back with no container,
//! with those that ran, or with all; a container that ends by itself and does not stay up any more; a container
//! that somebody removes, and that can be made again or cannot. The graph
//! of all that can be reached is finite and explored whole, so the number of crashes and failures is not
//! bounded; the number of sequences is counted for up to [`graph::FAULTS`] of them.
//!
//! From each end, tidy or not, a third version that works is rolled out, and has to come to serve.

mod graph;
mod host;

use std::collections::HashSet;

use super::*;
use crate::config::app_file::Order;
use crate::state::Record;
use crate::testing;
use graph::{Edge, Explored, FAULTS, Graph, GraphNode};
use host::{
    ModelContainer, ModelHost, NEXT, Passed, REBOOTS, check_alone, failed, id_for, is_new, is_old, new_id,
    next_id, old_id, release,
};

type Tamper = fn(&mut VecDeque<PlannedStep>);

struct Scenario {
    order: Order,
    with_old: bool,
    tamper: Tamper,
}

impl Scenario {
    fn first(&self) -> GraphNode {
        let mut disk =
            if self.with_old { testing::steady("1.0.0") } else { State::new("app".parse().unwrap()) };
        if let Phase::Steady { active: Some(old) } = &mut disk.change {
            *old = Instance { container: old_id(), release: release("1.0.0", self.order) };
        }
        let host = ModelHost {
            old: if self.with_old { ModelContainer::Running } else { ModelContainer::Absent },
            new: ModelContainer::Absent,
            next: ModelContainer::Absent,
            ids: [old_id(), new_id()],
            proxy: self.with_old.then(old_id),
            committed: false,
            passed: Passed::default(),
            rebooted: false,
            removed: false,
            awaited: false,
            disk: disk.clone(),
        };
        let new = release("1.1.0", self.order);
        self.node(host, Rollout::begin(disk, new).expect("steady"))
    }

    fn node(&self, host: ModelHost, mut rollout: Rollout) -> GraphNode {
        (self.tamper)(&mut rollout.script);
        // They are told, and decide nothing.
        rollout.notes.clear();
        GraphNode { host, rollout }
    }

    fn recovered(&self, host: ModelHost) -> GraphNode {
        let rollout = Rollout::recover(host.disk.clone());
        self.node(host, rollout)
    }

    fn awaited(&self, host: ModelHost) -> GraphNode {
        let rollout = Rollout::recover_for_new_deploy(host.disk.clone());
        self.node(ModelHost { awaited: true, ..host }, rollout)
    }

    /// What can happen next. The first edge is what happens when nothing goes wrong any more.
    fn edges(&self, node: &GraphNode) -> Vec<(Edge, GraphNode)> {
        let step = node.rollout.step();
        if let RolloutAction::End(ending) = &step {
            return match ending.unfinished {
                Some(_) => vec![
                    (Edge::Ok, self.recovered(node.host.clone())),
                    (Edge::Fault("another deployment comes"), self.awaited(node.host.clone())),
                ],
                // `serve` hears of it from Docker.
                None if node.host.serves_nothing() => vec![(Edge::Ok, self.recovered(node.host.clone()))],
                None => Vec::new(),
            };
        }
        let before = node.host.clone();
        let mut after = before.clone();
        after.apply(&step);
        let next =
            |host: &ModelHost, event: StepResult| self.node(host.clone(), node.rollout.clone().next(event));
        let mut edges = vec![(Edge::Ok, self.goes_well(node))];
        if before.clone().allows(&step) {
            edges.push((Edge::Fault("failed, without effect"), next(&before, failed())));
            // Where a step changes nothing, after it is as before it.
            if after != before {
                edges.push((Edge::Fault("failed, with its effect"), next(&after, failed())));
                edges.push((Edge::Fault("killed after"), self.recovered(after.clone())));
                edges.extend(REBOOTS.map(|how| (Edge::Fault(how), self.recovered(after.reboot(how)))));
            }
        }
        edges.push((Edge::Fault("killed before"), self.recovered(before.clone())));
        edges.extend(REBOOTS.map(|how| (Edge::Fault(how), self.recovered(before.reboot(how)))));
        for (what, broken) in before.breaks() {
            edges.push((Edge::Fault(what), GraphNode { host: broken, rollout: node.rollout.clone() }));
        }
        edges
    }

    /// The step at hand is done, where it can be done at all.
    fn goes_well(&self, node: &GraphNode) -> GraphNode {
        let (step, mut host) = (node.rollout.step(), node.host.clone());
        let event = if host.allows(&step) {
            host.apply(&step);
            host.pass(&step);
            match &step {
                RolloutAction::Create(release) => StepResult::Created(id_for(release)),
                RolloutAction::Remake(it) if host.current(&it.container) != it.container => {
                    StepResult::Created(host.current(&it.container))
                }
                _ => StepResult::Done,
            }
        } else {
            failed()
        };
        self.node(host, node.rollout.clone().next(event))
    }

    /// A version that works is deployed, as [`crate::serve`] does it: first what is not finished is
    /// recovered. Nothing else goes wrong any more; but what does not stay up still does not.
    fn can_be_left(&self, host: &ModelHost) -> Result<(), String> {
        let mut host = host.clone();
        let through = |mut node: GraphNode| {
            while !matches!(node.rollout.step(), RolloutAction::End(_)) {
                node = self.goes_well(&node);
            }
            node
        };
        if !matches!(host.disk.change, Phase::Steady { .. }) {
            host = through(self.awaited(host)).host;
        }
        let good = release(NEXT, self.order);
        let begun = Rollout::begin(host.disk.clone(), good.clone());
        let begun = begun.map_err(|_| "a later deployment is not refused for ever".to_owned())?;
        let GraphNode { host, rollout } = through(self.node(host, begun));
        let serves = Instance { container: next_id(), release: good.clone() };
        let one = (host.old, host.new, host.next);
        if matches!(rollout.step(), RolloutAction::End(Ending { verdict: Verdict::Serves(it), unfinished: None, .. }) if it == good)
            && host.disk.change == (Phase::Steady { active: Some(serves) })
            && one == (ModelContainer::Absent, ModelContainer::Absent, ModelContainer::Running)
            && host.proxy == Some(next_id())
        {
            return Ok(());
        }
        Err(format!("a later deployment that works comes to serve, alone: {:?} {one:?}", rollout.step()))
    }

    /// What must hold at every moment.
    fn check(&self, node: &GraphNode) -> Result<(), String> {
        let ModelHost {
            disk,
            old,
            new,
            next: _,
            ids: _,
            proxy,
            committed,
            passed,
            rebooted,
            removed,
            awaited,
        } = &node.host;
        let ensure = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
        let at_new = proxy.as_ref().is_some_and(is_new);
        let target = match proxy {
            Some(_) if at_new => Some(new),
            Some(_) => Some(old),
            None => None,
        };
        // One that ends by itself takes the traffic along; that is for `proxy_client` to see.
        let runs = |it: &ModelContainer| matches!(it, ModelContainer::Running | ModelContainer::Broken);
        ensure(target.is_none_or(runs), "traffic goes to a container that runs")?;
        ensure(!at_new || *committed, "traffic goes to the new one only after the commit is durable")?;
        ensure(!committed || (passed.health && passed.smoke), "only what passed its tests is committed to")?;
        let proven = match &disk.change {
            Phase::Leaving { turned_back, .. } => !turned_back,
            Phase::Steady { active } => active.as_ref().is_some_and(|it| is_new(&it.container)),
            Phase::Pending { .. } | Phase::Unverified { .. } => false,
        };
        ensure(!proven || passed.through_proxy, "only what was seen through the proxy stays")?;
        if self.with_old && !proven {
            ensure(*removed || old.is_there(), "the old one is kept until the new one is proven")?;
        }
        if self.with_old && !rebooted {
            match self.order {
                Order::StartFirst if *removed => {}
                Order::StartFirst => {
                    ensure(proven || runs(old), "start-first: the old one runs on")?;
                    ensure(proxy.is_some() || *awaited, "start-first: no request waits")?;
                }
                Order::StopFirst => ensure(
                    !(*old == ModelContainer::Running && *new == ModelContainer::Running),
                    "stop-first: never both run",
                )?,
            }
        }
        match node.rollout.step() {
            RolloutAction::End(Ending { unfinished: None, .. }) if node.host.serves_nothing() => {
                check_alone(&node.host, false)?;
            }
            RolloutAction::End(Ending { unfinished: None, verdict, .. }) => {
                self.check_rest(&node.host, &verdict)?;
            }
            RolloutAction::End(_) if matches!(disk.change, Phase::Steady { .. }) => {
                check_alone(&node.host, false)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What must hold when all is over.
    fn check_rest(&self, host: &ModelHost, verdict: &Verdict) -> Result<(), String> {
        let ensure = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
        let Phase::Steady { active } = &host.disk.change else {
            return Err("at rest the state is steady".to_owned());
        };
        let serving = active.as_ref().map(|active| active.container.clone());
        ensure(host.proxy == serving, "at rest the traffic is at what serves")?;
        check_alone(host, true)?;
        ensure(serving.is_some() || !self.with_old, "at rest something serves")?;
        let records =
            |failed: bool| host.disk.history.iter().filter(|it| it.failure.is_some() == failed).count();
        let new = release("1.1.0", self.order).version;
        let was_switched = host.disk.highest.as_ref() == Some(&new);
        let at_new = serving.as_ref().is_some_and(is_new);
        let is_blocked = was_switched && !at_new;
        ensure(
            host.disk.blocked.keys().eq(is_blocked.then_some(&new)),
            "bad is what was switched to and does not serve, and nothing else",
        )?;
        match verdict {
            Verdict::Serves(it) => {
                ensure(
                    active.as_ref().map(|active| &active.release) == Some(it),
                    "the verdict tells the truth",
                )?;
                ensure(host.disk.highest.as_ref() == Some(&it.version), "what serves is the highest")
            }
            Verdict::Failed(it, _) => {
                ensure(
                    active.as_ref().map(|active| &active.release) != Some(it),
                    "the verdict tells the truth",
                )?;
                ensure(records(true) == 1, "a failure is remembered once")
            }
            Verdict::Settled => ensure(
                host.disk.history.len() == usize::from(self.with_old) + records(true) || at_new,
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
        let mut left = HashSet::new();
        for from in 0..graph.nodes.len() {
            graph.converges(from).map_err(|rule| graph.story(from, &rule))?;
            let node = &graph.nodes[from];
            if matches!(node.rollout.step(), RolloutAction::End(_)) && left.insert(node.host.bare()) {
                self.can_be_left(&node.host).map_err(|rule| graph.story(from, &rule))?;
            }
        }
        Ok(graph.explored())
    }
}

const ORDERS: [Order; 2] = [Order::StartFirst, Order::StopFirst];

// invariant recovery: What does not stay up keeps no later version out; broken by:
//   `crates/receiver/src/policy/rollout/script.rs`: in `abandon` the old one that does not start is a halt
#[test]
fn every_sequence_ends_with_exactly_the_right_container_serving() {
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

fn is_commit(act: &PlannedStep) -> bool {
    matches!(&act.step, RolloutAction::Save(state) if matches!(state.change, Phase::Unverified { .. }))
}

fn of_old(act: &PlannedStep) -> bool {
    matches!(&act.step, RolloutAction::Switch(it) | RolloutAction::Start(it) if is_old(&it.container))
}

fn exchange(script: &mut VecDeque<PlannedStep>, from: OnStepFailure, to: OnStepFailure) {
    for act in script.iter_mut().filter(|act| act.on_failure == from) {
        act.on_failure = to;
    }
}

fn ignore_failures(script: &mut VecDeque<PlannedStep>, of: impl Fn(&PlannedStep) -> bool) {
    for act in script.iter_mut().filter(|act| of(act)) {
        act.on_failure = OnStepFailure::Continue;
    }
}

/// A model that accepts everything proves nothing: each of these machines is broken, and found out.
#[test]
fn machines_that_break_the_commit_are_found_out() {
    let stop_before_commit: Tamper = |script| {
        if script.front().is_some_and(is_commit) {
            let stops = script.iter().position(|act| matches!(act.step, RolloutAction::Stop(_)));
            if let Some(stop) = stops.and_then(|at| script.remove(at)) {
                script.push_front(stop);
            }
        }
    };
    let commit_not_saved: Tamper = |script| script.retain(|act| !is_commit(act));
    let switch_before_commit: Tamper = |script| {
        if script.front().is_some_and(is_commit) && script.len() > 1 {
            script.swap(0, 1);
        }
    };
    let to_nothing = "traffic goes to a container that runs";
    let not_durable = "only after the commit is durable";
    found_out(&[
        ("stops the old one before the commit", stop_before_commit, Order::StartFirst, to_nothing),
        ("does not save the commit", commit_not_saved, Order::StartFirst, not_durable),
        ("switches before the commit", switch_before_commit, Order::StartFirst, not_durable),
    ]);
}

/// The same, where a step is left out.
#[test]
fn machines_that_leave_a_step_out_are_found_out() {
    let never_switched_back: Tamper =
        |script| script.retain(|act| !(of_old(act) && matches!(act.step, RolloutAction::Switch(_))));
    let old_not_restarted: Tamper =
        |script| script.retain(|act| !(of_old(act) && matches!(act.step, RolloutAction::Start(_))));
    let leftover_kept: Tamper = |script| script.retain(|act| !matches!(act.step, RolloutAction::Discard(_)));
    let old_kept: Tamper = |script| script.retain(|act| !matches!(act.step, RolloutAction::Remove(_)));
    let stop_without_hold: Tamper = |script| script.retain(|act| act.step != RolloutAction::Hold);
    found_out(&[
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
    ]);
}

/// The same, where a step that failed is taken for done.
#[test]
fn machines_that_ignore_a_failed_step_are_found_out() {
    let verification: Tamper =
        |script| ignore_failures(script, |act| matches!(act.step, RolloutAction::Verify(_)));
    let stop: Tamper = |script| ignore_failures(script, |act| matches!(act.step, RolloutAction::Stop(_)));
    let switch_back: Tamper = |script| ignore_failures(script, of_old);
    found_out(&[
        ("ignores a failed verification", verification, Order::StartFirst, "through the proxy"),
        ("starts the new one though the old one runs", stop, Order::StopFirst, "never both run"),
        (
            "stops the new one though the proxy may still point at it",
            switch_back,
            Order::StartFirst,
            "traffic",
        ),
    ]);
}

/// The same, where somebody removes a container.
#[test]
fn machines_that_restore_nothing_are_found_out() {
    let not_made_again: Tamper = |script| script.retain(|act| !matches!(act.step, RolloutAction::Remake(_)));
    let waits_for_what_is_lost: Tamper =
        |script| exchange(script, OnStepFailure::RetryLater, OnStepFailure::Halt);
    found_out(&[
        ("does not make it again", not_made_again, Order::StopFirst, "it does not come to rest"),
        (
            "does not make it again after a crash",
            not_made_again,
            Order::StartFirst,
            "it does not come to rest",
        ),
        (
            "waits for one that cannot be made again",
            waits_for_what_is_lost,
            Order::StopFirst,
            "a later deployment is not refused for ever",
        ),
    ]);
}

// invariant recovery: What did not pass makes way, and for nothing less than a deployment; broken by:
//   `crates/receiver/src/serve/change/mod.rs`: way is made without asking for admission
/// The same, where something does not stay up.
#[test]
fn machines_that_wait_for_crashing_containers_are_found_out() {
    let waits_for_the_old_one: Tamper =
        |script| exchange(script, OnStepFailure::RetryLater, OnStepFailure::Halt);
    let does_not_make_way: Tamper =
        |script| exchange(script, OnStepFailure::RecoverForNewDeploy, OnStepFailure::Halt);
    let makes_way_at_once: Tamper = |script| {
        for act in script.iter_mut().filter(|act| of_old(act) && act.on_failure == OnStepFailure::Halt) {
            act.on_failure = OnStepFailure::RecoverForNewDeploy;
        }
    };
    found_out(&[
        (
            "waits for an old one that does not stay up",
            waits_for_the_old_one,
            Order::StopFirst,
            "a later deployment is not refused for ever",
        ),
        (
            "waits for an old one that does not stay up, after a crash",
            waits_for_the_old_one,
            Order::StartFirst,
            "a later deployment is not refused for ever",
        ),
        (
            "keeps what did not pass though a deployment waits",
            does_not_make_way,
            Order::StartFirst,
            "a later deployment is not refused for ever",
        ),
        (
            "lets what did not pass make way though nothing better comes",
            makes_way_at_once,
            Order::StartFirst,
            "start-first: no request waits",
        ),
    ]);
}

/// Each is broken as its words say, and the rule that it breaks has these words.
fn found_out(machines: &[(&str, Tamper, Order, &str)]) {
    for &(what, tamper, order, rule) in machines {
        match (Scenario { order, with_old: true, tamper }).explore() {
            Ok(explored) => panic!("a machine that {what} passed: {explored:?}"),
            Err(story) => {
                assert!(story.lines().next().is_some_and(|first| first.contains(rule)), "{what}: {story}");
            }
        }
    }
}
