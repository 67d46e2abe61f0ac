//! Moments of a deployment, at which something is done to it, and what has to be so afterwards.

use autotag_protocol::{Body, End, RefusalCode, RolloutStep};
use autotag_receiver::state::journal::What;
use autotag_receiver::state::{Phase, State};

use crate::receiver::crashes::tracer::Tracer;
use testkit::clock;
use testkit::processes::PATIENCE;
use testkit::server::{Conversation, Server};

/// A change under way, whose `serve` is held where it has just noted that a step begins.
pub struct Held {
    pub conversation: Conversation,
    pub step: RolloutStep,
    tracer: Tracer,
}

impl Held {
    /// Lets `serve` go on.
    pub fn go_on(self, server: &Server) -> Conversation {
        drop(self.tracer);
        server.thaw_serve();
        self.conversation
    }
}

/// Begins a change, and holds `serve` right at the first step that fits, before anything of it is done; `None`
/// where the change ends before.
pub fn held_at(server: &Server, change: Body, mut fits: impl FnMut(RolloutStep) -> bool) -> Option<Held> {
    let tracer = Tracer::of_entries(server);
    let conversation = server.ask(change);
    loop {
        match tracer.entry(server) {
            What::Began { step } if fits(step) => return Some(Held { conversation, step, tracer }),
            What::Answered { .. } => {
                drop(tracer);
                server.thaw_serve();
                return None;
            }
            _ => server.thaw_serve(),
        }
    }
}

/// Begins a change, and comes back soon after the first entry about a step that fits.
pub fn at_moment(
    server: &Server,
    change: Body,
    mut fits: impl FnMut(&What) -> bool,
) -> (Conversation, Option<String>) {
    let mut looked_at = server.journal().len();
    let conversation = server.ask(change);
    let since = clock::start();
    loop {
        let entries = server.journal();
        for entry in entries.iter().skip(looked_at) {
            match &entry.what {
                step @ (What::Began { .. } | What::Ended { .. }) if fits(step) => {
                    return (conversation, Some(format!("{step:?}")));
                }
                What::Answered { .. } => return (conversation, None),
                _ => {}
            }
        }
        looked_at = entries.len();
        assert!(since.elapsed() < PATIENCE, "the step never came\n{}", server.logs());
    }
}

/// Waits until everything that was under way has come to its end.
pub fn settled(server: &Server) -> State {
    server.until("the recovery ends", || {
        matches!(server.state().change, Phase::Steady { .. }) && server.status().busy.is_none()
    });
    server.state()
}

/// Exactly one container, which is the state's, and answers through the proxy.
#[track_caller]
pub fn one_of_the_right_version(server: &Server, when: &str) -> State {
    let state = server.state();
    let active = state.active().unwrap_or_else(|| panic!("{when}: nothing serves\n{}", server.logs()));
    let version = active.release.version.to_string();
    assert_eq!(server.containers(), [active.container.as_str()], "{when}: {}", server.logs());
    assert_eq!(server.container_versions(), [version.as_str()], "{when}: {}", server.logs());
    let answered = server.get("/").1;
    assert!(
        answered.starts_with(&format!("{version} ")),
        "{when}: {answered} serves, {version} should\n{}",
        server.logs()
    );
    state
}

/// A refusal's words.
#[track_caller]
pub fn refused(end: &End, expected: RefusalCode) -> String {
    match end {
        End::Refused { code, message } if *code == expected => message.clone(),
        other => panic!("expected a refusal for {expected:?}: {other:?}"),
    }
}
