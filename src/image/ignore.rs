//! `.dockerignore`: which paths of a build context stay at home.
//!
//! The rules are those of Docker's own clients (github.com/moby/patternmatcher and the ignore file
//! section of the Dockerfile reference), which differ from `.gitignore`: patterns are anchored at the
//! context's root, `*` never crosses a `/`, a pattern that hits a folder hits all inside, and the last
//! pattern that hits decides. No crate implements them.
//!
//! Docker turns a pattern into a regular expression and lets a few characters through that mean
//! something there: `|`, `{2}` and `^` beside a wildcard, wildcards inside `[...]`, and `\d` and its
//! kind. Here they mean what the documentation says, which is themselves. An unfinished `[` is an error
//! at once, where Docker says so only when the pattern is first used.

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
    /// The line as it stands in the file.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, `{}`: {}", self.line, self.text, self.why)
    }
}

/// What the patterns say of one path; its children need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    ignored: bool,
    /// Which patterns hit the path or a folder above it. Empty above the top level.
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
    /// Reads an ignore file.
    ///
    /// `#` starts a comment only in a line's first column; white space around a pattern and a byte
    /// order mark do not count; a leading `/` means the same as none.
    pub fn parse(file: &[u8]) -> Result<Self, BadPattern> {
        let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
        let mut patterns = Vec::new();
        for (index, line) in file.split(|byte| *byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            let text = readable(line);
            let pattern = Pattern::parse(&text, index + 1).map_err(|why| BadPattern {
                line: index + 1,
                text: String::from_utf8_lossy(line).trim().to_owned(),
                why,
            })?;
            patterns.extend(pattern);
        }
        Ok(Self { patterns })
    }

    /// What the patterns say of `path` (relative to the context, with `/`), where `parent` is the
    /// verdict on the folder it is in; [`Verdict::default`] at the top level.
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

    /// Whether something inside this ignored folder could be saved by a `!` pattern: if not, nobody
    /// needs to look.
    pub fn may_keep_inside(&self, folder: &[u8]) -> bool {
        let mut prefix = readable(folder);
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
    fn a_folder_is_skipped_only_where_nothing_in_it_can_be_kept() {
        for (file, folder, may_keep) in [
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
            assert_eq!(ignore.may_keep_inside(folder.as_bytes()), may_keep, "{folder} under {file:?}");
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
        let ignore = Ignore::parse(b"a\xFFb\n?\xFE\n").expect("patterns");
        for (path, ignored) in [(b"a\xFFb", true), (b"a\xFEb", false), (b"x\xFE\xFE", false)] {
            assert_eq!(ignore.judge_alone(path).is_ignored(), ignored, "{path:?}");
        }
        assert!(ignore.judge_alone(b"x\xFE").is_ignored());
    }

    #[test]
    fn no_pattern_is_slow() {
        let ignore = Ignore::parse(format!("{}z", "**/*a*".repeat(40)).as_bytes()).expect("a pattern");
        // Going back and forth, this would not end in anybody's lifetime.
        assert!(!ignore.judge_alone("a".repeat(4000).as_bytes()).is_ignored());
    }

    proptest! {
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

        /// Whatever is kept in an ignored folder would have been looked for.
        #[test]
        fn nothing_that_is_kept_is_skipped(file in "(!?[ab*/]{1,5}\n){1,5}", path in "[ab](/[ab]{1,2}){1,3}") {
            if let Ok(ignore) = Ignore::parse(file.as_bytes()) {
                let path = path.as_bytes();
                if !ignore.judge_alone(path).is_ignored() {
                    for end in (0..path.len()).filter(|index| path[*index] == b'/') {
                        let folder = &path[..end];
                        if ignore.judge_alone(folder).is_ignored() {
                            prop_assert!(ignore.may_keep_inside(folder));
                        }
                    }
                }
            }
        }
    }
}
