//! One change of an application at a time. The kernel holds the lock, so a crash frees it at once.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use autotag_base::clock;
use autotag_protocol::{DeploymentId, Holder};

/// The longest entry about a holder that is read, in bytes.
const LONGEST: u64 = 4096;

/// The lock, held as long as this value lives. What must only be done under it demands a reference.
///
/// `flock(2)`: it belongs to the open file, so the end of the process, however it came, gives it back. The
/// file itself stays: removing it would let a second process lock another file of the same name.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// What came of trying.
#[derive(Debug)]
pub enum Tried {
    /// It is ours.
    Taken(Lock),
    /// Another has it; who, as far as it has said.
    Held(Option<Holder>),
}

/// This process, which takes a lock for this.
pub fn holder(purpose: &str, deployment: Option<DeploymentId>) -> Holder {
    Holder { pid: std::process::id(), purpose: purpose.to_owned(), deployment, since: clock::now() }
}

impl Lock {
    /// Takes the lock if it is free.
    pub fn try_take(path: &Path, holder: &Holder) -> io::Result<Tried> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Tried::Taken(Self::mark(file, holder))),
            Err(TryLockError::WouldBlock) => Ok(Tried::Held(read(file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes the lock, and waits for it if need be; `on_wait` is told once who holds it.
    ///
    /// It blocks its thread. The kernel wakes waiters in the order in which they came.
    pub fn take(path: &Path, holder: &Holder, on_wait: impl FnOnce(Option<Holder>)) -> io::Result<Self> {
        match Self::try_take(path, holder)? {
            Tried::Taken(lock) => Ok(lock),
            Tried::Held(by) => {
                on_wait(by);
                let file = open(path)?;
                file.lock()?;
                Ok(Self::mark(file, holder))
            }
        }
    }

    /// Who held or holds it, as far as is written; for `status`, and true only while somebody does.
    pub fn holder(path: &Path) -> Option<Holder> {
        File::open(path).ok().and_then(read)
    }

    /// Who holds it is written for people. A full disk must not keep anybody from what the lock is for, such
    /// as bringing back what serves.
    fn mark(mut file: File, holder: &Holder) -> Self {
        let entry = serde_json::to_vec(holder).unwrap_or_default();
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&entry));
        if let Err(error) = written {
            tracing::warn!(%error, "who holds the lock could not be written");
        }
        Self { file }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody reads the entry of a lock that is free; it goes so that no one is misled. The lock itself
        // goes with the file, whatever becomes of this.
        let _ = self.file.set_len(0);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// `None` where the holder has not written yet, or is writing.
fn read(file: File) -> Option<Holder> {
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn holder(purpose: &str) -> Holder {
        Holder {
            pid: std::process::id(),
            purpose: purpose.to_owned(),
            deployment: Some("deployment-1".parse().unwrap()),
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_second_one_learns_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let Tried::Taken(lock) = Lock::try_take(&path, &holder("deploy 1.2.3, at some length")).unwrap()
        else {
            panic!("it was free")
        };
        let Tried::Held(by) = Lock::try_take(&path, &holder("rollback")).unwrap() else {
            panic!("it was held")
        };
        assert_eq!(by, Some(holder("deploy 1.2.3, at some length")));
        assert_eq!(Lock::holder(&path), by);
        drop(lock);
        assert_eq!(Lock::holder(&path), None);
        let Tried::Taken(_lock) = Lock::try_take(&path, &holder("short")).unwrap() else {
            panic!("it was free again")
        };
        assert_eq!(Lock::holder(&path), Some(holder("short")), "nothing is left of a longer entry");
    }

    #[test]
    fn a_waiting_process_learns_the_holder_and_gets_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::take(&path, &holder("deploy"), |_| panic!("nobody holds it")).unwrap();
        let (say, given) = mpsc::channel();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || Lock::take(&path, &holder("rollback"), |by| say.send(by).expect("heard"))
        });
        assert_eq!(given.recv().expect("it waits"), Some(holder("deploy")));
        drop(first);
        let _second = waiter.join().unwrap().expect("its turn came");
        assert_eq!(Lock::holder(&path), Some(holder("rollback")));
    }

    #[test]
    fn a_holder_that_has_not_written_is_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        for text in ["", "{", "{\"pid\":1"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Lock::holder(&path), None, "{text}");
        }
        assert_eq!(Lock::holder(&directory.path().join("none")), None);
    }
}
