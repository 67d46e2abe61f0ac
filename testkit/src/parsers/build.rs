//! What a build reads: the Dockerfile and its ignore file.

use autotag_build_context::dockerfile::Dockerfile;
use autotag_build_context::ignore::Ignore;

use super::{Entry, first_line, large, text};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "dockerignore",
        check: dockerignore,
        words: &[
            "a", "b", "/", "*", "**", "**/", "?", "!", "\n", "[ab]", "[^a]", "[", "\\", "..", ".", "#", " ",
        ],
        large: |size| {
            let long = "a".repeat(300);
            let mut all = large::plain(size);
            all.push(large::framed(&format!("{long}\n"), "**/", "a*a*a*a*a*b", size / 40));
            all.push(large::framed(&format!("{long}\n"), "a*", "b", size / 40));
            all.push(large::framed("a/a\n", "!a*\n**/a\n", "", size));
            all.push(large::framed("a/a\n", "../", "a", size));
            all.push(large::framed("a/a\n[", "a-b", "]", size));
            all
        },
    },
    Entry {
        name: "dockerfile",
        check: dockerfile,
        words: &[
            "FROM ",
            "scratch",
            " AS ",
            "build",
            "\n",
            "RUN ",
            "COPY ",
            "--from=build ",
            "<<EOF",
            "EOF",
            "\\\n",
            "$X",
            "${X:-1}",
            "# escape=`\n",
            "`\n",
            "[build 1/2] ",
            "make",
            "#",
            " ",
            "WORKDIR /",
        ],
        large: |size| {
            let half = "b".repeat(size / 2);
            let mut all = large::plain(size);
            all.push(large::framed("[1/2] RUN a\nRUN a \\\n", "\\\n", "b", size));
            all.push(large::framed("[a 1/2] RUN a\n", "FROM a AS a\n", "", size));
            all.push(large::framed(&format!("[a 1/2] RUN a\nFROM a AS {half}\n"), "RUN\n", "", size / 2));
            all.push(large::framed("[1/2] RUN a\nRUN ", "<<A ", "\n", size));
            all.push(large::framed("[1/2] RUN aaaaaaaaaaaaab\nRUN ", "$a", "\n", size));
            all
        },
    },
];

/// The first line is a path, the others are the ignore file.
fn dockerignore(bytes: &[u8]) {
    let (path, file) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let ignore = match Ignore::parse(file) {
        Ok(ignore) => ignore,
        Err(bad) => {
            let line = file.split(|byte| *byte == b'\n').nth(bad.line - 1).expect("the line is there");
            return assert!(text(line).contains(&bad.text), "line {} is another", bad.line);
        }
    };
    let unmarked = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    for line in unmarked.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")) {
        assert!(std::str::from_utf8(line).is_ok_and(|line| !line.contains('\0')), "a line that hits nothing");
    }
    let verdict = ignore.judge_alone(path);
    assert_eq!(ignore.line_that_ignores(path).is_some(), verdict.is_ignored());
    assert!(!ignore.judge_alone(b"").is_ignored() || file.contains(&b'*'), "the context itself");
    if !verdict.is_ignored() {
        for end in (0..path.len()).filter(|at| path[*at] == b'/').take(50) {
            let directory = &path[..end];
            if ignore.judge_alone(directory).is_ignored() {
                assert!(ignore.may_keep_inside(directory), "what is kept would not be looked for");
            }
        }
    }
    if let (Ok(path), Ok(file)) = (std::str::from_utf8(path), std::str::from_utf8(file))
        && let Some(expected) = plainly_ignored(file, path)
    {
        assert_eq!(verdict.is_ignored(), expected, "{path:?} under {file:?}");
    }
}

/// The same question answered in the simplest way, for short files of letters, `/`, `*`, `?` and `!`.
fn plainly_ignored(file: &str, path: &str) -> Option<bool> {
    let clean = |path: &str| !path.split('/').any(str::is_empty);
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_lowercase() || more.contains(c));
    if file.len() > 60 || path.len() > 20 || !plain(path, "/") || !clean(path) {
        return None;
    }
    let mut patterns = Vec::new();
    for line in file.split('\n').filter(|line| !line.is_empty()) {
        let (keep, pattern) = line.strip_prefix('!').map_or((false, line), |pattern| (true, pattern));
        // Three stars are read as two and one.
        if !plain(pattern, "/*?") || !clean(pattern) || pattern.contains("***") {
            return None;
        }
        patterns.push((keep, pattern));
    }
    // A pattern hits a path, and whatever is below one that it hits; the last one that hits decides. One that
    // would say what is said already is not asked, and its hits do not count further down.
    let mut hits = vec![false; patterns.len()];
    let mut ignored = false;
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        ignored = false;
        for (hit, (keep, pattern)) in hits.iter_mut().zip(&patterns) {
            *hit = *hit || (*keep == ignored && plainly_hits(pattern, &path[..end]));
            if *hit {
                ignored = !keep;
            }
        }
    }
    Some(ignored)
}

/// `**text` without another wildcard is an end, of directories' names too.
fn plainly_hits(pattern: &str, path: &str) -> bool {
    match pattern.strip_prefix("**").filter(|end| !end.contains(['*', '?'])) {
        Some(end) => path.ends_with(end) || end.strip_prefix('/') == Some(path),
        None => plainly_fits(pattern.as_bytes(), path.as_bytes()),
    }
}

fn plainly_fits(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*'] | [b'*', b'*', b'/'] => true,
        [b'*', b'*', b'/', rest @ ..] | [b'*', b'*', rest @ ..] => {
            let after_folders = (0..path.len()).filter(|at| path[*at] == b'/').map(|at| at + 1);
            [0].into_iter().chain(after_folders).any(|at| plainly_fits(rest, &path[at..]))
        }
        [b'*', rest @ ..] => {
            let name = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=name).any(|taken| plainly_fits(rest, &path[taken..]))
        }
        [first, rest @ ..] => match path {
            [next, left @ ..] => {
                (first == next || (*first == b'?' && *next != b'/')) && plainly_fits(rest, left)
            }
            [] => false,
        },
    }
}

/// The first line is the name of a step, the others are the Dockerfile.
fn dockerfile(bytes: &[u8]) {
    let text = text(bytes);
    let (step, file) = first_line(&text);
    let read = Dockerfile::parse(file);
    let lines = file.lines().count();
    if let Some(found) = read.locate(step) {
        assert!((1..=lines).contains(&found.line), "line {} of {lines}", found.line);
        assert_eq!(read.at_line(found.line), Some(found));
        let keyword = |text: &str| text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        assert!(
            step.to_ascii_uppercase().contains(&keyword(&found.text)),
            "{step:?} is not {:?}",
            found.text
        );
        assert!(!found.text.contains("  ") && !found.text.contains('\n'));
        for name in found.copied_from_context() {
            assert!(found.text.contains(name) && !name.starts_with('/') && !name.ends_with('/'));
        }
    }
}
