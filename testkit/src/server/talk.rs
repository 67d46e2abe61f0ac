//! Talking with `serve` in the protocol's words.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use autotag_protocol::{End, Event, Outcome};

use crate::processes::PATIENCE;

/// A conversation with `serve`.
pub struct Conversation {
    lines: std::io::Lines<BufReader<UnixStream>>,
    answers: Vec<Event>,
}

/// What was told, and how it ended.
#[derive(Debug)]
pub struct Transcript {
    /// Everything, heartbeats left out.
    pub answers: Vec<Event>,
    /// The result.
    pub outcome: Outcome,
}

impl Transcript {
    /// Everything that people would read, in one text.
    pub fn text(&self) -> String {
        let lines: Vec<String> = self.answers.iter().map(|answer| format!("{answer:?}")).collect();
        lines.join("\n")
    }

    /// Panics unless it ended so.
    #[track_caller]
    pub fn ended(self, end: &End) -> Self {
        assert_eq!(self.outcome.end, *end, "{}", self.text());
        self
    }
}

impl Conversation {
    /// Says two lines to a socket.
    pub fn begin(socket: &Path, word: &str, request: &str) -> Self {
        let mut stream = UnixStream::connect(socket).expect("serve answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(format!("{word}\n{request}").as_bytes()).expect("a request");
        Self { lines: BufReader::new(stream).lines(), answers: Vec::new() }
    }

    /// The next answer that is no heartbeat; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "nobody wants a conversation's adapters")]
    pub fn next(&mut self) -> Option<Event> {
        loop {
            let line = self.lines.next()?.expect("a line");
            let answer = Event::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
            if answer == (Event::Heartbeat {}) {
                continue;
            }
            self.answers.push(answer.clone());
            return Some(answer);
        }
    }

    /// Waits for a heartbeat.
    #[track_caller]
    pub fn heartbeat(&mut self) {
        loop {
            let line = self.lines.next().expect("it goes on").expect("a line");
            match Event::parse(line.as_bytes()) {
                Ok(Event::Heartbeat {}) => return,
                Ok(answer) => self.answers.push(answer),
                Err(error) => panic!("{line}: {error}"),
            }
        }
    }

    /// Waits for an answer of a kind.
    #[track_caller]
    pub fn until(&mut self, mut found: impl FnMut(&Event) -> bool) -> Event {
        while let Some(answer) = self.next() {
            if found(&answer) {
                return answer;
            }
        }
        panic!("it ended before: {:?}", self.answers);
    }

    /// Everything up to the result, which is the last line.
    #[track_caller]
    pub fn finish(mut self) -> Transcript {
        while self.next().is_some() {}
        match self.answers.last() {
            Some(Event::Result(outcome)) => {
                let outcome = (**outcome).clone();
                Transcript { answers: self.answers, outcome }
            }
            other => panic!("the last line is no result: {other:?}"),
        }
    }
}
