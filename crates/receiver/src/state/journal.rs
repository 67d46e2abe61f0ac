//! The audit trail: one JSON line for each thing that happened. It decides nothing; the state does. (Where the
//! state's file is missing, `missing_state` reads here that there was one.)

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use autotag_protocol::{DeploymentId, End, RolloutStep};

/// A journal is put aside at this size; so many that were put aside are kept.
pub(crate) const LIMITS: (u64, u32) = (8 * 1024 * 1024, 4);

/// The longest entry that is read back, in bytes; what is longer was not written by this program.
const LONGEST: u64 = 256 * 1024;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// In which deployment, if in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Entries of later releases may be of other kinds and have more fields, so reading is
/// lenient: what is not known counts as foreign, not as damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// A request came in.
    Asked {
        /// The word and what it is about: `deploy 1.2.3`.
        request: String,
        /// The user who asked, as the kernel says.
        user: String,
        /// A run's address, as the caller says.
        run: String,
    },
    /// A step begins.
    Began {
        /// Which.
        step: RolloutStep,
    },
    /// A step ended.
    Ended {
        /// Which.
        step: RolloutStep,
        /// How long it took.
        milliseconds: u64,
        /// Why it failed, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
    /// The receiver goes on after a crash, a restart, or an unfinished ending.
    Recovers {
        /// From which phase.
        phase: String,
    },
    /// A request was answered.
    Answered {
        /// How.
        end: End,
    },
    /// Something that a person should know.
    Noted {
        /// What.
        text: String,
    },
}

/// What a journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalReading {
    /// The entries, the oldest first.
    pub entries: Vec<Entry>,
    /// Lines that are none, or of a kind that this release does not know.
    pub foreign: usize,
    /// Whether the last line was cut short: the machine or the disk failed while it was written.
    pub torn: bool,
}

/// A journal that is written to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    size: u64,
    /// It is put aside when it has grown to so many bytes.
    limit: u64,
    /// So many files that were put aside are kept.
    kept: u32,
}

impl Journal {
    /// Opens or begins one. A last line that was cut short is closed, so that it spoils no other.
    pub fn open(path: &Path, limit: u64, kept: u32) -> io::Result<Self> {
        let mut file = append_to(path)?;
        let mut size = file.metadata()?.len();
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok(Self { path: path.to_owned(), file, size, limit, kept })
    }

    /// Adds an entry with one write, so that entries never mix, and has it on the disk before it returns.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.size > 0 && self.size + line.len() as u64 > self.limit {
            self.rotate()?;
        }
        self.file.write_all(&line)?;
        self.size += line.len() as u64;
        self.file.sync_data()
    }

    /// `journal` becomes `journal.1`, that `journal.2`, and the last of them goes.
    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..=self.kept).rev() {
            let from = if number == 1 { self.path.clone() } else { aside(&self.path, number - 1) };
            match std::fs::rename(from, aside(&self.path, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.kept == 0 {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// A journal's files that are there: its own, and those that were put aside.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let all = std::iter::once(path.to_owned()).chain((1..).map(|number| aside(path, number)));
    // Numbers are not left out; its own may be missing for a moment.
    all.enumerate().take_while(|(number, file)| *number == 0 || file.exists()).map(|(_, file)| file).collect()
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Reads a journal. A missing one is empty: it was put aside or removed, and nothing rests on it.
pub fn read(path: &Path) -> io::Result<JournalReading> {
    match File::open(path) {
        Ok(file) => read_from(BufReader::new(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(JournalReading::default()),
        Err(error) => Err(error),
    }
}

/// Reads a journal's text. It holds one line at a time, and no more of it than an entry may have.
pub fn read_from(mut file: impl BufRead) -> io::Result<JournalReading> {
    let mut reading = JournalReading::default();
    let mut line = Vec::new();
    let mut continued = false;
    loop {
        line.clear();
        if (&mut file).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(reading);
        }
        let whole = line.last() == Some(&b'\n');
        let entry = if continued { None } else { serde_json::from_slice(&line).ok() };
        match entry {
            Some(entry) if whole => reading.entries.push(entry),
            _ if !whole && (line.len() as u64) < LONGEST => reading.torn = true,
            _ if whole => reading.foreign += 1,
            _ => {}
        }
        continued = !whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry {
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            deployment: Some("deployment-1".parse().unwrap()),
            what: What::Noted { text: text.to_owned() },
        }
    }

    fn journal() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.jsonl");
        (directory, path)
    }

    #[test]
    fn entries_go_round() {
        let (_directory, path) = journal();
        let kinds = [
            What::Asked {
                request: "deploy 1.2.3".to_owned(),
                user: "autotag-app".to_owned(),
                run: String::new(),
            },
            What::Began { step: RolloutStep::Pull },
            What::Ended { step: RolloutStep::Pull, milliseconds: 7, failed: Some("no".to_owned()) },
            What::Recovers { phase: "pending".to_owned() },
            What::Answered {
                end: End::Failed {
                    step: autotag_protocol::Open::Known(RolloutStep::Pull),
                    code: autotag_protocol::FailureCode::NoImage.into(),
                    message: "a\nb".to_owned(),
                },
            },
            What::Noted { text: String::new() },
        ];
        let entries = kinds.map(|what| Entry { what, ..entry("") });
        // Opened for each: what a restarted receiver does.
        for entry in &entries {
            Journal::open(&path, 1 << 20, 1).unwrap().append(entry).unwrap();
        }
        let reading = read(&path).unwrap();
        assert_eq!(reading, JournalReading { entries: entries.to_vec(), foreign: 0, torn: false });
    }

    #[test]
    fn a_torn_line_costs_itself_only() {
        let (_directory, path) = journal();
        Journal::open(&path, 1 << 20, 1).unwrap().append(&entry("one")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            let torn = [whole.as_slice(), &whole[..cut]].concat();
            std::fs::write(&path, &torn).unwrap();
            let reading = read(&path).unwrap();
            assert_eq!((reading.entries.len(), reading.torn), (1, true), "cut at {cut}");
            Journal::open(&path, 1 << 20, 1).unwrap().append(&entry("two")).unwrap();
            let reading = read(&path).unwrap();
            let last = reading.entries.last().map(|entry| entry.what.clone());
            assert_eq!(last, Some(What::Noted { text: "two".to_owned() }), "cut at {cut}");
            assert!(!reading.torn, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_ours_is_counted() {
        let (_directory, path) = journal();
        let known = serde_json::to_string(&entry("x")).unwrap();
        let more = known.replacen('{', r#"{"new-field":1,"#, 1);
        let later = r#"{"at":"2026-01-02T03:04:05Z","what":"of-a-later-release"}"#;
        let long = "y".repeat(usize::try_from(LONGEST).unwrap() * 2 + 5);
        std::fs::write(&path, format!("{known}\n{later}\n\n{long}\n{more}\n")).unwrap();
        let reading = read(&path).unwrap();
        assert_eq!((reading.entries.len(), reading.foreign, reading.torn), (2, 3, false));
    }

    #[test]
    fn truncated_or_missing_it_goes_on() {
        let (_directory, path) = journal();
        assert_eq!(read(&path).unwrap(), JournalReading::default());
        let mut journal = Journal::open(&path, 1 << 20, 1).unwrap();
        journal.append(&entry("one")).unwrap();
        File::create(&path).unwrap();
        journal.append(&entry("two")).unwrap();
        assert_eq!(
            read(&path).unwrap(),
            JournalReading { entries: vec![entry("two")], foreign: 0, torn: false }
        );
    }

    #[test]
    fn it_is_put_aside_by_size() {
        let (directory, path) = journal();
        let length = serde_json::to_vec(&entry("0")).unwrap().len() as u64 + 1;
        let mut journal = Journal::open(&path, 2 * length, 2).unwrap();
        for number in 0..9 {
            journal.append(&entry(&number.to_string())).unwrap();
        }
        let texts = |path: &Path| {
            let entries = read(path).unwrap().entries;
            entries
                .iter()
                .map(|entry| serde_json::to_value(entry).unwrap()["text"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&path), ["8"]);
        assert_eq!(texts(&aside(&path, 1)), ["6", "7"]);
        assert_eq!(texts(&aside(&path, 2)), ["4", "5"]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}
