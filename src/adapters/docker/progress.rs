//! BuildKit's status messages become the build's log: each step begins once and ends once.

use std::collections::{BTreeMap, VecDeque};

use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex};

use crate::ports::{BuildEvent, BuildLog};

/// How many last lines of a failed step are handed on.
const TAIL_LINES: usize = 20;
/// Longer ones are cut, so that a program that never ends its line costs no memory. In bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// The steps seen so far. BuildKit repeats a step whenever something about it changes, and calls it by
/// its digest.
#[derive(Debug, Default)]
pub(super) struct BuildProgress {
    steps: BTreeMap<String, VertexState>,
    failed: Vec<FailedStep>,
}

#[derive(Debug, Default)]
struct VertexState {
    name: String,
    begun: bool,
    ended: bool,
    unfinished_line: Vec<u8>,
    tail: VecDeque<String>,
}

/// A step that ended with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailedStep {
    /// As BuildKit words it.
    pub name: String,
    /// Why.
    pub error: String,
    /// Its last lines.
    pub tail: Vec<String>,
}

impl BuildProgress {
    /// Takes one message.
    pub(super) fn take(&mut self, status: &StatusResponse, log: &mut dyn BuildLog) {
        for vertex in &status.vertexes {
            let step = self.steps.entry(vertex.digest.clone()).or_default();
            step.name.clone_from(&vertex.name);
            if vertex.started.is_some() {
                step.begin(&vertex.digest, log);
            }
        }
        for written in &status.logs {
            let step = self.steps.entry(written.vertex.clone()).or_default();
            step.begin(&written.vertex, log);
            step.write(&written.vertex, &written.msg, log);
        }
        for vertex in &status.vertexes {
            if vertex.completed.is_some() || !vertex.error.is_empty() {
                self.end(vertex, log);
            }
        }
        for warning in &status.warnings {
            log.event(BuildEvent::Note(format!("warning: {}", String::from_utf8_lossy(&warning.short))));
        }
    }

    /// The step to blame: when one fails, BuildKit cancels those beside it, and they fail too.
    pub(super) fn culprit(&self) -> Option<&FailedStep> {
        let cancelled = |step: &&FailedStep| step.error.contains("context canceled");
        self.failed.iter().find(|step| !cancelled(step)).or(self.failed.first())
    }

    fn end(&mut self, vertex: &Vertex, log: &mut dyn BuildLog) {
        let Some(step) = self.steps.get_mut(&vertex.digest) else { return };
        if step.ended {
            return;
        }
        step.ended = true;
        step.begin(&vertex.digest, log);
        if !step.unfinished_line.is_empty() {
            step.write(&vertex.digest, b"\n", log);
        }
        let error = (!vertex.error.is_empty()).then(|| vertex.error.clone());
        let tail = Vec::from(std::mem::take(&mut step.tail));
        if let Some(error) = &error {
            self.failed.push(FailedStep { name: step.name.clone(), error: error.clone(), tail });
        }
        log.event(BuildEvent::StepEnded {
            step: vertex.digest.clone(),
            seconds: seconds(vertex),
            cached: vertex.cached,
            error,
        });
    }
}

impl VertexState {
    fn begin(&mut self, digest: &str, log: &mut dyn BuildLog) {
        if !self.begun {
            self.begun = true;
            log.event(BuildEvent::StepStarted { step: digest.to_owned(), name: self.name.clone() });
        }
    }

    /// Bytes come as the program wrote them; a line is told when it is whole.
    fn write(&mut self, digest: &str, bytes: &[u8], log: &mut dyn BuildLog) {
        for byte in bytes {
            if *byte != b'\n' {
                self.unfinished_line.push(*byte);
                if self.unfinished_line.len() < LONGEST_LINE {
                    continue;
                }
            }
            let line = std::mem::take(&mut self.unfinished_line);
            // A progress bar draws over itself: what stands after its last carriage return is what a
            // terminal would show.
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let shown = line.rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
            let text = String::from_utf8_lossy(shown).into_owned();
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(text.clone());
            log.event(BuildEvent::Line { step: digest.to_owned(), text });
        }
    }
}

/// From its start to its end; 0 where BuildKit gave only one of them.
fn seconds(vertex: &Vertex) -> f64 {
    let (Some(started), Some(completed)) = (&vertex.started, &vertex.completed) else { return 0.0 };
    let whole = i32::try_from(completed.seconds - started.seconds).unwrap_or_default();
    f64::from(whole) + f64::from(completed.nanos - started.nanos) / 1e9
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::VertexLog;

    use super::*;

    struct Kept(Vec<BuildEvent>);

    impl BuildLog for Kept {
        fn event(&mut self, event: BuildEvent) {
            self.0.push(event);
        }
    }

    fn vertex(digest: &str, times: Option<(i64, Option<i64>)>, error: &str) -> StatusResponse {
        let mut vertex = Vertex {
            digest: digest.to_owned(),
            name: format!("[1/2] RUN {digest}"),
            error: error.to_owned(),
            ..Vertex::default()
        };
        if let Some((started, completed)) = times {
            vertex.started.get_or_insert_default().seconds = started;
            if let Some(completed) = completed {
                let completed_at = vertex.completed.get_or_insert_default();
                completed_at.seconds = completed;
                completed_at.nanos = 500_000_000;
            }
        }
        StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() }
    }

    fn lines(digest: &str, text: &[u8]) -> StatusResponse {
        let log = VertexLog { vertex: digest.to_owned(), msg: text.to_vec(), ..VertexLog::default() };
        StatusResponse { logs: vec![log], ..StatusResponse::default() }
    }

    fn line(step: &str, text: &str) -> BuildEvent {
        BuildEvent::Line { step: step.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn each_build_step_begins_and_ends_once() {
        let (mut progress, mut log) = (BuildProgress::default(), Kept(Vec::new()));
        for message in [
            vertex("a", None, ""),
            vertex("a", Some((10, None)), ""),
            vertex("a", Some((10, None)), ""),
            lines("a", b"one\ntw"),
            lines("a", b"o\r\n10%\r20%\r100%\nlast"),
            vertex("a", Some((10, Some(12))), ""),
            vertex("a", Some((13, Some(14))), ""),
        ] {
            progress.take(&message, &mut log);
        }
        let started = BuildEvent::StepStarted { step: "a".to_owned(), name: "[1/2] RUN a".to_owned() };
        let ended = BuildEvent::StepEnded { step: "a".to_owned(), seconds: 2.5, cached: false, error: None };
        let expected =
            vec![started, line("a", "one"), line("a", "two"), line("a", "100%"), line("a", "last"), ended];
        assert_eq!(log.0, expected);
        assert_eq!(progress.culprit(), None);
    }

    #[test]
    fn the_failed_step_is_blamed_not_a_cancelled_one() {
        let (mut progress, mut log) = (BuildProgress::default(), Kept(Vec::new()));
        let output = (0..30).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n") + "\n";
        for message in [
            vertex("b", Some((1, Some(2))), "rpc error: context canceled"),
            lines("a", output.as_bytes()),
            vertex("a", Some((1, Some(2))), "exit code: 7"),
        ] {
            progress.take(&message, &mut log);
        }
        let culprit = progress.culprit().expect("one failed");
        assert_eq!((culprit.name.as_str(), culprit.error.as_str()), ("[1/2] RUN a", "exit code: 7"));
        assert_eq!(culprit.tail.len(), TAIL_LINES);
        assert_eq!(culprit.tail.last().map(String::as_str), Some("line 29"));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (mut progress, mut log) = (BuildProgress::default(), Kept(Vec::new()));
        progress.take(&lines("a", &vec![b'x'; LONGEST_LINE * 2 + 1]), &mut log);
        let lengths: Vec<usize> = log
            .0
            .iter()
            .filter_map(
                |event| if let BuildEvent::Line { text, .. } = event { Some(text.len()) } else { None },
            )
            .collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE]);
    }
}
