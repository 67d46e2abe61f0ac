//! The receiver's files when processes die: locks are free at once, state and journal stay whole.
//!
//! A test starts its own binary again, for itself alone; the variable [`FOLDER`] tells the second process
//! that it is the one to be killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use autotag_protocol::Holder;
use autotag_receiver::lock::{Lock, Tried};
use autotag_receiver::state::journal;
use autotag_receiver::state::journal::{Entry, Journal, What};
use autotag_receiver::state::{State, Store};
use semver::Version;

const FOLDER: &str = "AUTOTAG_TEST_RECEIVER_FOLDER";

#[expect(clippy::disallowed_methods, reason = "how a test's second process learns that it is one")]
fn directory_of_the_second_process() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// The same test in another process, and the lines that it prints.
struct Second {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Second {
    fn start(test: &str, directory: &Path) -> Self {
        let (_, module) = module_path!().split_once("::").expect("a path begins with the crate's name");
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
            .env(FOLDER, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Waits for a line that begins with this word, and gives what follows it.
    fn await_line(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next().expect("the second process lives").expect("text");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// Closes its stdin, at which it ends by itself.
    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("it is gone").success());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // After a failed assertion; one that is gone is no fault.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for_the_end_of_stdin() {
    std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
}

fn holder(purpose: &str) -> Holder {
    Holder {
        pid: std::process::id(),
        purpose: purpose.to_owned(),
        deployment: None,
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
    }
}

#[test]
fn a_killed_holder_frees_the_lock_at_once() {
    if let Some(directory) = directory_of_the_second_process() {
        let _lock = Lock::take(&directory.join("lock"), &holder("deploy 1.2.3"), |_| {}).expect("the lock");
        println!("\nHELD");
        return wait_for_the_end_of_stdin();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let mut second = Second::start("a_killed_holder_frees_the_lock_at_once", directory.path());
    second.await_line("HELD");
    let Ok(Tried::Held(Some(by))) = Lock::try_take(&path, &holder("rollback")) else {
        panic!("the second process holds it, and has said so")
    };
    assert_eq!((by.pid, by.purpose.as_str()), (second.child.id(), "deploy 1.2.3"));
    let (say, waits) = mpsc::channel();
    let waiter = std::thread::spawn({
        let path = path.clone();
        move || Lock::take(&path, &holder("rollback"), |by| say.send(by).expect("heard"))
    });
    assert_eq!(waits.recv().expect("it waits"), Some(by));
    second.kill();
    let _lock = waiter.join().unwrap().expect("its turn came");
    assert_eq!(Lock::holder(&path), Some(holder("rollback")), "the dead one's entry is gone");
}

/// Whether a process waits for a lock, as the kernel says: `1: -> FLOCK ADVISORY WRITE PID ...`.
fn waits_for_a_lock(pid: u32) -> bool {
    let locks = std::fs::read_to_string("/proc/locks").expect("Linux");
    let mut lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.any(|words| words.get(1) == Some(&"->") && words.get(5) == Some(&pid.to_string().as_str()))
}

#[test]
fn who_came_first_is_served_first() {
    if let Some(directory) = directory_of_the_second_process() {
        let _lock = Lock::take(&directory.join("lock"), &holder("deploy"), |_| {}).expect("the lock");
        println!("\nHELD");
        return wait_for_the_end_of_stdin();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let first = Lock::take(&path, &holder("deploy"), |_| panic!("nobody holds it")).unwrap();
    let mut waiting: Vec<Second> = (0..3)
        .map(|_| {
            let second = Second::start("who_came_first_is_served_first", directory.path());
            while !waits_for_a_lock(second.child.id()) {
                std::thread::yield_now();
            }
            second
        })
        .collect();
    drop(first);
    for mut next in waiting.drain(..) {
        next.await_line("HELD");
        assert_eq!(Lock::holder(&path).map(|by| by.pid), Some(next.child.id()));
        next.end();
    }
}

/// A state and an entry with the same number, again and again, until somebody ends it.
fn write_for_ever(directory: &Path) {
    let lock = Lock::take(&directory.join("lock"), &holder("deploy"), |_| {}).expect("the lock is free");
    let store = Store::new(directory, "app".parse().unwrap());
    let mut journal = Journal::open(&directory.join("journal.jsonl"), 1 << 30, 1).expect("a journal");
    let mut number = store.load().expect("whole").highest.map_or(0, |highest| highest.major);
    loop {
        number += 1;
        let entry = Entry {
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            deployment: None,
            what: What::Noted { text: number.to_string() },
        };
        journal.append(&entry).expect("written");
        let highest = Some(Version::new(number, 0, 0));
        let state = State { highest, ..State::new("app".parse().unwrap()) };
        store.save(&lock, &state).expect("written");
        println!("\nSAVED {number}");
    }
}

// invariant durable: The state is replaced as a whole
#[test]
fn what_was_written_survives_a_kill_at_any_moment() {
    if let Some(directory) = directory_of_the_second_process() {
        return write_for_ever(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path(), "app".parse().unwrap());
    for round in 0..25 {
        let mut second = Second::start("what_was_written_survives_a_kill_at_any_moment", directory.path());
        let mut output = 0;
        for _ in 0..=round % 7 {
            output = second.await_line("SAVED").parse().expect("a number");
        }
        // What stands there while it writes is what a kill at that moment would leave.
        for _ in 0..200 {
            let state =
                store.load().unwrap_or_else(|error| panic!("round {round}, while it writes: {error}"));
            let seen = state.highest.map(|highest| highest.major);
            assert!(seen >= Some(output), "round {round}, while it writes: {seen:?} after {output}");
        }
        second.kill();
        let lock = Lock::try_take(&directory.path().join("lock"), &holder("recovery")).unwrap();
        assert!(matches!(lock, Tried::Taken(_)), "round {round}: the lock is free");
        let state = store.load().unwrap_or_else(|error| panic!("round {round}: {error}"));
        let saved = state.highest.expect("something was saved").major;
        assert!(saved >= output, "round {round}: {output} was said to be durable, {saved} is there");
        let reading = journal::read(&directory.path().join("journal.jsonl")).unwrap();
        let noted = reading.entries.iter().filter_map(|entry| match &entry.what {
            What::Noted { text } => text.parse::<u64>().ok(),
            _ => None,
        });
        assert!(noted.max() >= Some(saved), "round {round}: the journal was written before the state");
        assert_eq!(reading.foreign, 0, "round {round}: entries never mix");
    }
}
