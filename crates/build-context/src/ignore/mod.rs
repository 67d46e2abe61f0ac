//! `.dockerignore`: which paths of a build context stay at home.
//!
//! The rules are those of Docker's own clients (github.com/moby/patternmatcher and the ignore file
//! section of the Dockerfile reference), which differ from `.gitignore`: patterns are anchored at the
//! context's root, `*` never crosses a `/`, a pattern that hits a directory hits all inside, and the last
//! pattern that hits decides. No crate implements them.
//!
//! Docker turns a pattern into a regular expression and lets a few characters through that mean
//! something there: `|`, `{2}` and `^` beside a wildcard, wildcards inside `[...]`, and `\d` and its
//! kind. Here they mean what the documentation says, which is themselves. An unfinished `[` is an error
//! at once, where Docker says so only when the pattern is first used.
//!
//! ```text
//! file    = [ EF BB BF ] line *( LF line )
//! line    = comment / blank / pattern
//! comment = "#" *byte           ; in the first column; any bytes but NUL
//! pattern = UTF-8               ; no NUL, no CR inside, no byte order mark
//! ```
//!
//! A line that is not in this grammar would match no path, and what it names would be in the image. So
//! a file in UTF-16 or Latin-1, with the line ends of old Macs, or joined from parts that each begin
//! with a byte order mark is an error that names the line.

mod pattern;

use std::fmt;

use self::pattern::Pattern;

/// The patterns of one ignore file, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

/// A line that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadPattern {
    /// Which line, from 1.
    pub line: usize,
    /// The line as it stands in the file; empty where it is no text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.why),
            text => write!(f, "line {}, `{text}`: {}", self.line, self.why),
        }
    }
}

/// What the patterns say of one path; its children need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    ignored: bool,
    /// Which patterns hit the path or a directory above it. Empty above the top level.
    hits: Vec<bool>,
    decided_by: Option<usize>,
}

impl Verdict {
    /// Whether the path stays at home.
    pub fn is_ignored(&self) -> bool {
        self.ignored
    }
}

impl Ignore {
    /// Reads an ignore file, of the grammar at the head of this module.
    ///
    /// White space around a pattern does not count; a leading `/` means the same as none.
    pub fn parse(file: &[u8]) -> Result<Self, BadPattern> {
        let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
        if [&b"\xFF\xFE"[..], b"\xFE\xFF", b"\0\0\xFE\xFF"].iter().any(|mark| file.starts_with(mark)) {
            return Err(BadPattern { line: 1, text: String::new(), why: UTF_16 });
        }
        let mut patterns = Vec::new();
        for (index, bytes) in file.split(|byte| *byte == b'\n').enumerate() {
            let line = index + 1;
            let no_text = |why| BadPattern { line, text: String::new(), why };
            if bytes.contains(&0) {
                return Err(no_text(NUL));
            }
            if bytes.starts_with(b"#") {
                continue;
            }
            let text = std::str::from_utf8(bytes).map_err(|_| no_text(NOT_UTF_8))?;
            let fault = |why| BadPattern { line, text: text.trim().to_owned(), why };
            if text.trim().contains('\r') {
                return Err(no_text(CARRIAGE_RETURN));
            }
            if text.contains('\u{feff}') {
                return Err(fault(MARK_INSIDE));
            }
            patterns.extend(Pattern::parse(text, line).map_err(fault)?);
        }
        Ok(Self { patterns })
    }

    /// What the patterns say of `path` (relative to the context, with `/`), where `parent` is the
    /// verdict on the directory it is in; [`Verdict::default`] at the top level.
    pub fn judge(&self, path: &[u8], parent: &Verdict) -> Verdict {
        let path = readable(path);
        let mut verdict = Verdict { hits: vec![false; self.patterns.len()], ..Verdict::default() };
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.hits.get(index).copied().unwrap_or_default();
            // A pattern that could not change the verdict is not asked, and is no hit for the
            // children either: this is how Docker's clients count.
            let hit = inherited || (pattern.exception == verdict.ignored && pattern.matches(&path));
            if hit {
                verdict.hits[index] = true;
                verdict.ignored = !pattern.exception;
                verdict.decided_by = Some(index);
            }
        }
        verdict
    }

    /// Whether something inside this ignored directory could be saved by a `!` pattern: if not, nobody
    /// needs to look.
    pub fn may_keep_inside(&self, dir: &[u8]) -> bool {
        let mut prefix = readable(dir);
        prefix.push('/');
        self.patterns.iter().any(|pattern| pattern.exception && pattern.may_continue(&prefix))
    }

    /// The verdict on a path whose parents nobody has judged yet.
    pub fn judge_alone(&self, path: &[u8]) -> Verdict {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        let mut verdict = Verdict::default();
        for end in ends.chain([path.len()]) {
            verdict = self.judge(&path[..end], &verdict);
        }
        verdict
    }

    /// The number of the line (from 1) that made the path ignored.
    pub fn line_that_ignores(&self, path: &[u8]) -> Option<usize> {
        let verdict = self.judge_alone(path);
        let index = verdict.decided_by.filter(|_| verdict.ignored)?;
        Some(self.patterns[index].line)
    }
}

const UTF_16: &str = "the file is UTF-16 text, as PowerShell's `>` writes it; expected UTF-8: save it again as UTF-8, \
                      for example by `Set-Content -Encoding utf8`";
const NUL: &str = "it has a NUL byte, as UTF-16 text has; expected UTF-8: save the file again as UTF-8";
const NOT_UTF_8: &str =
    "it is not UTF-8 (Latin-1, or another encoding); expected UTF-8: save the file again as UTF-8";
const CARRIAGE_RETURN: &str = "it has a carriage return inside; expected one pattern a line, ended by a line feed: save \
                               the file again with the line ends of Unix or Windows";
const MARK_INSIDE: &str =
    "it has a byte order mark inside; expected one at the file's start at most: delete this one";

/// Bytes as characters, so that `?` takes one of them; a byte that is not UTF-8 becomes a private
/// character of its own, so that names which differ stay different.
fn readable(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(0x10_FF00 + u32::from(*byte))));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the case shows, the ignore file, what it ignores, what it keeps. Every row was checked
    /// against moby/patternmatcher at commit 5a6d842.
    type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);
    const CASES: &[Case] = &[
        ("plain name hits at the root only", "a.txt", &["a.txt"], &["d/a.txt", "a.txt2", "xa.txt"]),
        (
            "a folder takes all inside",
            "node_modules",
            &["node_modules", "node_modules/x", "node_modules/x/y"],
            &["a/node_modules", "node_modules2"],
        ),
        (
            "a leading slash, `./`, a trailing slash and `..` are cleaned away",
            "/a/\n./b//c/.\nd/e/../f",
            &["a", "a/x", "b/c", "d/f"],
            &["b", "d/e", "d"],
        ),
        (
            "a star stays inside its folder",
            "*.log\nd/*/e",
            &["x.log", ".log", "d/x/e", "d/x/e/f"],
            &["d/x.log", "d/e", "d/x/y/e"],
        ),
        (
            "a question mark is one character, also a long one",
            "x?\nd/a?c",
            &["xé", "xx", "d/abc", "d/aéc"],
            &["x", "xxx", "d/ac", "d/a/c"],
        ),
        (
            "two stars at the start: any depth, or none",
            "**/b",
            &["b", "a/b", "a/b/c", "a/c/b"],
            &["ab", "a/cb", "a"],
        ),
        ("two stars without a slash end a name", "**.rs", &["a.rs", "d/e.rs", ".rs"], &["a.rsx", "a"]),
        (
            "two stars inside: any depth, or none",
            "a/**/b",
            &["a/b", "a/x/b", "a/x/y/b"],
            &["ab", "a/xb", "b"],
        ),
        ("two stars at the end spare the folder itself", "a/**", &["a/b", "a/b/c"], &["a", "ab"]),
        ("two stars alone are everything", "**", &["a", "a/b", ".x"], &[]),
        ("three stars", "a/***", &["a/b"], &["a", "ab"]),
        (
            "classes, ranges, negation",
            "[a-c]x\n[^a-c]y\n[\\-_]z",
            &["ax", "cx", "dy", "-z", "_z"],
            &["dx", "ay", "by", "az"],
        ),
        ("a negated class takes a slash", "a[^b]c", &["a/c", "axc"], &["abc"]),
        ("a closing bracket alone is itself", "a]", &["a]"], &["a"]),
        ("escapes", "\\*a\n\\!b\n\\#c", &["*a", "!b", "#c"], &["xa", "b", "c"]),
        ("the last hit decides", "*.md\n!README.md", &["a.md"], &["README.md"]),
        ("and the order counts", "!README.md\n*.md", &["README.md"], &[]),
        ("an exception inside an ignored folder", "d\n!d/keep", &["d", "d/x"], &["d/keep", "d/keep/y"]),
        ("an exception with a wildcard", "*\n!**/*.rs", &["a", "d", "d/x"], &["m.rs", "d/m.rs"]),
        (
            "an exception taken back",
            "*\n!src\nsrc/**/*.tmp",
            &["a", "src/a.tmp", "src/b/c.tmp"],
            &["src", "src/a"],
        ),
        (
            "comments only in the first column, white space does not count",
            "# no\n a # b \n\t\n  c\t\n#d",
            &["a # b", "c"],
            &["a", "#d", "d", "# no"],
        ),
        ("a byte order mark and Windows line ends", "\u{feff}a\r\n!a/b\r\n", &["a", "a/c"], &["a/b"]),
        ("space after the mark; two marks", "*\n! b\n!!c", &["a", "c"], &["b", "!c"]),
        ("the slash is cut off before the mark is looked for", "a\n/!a", &[], &["a"]),
        ("what names nothing inside hits nothing", "/\n.\n..\n../a\n", &[], &["a", ".a", "b/a"]),
        (
            "characters of regular expressions are plain",
            "a.b\n(c)\n$d+\n{e,f}*",
            &["a.b", "(c)", "$d+", "{e,f}x"],
            &["axb", "c", "d", "ex"],
        ),
    ];

    #[test]
    fn patterns_mean_what_they_mean_to_docker() {
        for (what, file, ignored, kept) in CASES {
            let ignore = Ignore::parse(file.as_bytes()).unwrap_or_else(|error| panic!("{what}: {error}"));
            for (paths, expected) in [(ignored, true), (kept, false)] {
                for path in *paths {
                    let got = ignore.judge_alone(path.as_bytes()).is_ignored();
                    assert_eq!(got, expected, "{what}: {path:?} under {file:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_named_with_its_line() {
        for (file, line, text) in [
            ("a\n!\n", 2, "!"),
            ("! ", 1, "!"),
            ("!/", 1, "!/"),
            ("# ok\n\n  a[  \n", 3, "a["),
            ("[]a]", 1, "[]a]"),
            ("[a-]", 1, "[a-]"),
            ("[b-a]", 1, "[b-a]"),
            ("[a\\", 1, "[a\\"),
            ("a\\", 1, "a\\"),
        ] {
            let error = Ignore::parse(file.as_bytes()).expect_err(file);
            assert_eq!((error.line, error.text.as_str()), (line, text));
            assert!(error.to_string().starts_with(&format!("line {line}, `{text}`: ")), "{error}");
        }
    }

    #[test]
    fn a_directory_is_skipped_only_if_nothing_is_kept() {
        for (file, directory, may_keep) in [
            ("d", "d", false),
            ("d\n!e", "d", false),
            ("d\n!d/e/f", "d", true),
            ("d\n!d/e/f", "d/e", true),
            ("d\n!d/e/f", "d/x", false),
            ("d\n!d/e*/f", "d/egg", true),
            ("d\n!d/*/f", "d/x/y", false),
            ("*\n!**/f", "any/where", true),
            ("*\n!a/**/f", "any/where", false),
            ("*\n!src/**", "src", true),
            ("*\n!src/**", "src/deep", true),
            ("*\n!src/**", "srcs", false),
        ] {
            let ignore = Ignore::parse(file.as_bytes()).expect(file);
            assert_eq!(ignore.may_keep_inside(directory.as_bytes()), may_keep, "{directory} under {file:?}");
        }
    }

    #[test]
    fn the_line_that_ignores_is_known() {
        let ignore = Ignore::parse(b"# first\n*.log\nd\n!d/keep\n").expect("patterns");
        for (path, line) in [("x.log", Some(2)), ("d/e/f", Some(3)), ("d/keep", None), ("y", None)] {
            assert_eq!(ignore.line_that_ignores(path.as_bytes()), line, "{path}");
        }
    }

    #[test]
    fn names_that_are_not_utf_8_stay_apart() {
        let ignore = Ignore::parse(b"a?b\n").expect("patterns");
        for (path, ignored) in [(&b"a\xFFb"[..], true), (b"a\xFEb", true), (b"a\xFE\xFEb", false)] {
            assert_eq!(ignore.judge_alone(path).is_ignored(), ignored, "{path:?}");
        }
    }

    // case A2
    #[test]
    fn a_non_utf_8_ignore_file_names_the_line() {
        let utf_16 = |text: &str, encode: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(encode).collect()
        };
        let (little, big) = (u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes as fn(u16) -> [u8; 2]);
        for (what, file, line) in [
            ("UTF-16 LE with a mark", utf_16("\u{feff}secret.env\r\n", little), 1),
            ("UTF-16 BE with a mark", utf_16("\u{feff}# keep\nsecret.env\n", big), 1),
            ("UTF-16 LE without", utf_16("secret.env\n", little), 1),
            ("UTF-16 BE without", utf_16("secret.env\n", big), 1),
            ("UTF-16 LE without, long characters first", utf_16("\u{4e2d}\u{6587}\n", little), 1),
            ("UTF-16 LE, a comment alone", utf_16("# nothing\n", little), 1),
            ("UTF-32 BE with a mark", b"\0\0\xFE\xFF\0\0\0a".to_vec(), 1),
            ("Latin-1", b"node_modules\nschl\xFCssel.env\n".to_vec(), 2),
            ("Latin-1 in an exception", b"*\n!\xE9t\xE9\n".to_vec(), 2),
            ("UTF-8 that is cut off", b"a\nb\xC3".to_vec(), 2),
            ("half of a surrogate pair", b"a\xED\xA0\x80\n".to_vec(), 1),
            ("a NUL byte", b"a\n\nsecret\0.env\n".to_vec(), 3),
            ("a NUL byte in a comment", b"a\n# \0\n".to_vec(), 2),
            ("line ends of old Macs", b"a\rsecret.env\r".to_vec(), 1),
            ("a second mark", "\u{feff}a\n\u{feff}secret.env\n".into(), 2),
        ] {
            let error = Ignore::parse(&file).expect_err(what);
            assert_eq!(error.line, line, "{what}: {error}");
            assert!(error.to_string().contains("expected "), "{what}: {error}");
        }
        // What Docker takes, and what harms nobody: comments of any bytes, one mark, line ends of Windows.
        let file = b"\xEF\xBB\xBF# f\xFCr den Bau\r\n  secret.env \r\n\r\n\xC3\xA9t\xC3\xA9\n";
        let ignore = Ignore::parse(file).expect("patterns");
        assert!(ignore.judge_alone(b"secret.env").is_ignored());
        assert!(ignore.judge_alone("\u{e9}t\u{e9}".as_bytes()).is_ignored());
    }

    #[test]
    fn no_pattern_is_slow() {
        let ignore = Ignore::parse(format!("{}z", "**/*a*".repeat(40)).as_bytes()).expect("a pattern");
        // Going back and forth, this would not end in anybody's lifetime.
        assert!(!ignore.judge_alone("a".repeat(4000).as_bytes()).is_ignored());
    }

    proptest! {
        /// Every name that is written as text is ignored, or its file is refused: never passed over.
        #[test]
        fn no_encoding_is_passed_over(name in "[a-z\u{e0}-\u{ff}\u{4e00}-\u{4eff}]{1,8}\\.env", encoding in 0..4) {
            let file: Vec<u8> = match encoding {
                0 => name.clone().into_bytes(),
                1 => name.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                2 => name.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => name.chars().map(|one| u8::try_from(u32::from(one)).unwrap_or(b'?')).collect(),
            };
            match Ignore::parse(&file) {
                Ok(ignore) => prop_assert!(ignore.judge_alone(name.as_bytes()).is_ignored(), "{name} passed"),
                Err(error) => prop_assert!(encoding > 0, "{error}"),
            }
        }

        #[test]
        fn no_bytes_panic(file in proptest::collection::vec(any::<u8>(), 0..80), path in "[a-c/.*]{0,20}") {
            if let Ok(ignore) = Ignore::parse(&file) {
                ignore.judge_alone(path.as_bytes());
                ignore.may_keep_inside(path.as_bytes());
            }
        }

        #[test]
        fn no_patterns_panic(
            file in proptest::collection::vec(proptest::sample::select(b"![]^\\-*?/.ab \n".as_slice()), 0..30),
            path in "[ab/.!^]{0,20}",
        ) {
            if let Ok(ignore) = Ignore::parse(&file) {
                ignore.judge_alone(path.as_bytes());
            }
        }

        #[test]
        fn a_path_hits_itself_and_all_below(path in "[a-z]{1,5}(/[a-zé ]{0,3}[a-z.-]*[a-z]){0,3}", below in "[a-z]{1,5}") {
            let ignore = Ignore::parse(path.as_bytes()).expect("no wildcards");
            prop_assert!(ignore.judge_alone(path.as_bytes()).is_ignored());
            let child = format!("{path}/{below}");
            prop_assert!(ignore.judge_alone(child.as_bytes()).is_ignored());
            let sibling = format!("{path}{below}");
            prop_assert!(!ignore.judge_alone(sibling.as_bytes()).is_ignored());
        }

        /// Whatever is kept in an ignored directory would have been looked for.
        #[test]
        fn nothing_that_is_kept_is_skipped(file in "(!?[ab*/]{1,5}\n){1,5}", path in "[ab](/[ab]{1,2}){1,3}") {
            if let Ok(ignore) = Ignore::parse(file.as_bytes()) {
                let path = path.as_bytes();
                if !ignore.judge_alone(path).is_ignored() {
                    for end in (0..path.len()).filter(|index| path[*index] == b'/') {
                        let dir = &path[..end];
                        if ignore.judge_alone(dir).is_ignored() {
                            prop_assert!(ignore.may_keep_inside(dir));
                        }
                    }
                }
            }
        }
    }
}
