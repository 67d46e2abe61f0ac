//! The owner's way to `serve`: the same protocol over the same socket, as uid 0.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::paths::Paths;
use autotag_protocol::{EVENT_BYTES, Event, Lines, Outcome, Refused, Request};

/// `serve` sends a heartbeat at least every ten seconds; so much silence means that it hangs.
const SILENCE: Duration = Duration::from_mins(1);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum NoResult {
    /// Nobody listens.
    #[error(
        "`autotag-receiver serve` does not run: nobody answers at {socket}. Start it by `systemctl start autotag.service`, or without systemd by `autotag-receiver serve`"
    )]
    NotRunning {
        /// Where.
        socket: PathBuf,
    },
    /// Only root and the applications' users may ask.
    #[error("{socket} is root's: run the command as root, such as by sudo")]
    NotAllowed {
        /// Where.
        socket: PathBuf,
    },
    /// The request itself is wrong.
    #[error(transparent)]
    Request(#[from] Refused),
    /// The connection ended or was silent; what was asked for may go on.
    #[error(
        "`serve` did not report the result ({why}). What was started may continue: see `autotag-receiver status` and the log by `journalctl -u autotag.service`"
    )]
    Lost {
        /// In words.
        why: String,
    },
}

/// Asks, hands on every answer but the last, and gives that.
pub fn ask(paths: &Paths, request: &Request, mut hear: impl FnMut(&Event)) -> Result<Outcome, NoResult> {
    let line = request.to_line()?;
    let socket = paths.socket();
    let mut stream = match UnixStream::connect(&socket) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(NoResult::NotAllowed { socket });
        }
        Err(_) => return Err(NoResult::NotRunning { socket }),
    };
    let lost = |why: &dyn ToString| NoResult::Lost { why: why.to_string() };
    stream.set_read_timeout(Some(SILENCE)).map_err(|error| lost(&error))?;
    let text = format!("{}\n{}", request.word(), line.reveal());
    stream.write_all(text.as_bytes()).map_err(|error| lost(&error))?;
    let mut lines = Lines::new(EVENT_BYTES);
    let mut buffer = [0; 8192];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Err(lost(&"the connection ended")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(lost(&"it was silent for a minute"));
            }
            Err(error) => return Err(lost(&error)),
        };
        let mut bytes = &buffer[..count];
        while let Some(line) = lines.next(&mut bytes).map_err(|error| lost(&error))? {
            match Event::parse(&line).map_err(|error| lost(&error))? {
                Event::Result(outcome) => return Ok(*outcome),
                other => hear(&other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use autotag_protocol::{Body, End, REQUEST_BYTES};

    fn status() -> Request {
        Request { app: "app".parse().unwrap(), body: Body::Status { deployment: None } }
    }

    /// Answers one connection with these bytes, and gives what was asked.
    fn answering(paths: &Paths, answers: String) -> std::thread::JoinHandle<String> {
        std::fs::create_dir_all(paths.run()).unwrap();
        let listener = UnixListener::bind(paths.socket()).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut byte = [0];
            let mut lines = 0;
            while lines < 2 && asked.len() < REQUEST_BYTES {
                stream.read_exact(&mut byte).unwrap();
                lines += usize::from(byte == *b"\n");
                asked.push(byte[0]);
            }
            stream.write_all(answers.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        })
    }

    #[test]
    fn command_and_request_go_out_and_the_result_comes_last() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let outcome = Outcome { end: End::Reported {}, running: None, deployment: None, milliseconds: 3 };
        let answers = [Event::Heartbeat {}, Event::Result(Box::new(outcome.clone()))];
        let asked = answering(&paths, answers.iter().map(|answer| answer.to_line().unwrap()).collect());
        let mut heard = Vec::new();
        let got = ask(&paths, &status(), |answer| heard.push(answer.clone())).unwrap();
        assert_eq!((got, heard), (outcome, vec![Event::Heartbeat {}]));
        let asked = asked.join().unwrap();
        let (word, request) = asked.split_once('\n').unwrap();
        assert_eq!(word, "status");
        assert_eq!(Request::parse(request.trim_end().as_bytes()), Ok(status()));
    }

    #[test]
    fn an_end_without_result_tells_nothing() {
        for answers in [String::new(), Event::Heartbeat {}.to_line().unwrap(), "no JSON\n".to_owned()] {
            let directory = tempfile::tempdir().unwrap();
            let paths = Paths::below(directory.path());
            let asked = answering(&paths, answers.clone());
            assert!(matches!(ask(&paths, &status(), |_| {}), Err(NoResult::Lost { .. })), "{answers}");
            asked.join().unwrap();
        }
    }

    #[test]
    fn a_receiver_that_is_down_is_reported_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let error = ask(&Paths::below(directory.path()), &status(), |_| {}).unwrap_err().to_string();
        assert!(error.contains("systemctl start autotag.service"), "{error}");
    }
}
