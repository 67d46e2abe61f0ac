//! `receive`: the forced command. It carries a request to `serve` and the answers back, and knows nothing else.
//!
//! It runs as the application's user, which can do nothing else either. Whose request it is `serve` asks the
//! kernel; the name that is given here is only compared with the request's, for a better message.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use crate::paths::Paths;
use autotag_protocol::{AppName, End, Event, Outcome, REQUEST_BYTES, RefusalCode, Refused, Word};

/// How long `serve` may say nothing (it promises a sign within ten seconds, once it knows what is asked for, which it
/// waits for half a minute), and how long a client may leave an answer untaken.
const SILENCE: Duration = Duration::from_mins(1);

/// Relays one request. `word` is what the SSH client asked for (`SSH_ORIGINAL_COMMAND`).
///
/// Everything that goes wrong is told as a refusal in the protocol's words, as long as there is somebody to
/// read it. An error means that the conversation did not come to its end.
pub fn run(paths: &Paths, app: &AppName, word: Option<&str>) -> anyhow::Result<()> {
    match relay(paths, app, word) {
        Ok(()) => Ok(()),
        Err(Ended::Refused(refused)) => {
            let end = End::Refused { code: refused.code.into(), message: refused.message };
            let outcome = Outcome { end, running: None, deployment: None, milliseconds: 0 };
            let line = Event::Result(Box::new(outcome)).to_line()?;
            io::stdout().lock().write_all(line.as_bytes())?;
            Ok(())
        }
        Err(Ended::Lost(error)) => Err(error.into()),
    }
}

/// Why it ended early.
enum Ended {
    /// Nothing was asked.
    Refused(Refused),
    /// Something was, and what became of it is not known.
    Lost(io::Error),
}

fn refused(code: RefusalCode, message: impl Into<String>) -> Ended {
    Ended::Refused(Refused::new(code, message))
}

fn relay(paths: &Paths, app: &AppName, word: Option<&str>) -> Result<(), Ended> {
    let Some(word) = word else {
        let text = format!("this key opens no shell: it deploys `{app}` with autotag-deploy");
        return Err(refused(RefusalCode::Malformed, text));
    };
    // What it was is not repeated: it may be anything, and stand in a terminal.
    let word: Word = word
        .parse()
        .map_err(|expected| refused(RefusalCode::NewerRequest, format!("this key's command is {expected}; for a word of a newer action, update autotag-receiver on the server")))?;
    let socket = paths.socket();
    // A place first: whoever has too many is told so at once, and a client that says nothing takes one of its
    // user's, for as long as `serve` gives it.
    let mut stream = UnixStream::connect(&socket).map_err(|error| {
        refused(
            RefusalCode::ReceiverDown,
            format!(
                "the receiver does not answer on the server ({}: {error}). Its owner starts it: systemctl \
                 start autotag",
                socket.display()
            ),
        )
    })?;
    stream.set_read_timeout(Some(SILENCE)).map_err(Ended::Lost)?;
    let asking = stream.try_clone().map_err(Ended::Lost)?;
    // It may wait for a client for ever, and ends with the process.
    std::thread::spawn(move || ask(word, asking));
    pass_on(&mut stream).map_err(Ended::Lost)
}

/// Says what is asked for. `serve` judges it, says what is wrong with it, and has a deadline for it.
fn ask(word: Word, mut stream: UnixStream) {
    if !matches!(say(word, &mut stream), Ok(true)) {
        // `serve` is waiting for the rest, which does not come. That it has gone is told by its answers' end.
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// The word, and the first line of standard input, as far as a request may go. Whether that was all of it.
fn say(word: Word, stream: &mut UnixStream) -> io::Result<bool> {
    stream.write_all(format!("{word}\n").as_bytes())?;
    let mut input = io::stdin().lock();
    let mut buffer = [0; 16 * 1024];
    let mut given = 0;
    // One byte too many is for `serve` to refuse.
    while given <= REQUEST_BYTES {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            return Ok(false);
        }
        let end = buffer[..count].iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        stream.write_all(&buffer[..end.unwrap_or(count)])?;
        if end.is_some() {
            return Ok(true);
        }
        given += count;
    }
    Ok(true)
}

/// The answers, as they come, to the end. Without a whole last line something was lost.
///
/// A client that does not take them ends this process, which would stay for ever otherwise.
fn pass_on(stream: &mut UnixStream) -> io::Result<()> {
    let (writes, written) = mpsc::channel();
    std::thread::spawn(move || {
        // Once for the beginning of each write, and once for its end.
        while written.recv().is_ok() {
            if written.recv_timeout(SILENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                std::process::exit(1);
            }
        }
    });
    let mut output = io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    let mut last = 0;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            let whole = last == b'\n';
            return if whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let _ = writes.send(());
        output.write_all(&buffer[..count])?;
        output.flush()?;
        let _ = writes.send(());
        last = buffer[count - 1];
    }
}
