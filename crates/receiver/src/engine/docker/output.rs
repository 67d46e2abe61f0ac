//! What containers and commands in them write, bounded: it is others' text, of any length.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;

use super::answers::{Exec, read};
use super::raw::{Call, encoded};
use super::{DockerEngine, ORDINARY, PATIENT};
use crate::engine::Executed;
use autotag_base::{CallError, CallErrorKind, CallResult, clock};
use autotag_docker::daemon;

/// A longer line is cut.
const LINE: usize = 8 * 1024;
/// Of more the first lines are left out.
const LOG: usize = 2 * 1024 * 1024;
/// Of a command's longer output the last part is kept.
const OUTPUT: usize = 8 * 1024;

/// The last lines of both streams; fewer where a line is so long that the Engine keeps it in parts.
pub(super) async fn logs(engine: &DockerEngine, id: &str, lines: u32) -> CallResult<Vec<String>> {
    let doing = format!("reading the logs of the container {id}");
    let client = engine.client(&doing, PATIENT)?;
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
    let mut stream = pin!(client.logs(id, Some(options)));
    let mut log = LogLines::default();
    while let Some(part) = stream.next().await {
        match part {
            Ok(part) => log.take(&part),
            Err(error) if is_unreadable(&error) => return Err(unreadable(engine, id, &doing).await),
            Err(error) => return Err(engine.call_error(&error, &doing)),
        }
    }
    Ok(log.finish())
}

/// Some drivers hand lines on and keep none: the Engine says so with 501, earlier ones with 500.
fn is_unreadable(error: &bollard::errors::Error) -> bool {
    let words = daemon::chain(error);
    words.contains("does not support reading") || words.contains("configured logging driver")
}

/// What is true of the driver that the container was made with.
async fn unreadable(engine: &DockerEngine, id: &str, doing: &str) -> CallError {
    let described = match engine.client(doing, ORDINARY) {
        Ok(client) => client.inspect_container(id, None).await.ok(),
        Err(_) => None,
    };
    let driver = described
        .and_then(|described| described.host_config?.log_config?.typ)
        .unwrap_or_else(|| "unknown".to_owned());
    let (why, remedy) = match driver.as_str() {
        "none" => ("it keeps no lines", "lines of the past are lost".to_owned()),
        "journald" => {
            ("its lines are in the journal", format!("`journalctl CONTAINER_ID={id:.12}` shows them"))
        }
        "syslog" => ("it hands the lines to syslog", "look for them where syslog writes".to_owned()),
        _ => ("it hands the lines on", "look for them where it sends them".to_owned()),
    };
    CallError::new(
        CallErrorKind::Rejected,
        doing,
        format!("Docker cannot read the log driver `{driver}`: {why}"),
    )
    .with_remedy(format!(
        "{remedy}. For `autotag-receiver logs`, choose a driver that Docker can read, such as `local`"
    ))
}

/// Puts lines together: the Engine hands a long one on in parts of 16 KiB, between which parts of the
/// other stream may stand.
#[derive(Debug, Default)]
struct LogLines {
    lines: VecDeque<String>,
    bytes: usize,
    /// What has no line break yet, of standard output and of standard error.
    open: [Vec<u8>; 2],
}

impl LogLines {
    fn take(&mut self, part: &LogOutput) {
        let stream = usize::from(matches!(part, LogOutput::StdErr { .. }));
        for piece in part.as_ref().split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let open = &mut self.open[stream];
            // One byte more than fits shows that it is to be cut.
            let room = (LINE + 1).saturating_sub(open.len());
            open.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end_line(stream);
            }
        }
    }

    fn end_line(&mut self, stream: usize) {
        let mut bytes = std::mem::take(&mut self.open[stream]);
        let cut = bytes.len() > LINE;
        bytes.truncate(LINE);
        let mut line = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(&bytes)).into_owned();
        if cut {
            line.push_str(" ... (cut)");
        }
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > LOG {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |line| line.len());
        }
    }

    fn finish(mut self) -> Vec<String> {
        for stream in 0..self.open.len() {
            if !self.open[stream].is_empty() {
                self.end_line(stream);
            }
        }
        self.lines.into()
    }
}

/// Runs a command in a container.
///
/// The Engine has no way to end one: after the deadline it runs on until it or the container ends.
pub(super) async fn execute(
    engine: &DockerEngine,
    id: &str,
    command: &[String],
    deadline: Duration,
) -> CallResult<Executed> {
    let program = command.first().map_or("", String::as_str);
    let doing = format!("running `{program}` in the container {id}");
    let mut written = Tail::default();
    let ended = tokio::time::timeout(deadline, run(engine, id, command, &doing, &mut written)).await;
    if let Ok(exit_code) = ended {
        return Ok(Executed { exit_code: exit_code?, output: written.text() });
    }
    let message = written.text();
    let message = if message.is_empty() { "nothing".to_owned() } else { format!("\n{message}") };
    let why = format!("it did not end within {} s; it wrote: {message}", deadline.as_secs_f64());
    Err(CallError::new(CallErrorKind::Rejected, doing, why).perhaps_done())
}

async fn run(
    engine: &DockerEngine,
    id: &str,
    command: &[String],
    doing: &str,
    written: &mut Tail,
) -> CallResult<i64> {
    let client = engine.client(doing, ORDINARY)?;
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..ExecConfig::default()
    };
    let exec = client.create_exec(id, config).await.map_err(|error| engine.call_error(&error, doing))?.id;
    let started = client.start_exec(&exec, Some(StartExecOptions::default())).await;
    let started = started.map_err(|error| engine.change_failed(&error, doing))?;
    if let StartExecResults::Attached { mut output, input: _open } = started {
        while let Some(part) = output.next().await {
            written.take(part.map_err(|error| engine.change_failed(&error, doing))?.as_ref());
        }
    }
    let path = format!("/exec/{}/json", encoded(&exec, b""));
    // The stream may end a moment before the Engine has written down the exit code.
    loop {
        let state = engine.ask(Call::get(&path), ORDINARY).await;
        let state: Exec = read(&state.map_err(|error| engine.change_failed(&error, doing))?);
        match state.exit_code {
            Some(code) if state.running != Some(true) => return Ok(code),
            _ => clock::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The last part of what was written.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * OUTPUT {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let surplus = self.0.len().saturating_sub(OUTPUT);
        self.0.drain(..surplus);
    }

    fn text(mut self) -> String {
        self.shorten();
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut { message: Bytes::from(text.to_owned()) }
    }

    fn err(text: &str) -> LogOutput {
        LogOutput::StdErr { message: Bytes::from(text.to_owned()) }
    }

    fn lines(parts: &[LogOutput]) -> Vec<String> {
        let mut log = LogLines::default();
        for part in parts {
            log.take(part);
        }
        log.finish()
    }

    #[test]
    fn lines_are_put_together_by_stream() {
        let parts = [out("one\ntw"), err("alas\r\n"), out("o\n"), out("\nthe end")];
        assert_eq!(lines(&parts), ["one", "alas", "two", "", "the end"]);
    }

    #[test]
    fn logs_are_bounded() {
        let exact = "x".repeat(LINE);
        assert_eq!(lines(&[out(&exact), out("\n")]), [exact.as_str()]);
        let long = lines(&[out(&exact), out("yz\nnext\n")]);
        assert_eq!(long, [format!("{exact} ... (cut)"), "next".to_owned()]);

        let parts: Vec<LogOutput> =
            (0..300).map(|_| out(&format!("{exact}\n"))).chain([out("last\n")]).collect();
        let kept = lines(&parts);
        assert!(kept.iter().map(String::len).sum::<usize>() <= LOG);
        assert_eq!(kept.last().map(String::as_str), Some("last"));
    }

    #[test]
    fn of_long_output_the_end_is_kept() {
        let mut tail = Tail::default();
        for _ in 0..100 {
            tail.take(&[b'a'; 1000]);
        }
        tail.take(b"the end");
        let text = tail.text();
        assert!(text.len() == OUTPUT && text.ends_with("athe end"), "{}", text.len());
    }
}
