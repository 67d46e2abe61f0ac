//! Runs as machines: for everything that a run has been told so far, what it does next.
//!
//! A run is a deterministic function of the answers that it gets (pauses drawn by chance and names of
//! deployments aside, which decide nothing). So a place in its program is named by what it was told on the
//! way there, is worked out once, and is the same in every schedule that leads there: which is what lets
//! millions of schedules be gone through without running anything twice.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use autotag_model::git::ObjectId;

use super::ending::{Ended, is_whole, words};
use super::kind::CallKind;
use super::scenario::{Actor, Work, work};
use super::simulated_ports::{CallAnswer, PendingCall, Script, SimulatedPorts};

/// A place in a run's program; only its [`Programs`] can say more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place(usize);

/// What a run does next.
#[derive(Clone)]
pub enum Next {
    PendingCall(Rc<PendingCall>),
    Pause,
    End(Rc<Ended>),
}

enum Reads {
    CallAnswer(Rc<dyn Any>),
    Awake,
}

/// What failed on the way to a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// It was told that something could not be read.
    pub read: bool,
    /// Something that only itself sees was not made, or perhaps not.
    pub unseen: bool,
}

struct ProgramNode {
    run: usize,
    attempt: u32,
    /// What was heard on the way here, as a number.
    seen: u64,
    before: Option<(Place, Reads)>,
    calls: usize,
    missed: Missed,
    next: Next,
}

/// The programs of all actors, as far as they are known.
pub struct Programs {
    /// Tells apart what is made here from what was made before.
    maker: String,
    actors: Vec<Actor>,
    commits: Vec<ObjectId>,
    nodes: Vec<ProgramNode>,
    known: HashMap<(usize, u32, u64), Place>,
    /// How it came to its end makes no difference any more.
    ends: HashMap<(usize, u32, String), Place>,
    /// The work that was let run last: where the next place is one call on, it need not begin anew.
    running: Option<Running>,
}

/// A run's real work, and where it stands.
struct Running {
    at: Place,
    work: Work,
    script: Rc<RefCell<Script>>,
}

impl Programs {
    /// Nothing is known yet.
    pub fn new(actors: Vec<Actor>, commits: Vec<ObjectId>, maker: String) -> Self {
        Self {
            maker,
            actors,
            commits,
            nodes: Vec::new(),
            known: HashMap::new(),
            ends: HashMap::new(),
            running: None,
        }
    }

    pub fn actors(&self) -> &[Actor] {
        &self.actors
    }

    pub fn commits(&self) -> &[ObjectId] {
        &self.commits
    }

    fn node(&self, place: Place) -> &ProgramNode {
        &self.nodes[place.0]
    }

    /// What comes next from here.
    pub fn next(&self, place: Place) -> &Next {
        &self.node(place).next
    }

    /// Which try of its actor this is, from 1.
    pub fn attempt(&self, place: Place) -> u32 {
        self.node(place).attempt
    }

    /// How many calls were made on the way here.
    pub fn calls(&self, place: Place) -> usize {
        self.node(place).calls
    }

    /// What failed on the way here.
    pub fn missed(&self, place: Place) -> Missed {
        self.node(place).missed
    }

    /// Tells apart what this actor's try makes from what others make of the same.
    pub fn maker(&self, run: usize, attempt: u32) -> String {
        format!("{}{run}.{attempt}", self.maker)
    }

    /// How many places are known.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Where this actor's try begins.
    pub async fn beginning(&mut self, run: usize, attempt: u32) -> Place {
        let missed = Missed::default();
        let node = ProgramNode { run, attempt, seen: 0, before: None, calls: 0, missed, next: Next::Pause };
        self.find(node).await
    }

    /// Where it is after this answer.
    pub async fn after(&mut self, place: Place, call: &PendingCall, answer: &CallAnswer) -> Place {
        let from = self.node(place);
        let mut hasher = DefaultHasher::new();
        (from.seen, &call.what, &answer.shown).hash(&mut hasher);
        let node = ProgramNode {
            run: from.run,
            attempt: from.attempt,
            seen: hasher.finish(),
            before: Some((place, Reads::CallAnswer(Rc::clone(&answer.value)))),
            calls: from.calls + 1,
            missed: Missed {
                read: from.missed.read || (answer.is_error && call.kind.is_read()),
                unseen: from.missed.unseen || (answer.is_error && call.kind == CallKind::Unseen),
            },
            next: Next::Pause,
        };
        self.find(node).await
    }

    /// Where it is after its pause.
    pub async fn awake(&mut self, place: Place) -> Place {
        let from = self.node(place);
        let mut hasher = DefaultHasher::new();
        (from.seen, "awake").hash(&mut hasher);
        let (run, attempt, calls, missed) = (from.run, from.attempt, from.calls, from.missed);
        let before = Some((place, Reads::Awake));
        let node =
            ProgramNode { run, attempt, seen: hasher.finish(), before, calls, missed, next: Next::Pause };
        self.find(node).await
    }

    async fn find(&mut self, mut node: ProgramNode) -> Place {
        let name = (node.run, node.attempt, node.seen);
        if let Some(place) = self.known.get(&name) {
            return *place;
        }
        let (next, work, script) = self.work_out(&node).await;
        let mut place = Place(self.nodes.len());
        if let Next::End(ended) = &next {
            let reported = match &**ended {
                Ok(ending) => format!("{} {:?}", is_whole(ended), ending.as_ref().map(words)),
                Err(failure) => failure.to_string(),
            };
            let reported = format!("{reported} {:?}", node.missed);
            place = *self.ends.entry((node.run, node.attempt, reported)).or_insert(place);
        } else {
            self.running = Some(Running { at: place, work, script });
        }
        if place.0 == self.nodes.len() {
            node.next = next;
            self.nodes.push(node);
        }
        self.known.insert(name, place);
        place
    }

    /// Lets the actor's real work run up to there.
    async fn work_out(&mut self, node: &ProgramNode) -> (Next, Work, Rc<RefCell<Script>>) {
        let mut heard = Vec::new();
        let mut before = &node.before;
        let mut running = None;
        while let Some((place, what)) = before {
            heard.push(what);
            if let Some(found) = self.running.take_if(|running| running.at == *place) {
                running = Some(found);
                break;
            }
            before = &self.nodes[place.0].before;
        }
        let (mut work, script) = if let Some(Running { work, script, .. }) = running {
            (work, script)
        } else {
            // Its clock is everybody's, and may be put forward.
            self.running = None;
            let script = Rc::new(RefCell::new(Script::default()));
            let ports = SimulatedPorts::scheduled(&script, self.maker(node.run, node.attempt));
            (work(&self.actors[node.run], &self.commits, ports), script)
        };
        let mut heard = heard.into_iter().rev().peekable();
        loop {
            while let Some(Reads::CallAnswer(value)) =
                heard.next_if(|heard| matches!(heard, Reads::CallAnswer(_)))
            {
                script.borrow_mut().answers.push(Rc::clone(value));
            }
            let waiting = script.borrow_mut().ask_anew();
            waiting.into_iter().for_each(Waker::wake);
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(ended) = work.as_mut().poll(&mut context) {
                assert!(heard.next().is_none(), "it ended before, with the same answers");
                return (Next::End(Rc::new(ended)), work, script);
            }
            let waits = script.borrow_mut().waits.take();
            if let Some((_, call)) = waits {
                assert!(heard.next().is_none(), "the same answers lead to the same calls");
                return (Next::PendingCall(call), work, script);
            }
            match heard.next() {
                None => return (Next::Pause, work, script),
                // Longer than any pause between two tries.
                Some(_) => tokio::time::advance(Duration::from_secs(20)).await,
            }
        }
    }
}
