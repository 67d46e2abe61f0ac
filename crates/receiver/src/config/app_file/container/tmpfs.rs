//! Directories in memory, with the options that Docker hands to the kernel (tmpfs(5), mount(8)).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::target::target;
use autotag_model::reference::ParseError;

/// A directory in memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tmpfs {
    target: PathBuf,
    options: Vec<String>,
}

/// Flags of which one excludes the other. Docker's own are `noexec`, `nosuid` and `nodev`.
const FLAGS: [[&str; 2]; 8] = [
    ["ro", "rw"],
    ["exec", "noexec"],
    ["suid", "nosuid"],
    ["dev", "nodev"],
    ["sync", "async"],
    ["atime", "noatime"],
    ["diratime", "nodiratime"],
    ["relatime", "strictatime"],
];

fn malformed<T>(expected: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(expected.into()))
}

/// `/tmp`, `/tmp:size=64m,mode=1777`.
pub(crate) fn short(text: &str) -> Result<Tmpfs, ParseError> {
    let (place, given) = match text.split_once(':') {
        Some((place, given)) => (place, Some(given)),
        None => (text, None),
    };
    let mut tmpfs = Tmpfs { target: target(place)?, options: Vec::new() };
    let mut seen = Vec::new();
    for word in given.into_iter().flat_map(|given| given.split(',')) {
        let kind = option(word)?;
        if seen.contains(&kind) {
            return malformed(format!("only one option for `{kind}`"));
        }
        seen.push(kind);
        tmpfs.options.push(word.to_owned());
    }
    tmpfs.options.sort();
    Ok(tmpfs)
}

/// What an option is about, where it is one.
fn option(word: &str) -> Result<&'static str, ParseError> {
    if let Some([first, _]) = FLAGS.iter().find(|flags| flags.contains(&word)) {
        return Ok(first);
    }
    let unknown = "options such as `size=64m`, `mode=1777`, `uid=1000`, `gid=1000`, `nr_inodes=10k`, `exec` \
                   or `ro` behind the path, with commas between them";
    let Some((name, value)) = word.split_once('=') else { return malformed(unknown) };
    let digits = |text: &str, radix: u32| {
        !text.is_empty() && text.len() <= 15 && text.chars().all(|letter| letter.is_digit(radix))
    };
    let amount = |text: &str| digits(text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(text), 10);
    let percent =
        |text: &str| text.strip_suffix('%').is_some_and(|number| digits(number, 10) && number.len() <= 3);
    match name {
        "size" if amount(value) || percent(value) => Ok("size"),
        "size" => {
            malformed("a `size` in bytes, with `k`, `m` or `g`, or a share of the memory such as `50%`")
        }
        "mode" if digits(value, 8) && value.len() <= 5 => Ok("mode"),
        "mode" => malformed("a `mode` in octal, such as `1777`"),
        "uid" if digits(value, 10) && value.parse::<u32>().is_ok() => Ok("uid"),
        "gid" if digits(value, 10) && value.parse::<u32>().is_ok() => Ok("gid"),
        "uid" | "gid" => malformed(format!("a number as `{name}`: the kernel knows no names")),
        "nr_inodes" if amount(value) => Ok("nr_inodes"),
        "nr_blocks" if amount(value) => Ok("nr_blocks"),
        "nr_inodes" | "nr_blocks" => malformed(format!(
            "a number as `{name}`, optionally with `k`, `m` or \
         `g`"
        )),
        _ => malformed(unknown),
    }
}

/// YAML has octal numbers of its own, so a plain `1777` could be meant either way.
pub(crate) fn long_mode(text: &str) -> Result<String, ParseError> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0')).unwrap_or_default();
    if digits.len() <= 4 && !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
        Ok(digits.to_owned())
    } else {
        malformed("")
    }
}

impl Tmpfs {
    /// As the long syntax says it.
    pub(crate) fn long(target: PathBuf, read_only: bool, size: Option<u64>, mode: Option<String>) -> Self {
        let mut options: Vec<String> = read_only.then(|| "ro".to_owned()).into_iter().collect();
        options.extend(size.map(|bytes| format!("size={bytes}")));
        options.extend(mode.map(|mode| format!("mode={mode}")));
        options.sort();
        Self { target, options }
    }

    /// Where.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Its options in the kernel's form; empty for none.
    pub fn options(&self) -> String {
        self.options.join(",")
    }
}

impl AsRef<Path> for Tmpfs {
    fn as_ref(&self) -> &Path {
        &self.target
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.options.is_empty() { "" } else { ":" };
        write!(f, "{}{gap}{}", self.target.display(), self.options())
    }
}

/// One without options has the form that it had before there were any: its hash is the same.
impl Serialize for Tmpfs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn directories_in_memory() {
        for (text, shown) in [
            ("/tmp", "/tmp"),
            ("/tmp:size=64m,mode=1777", "/tmp:mode=1777,size=64m"),
            ("/tmp:mode=1777,size=64m", "/tmp:mode=1777,size=64m"),
            ("/tmp:size=50%,uid=1000,gid=0,nr_inodes=10k", "/tmp:gid=0,nr_inodes=10k,size=50%,uid=1000"),
            ("/tmp:exec,rw,suid,dev,noatime", "/tmp:dev,exec,noatime,rw,suid"),
        ] {
            assert_eq!(short(text).unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "tmp",
            "/",
            "/tmp:",
            "/tmp:size",
            "/tmp:size=",
            "/tmp:size=64mb",
            "/tmp:size=1t",
            "/tmp:mode=8",
            "/tmp:mode=0o777",
            "/tmp:uid=root",
            "/tmp:size=1m,",
            "/tmp:size=1m,size=1m",
            "/tmp:ro,rw",
            "/tmp:nosuch",
            "/tmp:a:b",
            "/tmp:mpol=bind:0",
        ] {
            assert!(short(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(long_mode("0o1777"), Ok("1777".to_owned()));
        assert_eq!(long_mode("0755"), Ok("755".to_owned()));
        for text in ["1777", "0o", "0", "0o8", "0o77777"] {
            assert!(long_mode(text).is_err(), "{text:?} was accepted");
        }
    }

    proptest! {
        /// Docker takes what is behind the first colon for options: none of it may become a path.
        #[test]
        fn no_option_ends_in_the_path(text in "/[a-z]{1,5}(:[a-z=0-9,:%]{0,20})?") {
            if let Ok(tmpfs) = short(&text) {
                prop_assert!(!tmpfs.target().to_string_lossy().contains(':'));
                prop_assert_eq!(short(&tmpfs.to_string()), Ok(tmpfs));
            }
        }
    }
}
