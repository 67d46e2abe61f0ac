//! The graph of all that can be reached, how each part of it is reached, and what is counted.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use super::*;

/// Sequences are counted with at most so many failures, crashes and reboots.
pub(super) const FAULTS: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GraphNode {
    pub(super) host: ModelHost,
    pub(super) rollout: Rollout,
}

impl Hash for GraphNode {
    fn hash<H: Hasher>(&self, into: &mut H) {
        self.host.hash(into);
        let Rollout { begun, unfinished, verdict, .. } = &self.rollout;
        let failed = match verdict {
            Verdict::Failed(_, failure) => Some(failure.step),
            Verdict::Serves(_) | Verdict::Settled => None,
        };
        (begun, unfinished.as_ref().map(|failure| failure.step), discriminant(verdict), failed).hash(into);
        for act in &self.rollout.script {
            (discriminant(&act.step), act.on_failure).hash(into);
        }
    }
}

/// Where an edge comes from; only `Ok` is no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Ok,
    Fault(&'static str),
}

#[derive(Default)]
pub(super) struct Graph {
    index: HashMap<GraphNode, usize>,
    pub(super) nodes: Vec<GraphNode>,
    pub(super) edges: Vec<Vec<(Edge, usize)>>,
    /// How each node was first reached.
    from: Vec<Option<(usize, Edge)>>,
}

#[derive(Debug)]
pub(super) struct Explored {
    pub(super) nodes: usize,
    pub(super) edges: usize,
    pub(super) sequences: u128,
}

impl Graph {
    pub(super) fn add(&mut self, node: GraphNode, from: Option<(usize, Edge)>) -> usize {
        if let Some(known) = self.index.get(&node) {
            return *known;
        }
        self.index.insert(node.clone(), self.nodes.len());
        self.nodes.push(node);
        self.edges.push(Vec::new());
        self.from.push(from);
        self.nodes.len() - 1
    }

    /// When nothing goes wrong any more, it comes to rest; or goes on trying what does not stay up.
    pub(super) fn converges(&self, from: usize) -> Result<(), String> {
        let mut at = from;
        for _ in 0..100 {
            match self.edges[at].first() {
                None => return Ok(()),
                Some((_, next)) => at = *next,
            }
        }
        if self.nodes[at].host.has_broken() { Ok(()) } else { Err("it does not come to rest".to_owned()) }
    }

    pub(super) fn explored(&self) -> Explored {
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
        let tried_for_ever = self.nodes[at].host.has_broken()
            && matches!(self.nodes[at].rollout.step(), RolloutAction::End(_));
        let count = match self.edges[at].as_slice() {
            [] => 1,
            _ if tried_for_ever => 1,
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
    pub(super) fn story(&self, at: usize, rule: &str) -> String {
        let mut lines = Vec::new();
        let mut here = at;
        while let Some((before, edge)) = self.from[here] {
            let step = self.nodes[before].rollout.step();
            let what = step.rollout_step().map_or("end".to_owned(), |step| format!("{step:?}"));
            lines.push(format!("{what}: {edge:?}"));
            here = before;
        }
        lines.reverse();
        let host = &self.nodes[at].host;
        format!(
            "broken: {rule}\n{}\nold {:?}, new {:?}, proxy {:?}, disk {:?}",
            lines.join("\n"),
            host.old,
            host.new,
            host.proxy.as_ref().map(ContainerId::short),
            host.disk.change
        )
    }
}
