//! How commits relate, computed over the real graph.

use std::collections::{HashMap, HashSet};

use autotag_model::git::ObjectId;

use super::objects::Commit;

/// The commits by name.
pub type Graph = HashMap<ObjectId, Commit>;

/// A comparison of two commits, as GET /compare/{base}...{head} shows it.
#[derive(Debug)]
pub struct Comparison {
    /// `ahead`, `behind`, `identical` or `diverged`, said of the head.
    pub status: &'static str,
    /// Commits of the head that the base lacks, oldest first.
    pub ahead: Vec<ObjectId>,
    /// How many commits of the base the head lacks.
    pub behind: usize,
    /// The newest common ancestor.
    pub merge_base: ObjectId,
}

/// Everything that a commit contains, itself included.
pub fn ancestors(graph: &Graph, from: &ObjectId) -> HashSet<ObjectId> {
    let mut seen = HashSet::new();
    let mut open = vec![from.clone()];
    while let Some(id) = open.pop() {
        if let Some(commit) = graph.get(&id)
            && seen.insert(id)
        {
            open.extend(commit.parents.iter().cloned());
        }
    }
    seen
}

/// Compares; `None` where the two have no common ancestor.
pub fn compare(graph: &Graph, base: &ObjectId, head: &ObjectId) -> Option<Comparison> {
    let of_base = ancestors(graph, base);
    let of_head = ancestors(graph, head);
    let ahead = sorted(graph, of_head.difference(&of_base));
    let behind = of_base.difference(&of_head).count();
    let status = match (ahead.is_empty(), behind) {
        (true, 0) => "identical",
        (false, 0) => "ahead",
        (true, _) => "behind",
        (false, _) => "diverged",
    };
    let merge_base = sorted(graph, of_base.intersection(&of_head)).pop()?;
    Some(Comparison { status, ahead, behind, merge_base })
}

/// Parents before children; among equals by date, then name.
pub fn sorted<'a>(graph: &Graph, ids: impl Iterator<Item = &'a ObjectId>) -> Vec<ObjectId> {
    let wanted: HashSet<&ObjectId> = ids.collect();
    let mut roots: Vec<&ObjectId> = wanted.iter().copied().collect();
    roots.sort_by_key(|id| (graph[*id].committer.seconds, *id));
    let mut done = HashSet::new();
    let mut order = Vec::new();
    for root in roots {
        // Depth first without recursion: a history can be longer than a stack is deep.
        let mut open = vec![(root, false)];
        while let Some((id, parents_done)) = open.pop() {
            if parents_done {
                order.push(id.clone());
            } else if done.insert(id) {
                open.push((id, true));
                open.extend(
                    graph[id]
                        .parents
                        .iter()
                        .rev()
                        .filter_map(|parent| wanted.get(parent))
                        .map(|id| (*id, false)),
                );
            }
        }
    }
    order
}
