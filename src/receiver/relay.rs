//! `receive`: the forced command. It carries a request to `serve` and the answers back, and knows nothing else.
//!
//! It runs as the application's user, which can do nothing else either. Whose request it is `serve` asks the
//! kernel; the name that is given here is only compared with the request's, for a better message.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::layout::Layout;
use crate::deploy::protocol::{Answer, AppName, Because, End, Lines, Outcome, REQUEST_BYTES, Refused, Word};

/// Relays one request. `word` is what the SSH client asked for (`SSH_ORIGINAL_COMMAND`).
///
/// Everything that goes wrong is told as a refusal in the protocol's words, as long as there is somebody to
/// read it. An error means that the conversation did not come to its end.
pub fn run(layout: &Layout, app: &AppName, word: Option<&str>) -> anyhow::Result<()> {
    match relay(layout, app, word) {
        Ok(()) => Ok(()),
        Err(Ended::Refused(refused)) => {
            let end = End::Refused { because: refused.because, message: refused.message };
            let outcome = Outcome { end, running: None, deployment: None, milliseconds: 0 };
            let line = Answer::Result(Box::new(outcome)).to_line()?;
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

fn refused(because: Because, message: impl Into<String>) -> Ended {
    Ended::Refused(Refused::new(because, message))
}

fn relay(layout: &Layout, app: &AppName, word: Option<&str>) -> Result<(), Ended> {
    let Some(word) = word else {
        let text = format!("this key opens no shell: it deploys `{app}`, by autotag-deploy");
        return Err(refused(Because::Malformed, text));
    };
    // What it was is not repeated: it may be anything, and stand in a terminal.
    let word: Word = word
        .parse()
        .map_err(|expected| refused(Because::Malformed, format!("this key's command is {expected}; for a word of a newer action, update autotag-receiver on the server")))?;
    let request = read_request()?;
    let socket = layout.socket();
    let mut stream = UnixStream::connect(&socket).map_err(|error| {
        refused(
            Because::Host,
            format!(
                "the receiver does not answer on the server ({}: {error}). Its owner starts it: systemctl start autotag",
                socket.display()
            ),
        )
    })?;
    let said = [word.as_str().as_bytes(), b"\n", &request, b"\n"].concat();
    stream.write_all(&said).map_err(Ended::Lost)?;
    pass_on(&mut stream).map_err(Ended::Lost)
}

/// One line of standard input, and not more of it than a request may have.
fn read_request() -> Result<Vec<u8>, Ended> {
    let malformed = |text: String| refused(Because::Malformed, text);
    let mut lines = Lines::new(REQUEST_BYTES);
    let mut input = io::stdin().lock();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = input.read(&mut buffer).map_err(|error| malformed(error.to_string()))?;
        if count == 0 {
            return Err(malformed("the request ended before its line did".to_owned()));
        }
        let mut bytes = &buffer[..count];
        if let Some(line) = lines.next(&mut bytes).map_err(|error| malformed(error.to_string()))? {
            return Ok(line);
        }
    }
}

/// The answers, as they come, to the end. Without a whole last line something was lost.
fn pass_on(stream: &mut UnixStream) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    let mut last = 0;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            let whole = last == b'\n';
            return if whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        output.write_all(&buffer[..count])?;
        output.flush()?;
        last = buffer[count - 1];
    }
}
