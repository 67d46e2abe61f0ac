//! Short texts with a grammar: commands, volumes, names, variables.

use autotag_model::reference::ParseError;
use autotag_model::secret::Secret;

/// The labels with this prefix say what a container is; an owner's would make them lie.
pub const LABEL_PREFIX: &str = "autotag-deploy.";

fn malformed<T>(expected: &str) -> Result<T, ParseError> {
    Err(ParseError(expected.to_owned()))
}

/// A name of Docker's: `[a-zA-Z0-9][a-zA-Z0-9_.-]*` (moby, `restrictedNameChars`).
pub(super) fn name(text: &str) -> Result<String, ParseError> {
    let fits = text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if fits { Ok(text.to_owned()) } else { malformed("a name of letters, digits, `_`, `.` and `-`") }
}

/// A network that exists. `host` and `none` are modes, and would take the container out of the proxy's reach.
pub(super) fn network(text: &str) -> Result<String, ParseError> {
    match text {
        "host" | "none" => malformed("a network by its name: the modes `host` and `none` are not offered"),
        _ => name(text),
    }
}

/// A capability, with or without `CAP_`.
pub(super) fn capability(text: &str) -> Result<String, ParseError> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        Ok(bare.to_owned())
    } else {
        malformed("a capability such as `NET_RAW`, or `ALL`")
    }
}

/// One word of plain signs.
pub(super) fn word(text: &str) -> Result<String, ParseError> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { malformed("a word without white space") }
}

/// One line of text that is not empty.
pub(super) fn line(text: &str) -> Result<String, ParseError> {
    if text.is_empty() || text.len() > 4096 || text.chars().any(char::is_control) {
        return malformed("");
    }
    Ok(text.to_owned())
}

/// The path part of a URL, with its query.
pub(super) fn url_path(text: &str) -> Result<String, ParseError> {
    let fits =
        text.starts_with('/') && text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && !text.contains('#') {
        Ok(text.to_owned())
    } else {
        malformed("a path that begins with `/`, such as `/healthz`")
    }
}

/// What a request of our own asks for: a name or an address, with a port or without.
pub(super) fn request_host(text: &str) -> Result<String, ParseError> {
    let fits = !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        malformed("a host such as `app.example.com`, without `https://` and without a path")
    }
}

/// A header of such a request and its value (RFC 9110, 5.1 and 5.5).
pub(super) fn request_header(name: &str, value: &str) -> Result<(String, Secret), ParseError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
        return malformed("a header's name, such as `X-Forwarded-Proto`");
    }
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "host" => return malformed("`host: NAME` beside `headers`, in place of a header `Host`"),
        "connection" | "content-length" | "transfer-encoding" | "upgrade" | "te" | "trailer" | "expect" => {
            return malformed("another header: the request has no body, and its connection is its own");
        }
        _ => {}
    }
    if value.len() > 4096 || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return malformed("a header value of visible ASCII characters");
    }
    Ok((name, Secret::verbatim(value.to_owned())))
}

/// A label and its value.
pub(super) fn label(name: &str, value: &str) -> Result<(String, String), ParseError> {
    if name.starts_with(LABEL_PREFIX) {
        return malformed("another label: those that begin with `autotag-deploy.` say what a container is");
    }
    if name.is_empty() || name.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return malformed("a label's name without white space");
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// A command in one text, split as a shell would split it: white space, quotes, backslashes. Nothing else
/// of a shell is there: what looks as if it were meant for one is refused rather than passed on.
pub(super) fn command(text: &str) -> Result<Vec<String>, ParseError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let into = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        None => return malformed("a command whose quotes are closed"),
                        Some(end) if end == letter => break,
                        Some('\\') if letter == '"' => into.extend(letters.next()),
                        Some(other) => into.push(other),
                    }
                }
            }
            '\\' => match letters.next() {
                None => return malformed("a command that does not end in a backslash"),
                Some(next) => word.get_or_insert_default().push(next),
            },
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '|' | '&' | ';' | '<' | '>' | '`' | '$' => {
                return malformed("a command without shell syntax; for a shell write `[sh, -c, \"...\"]`");
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.is_empty() { malformed("a command") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_by_a_shell() {
        for (text, words) in [
            ("serve --port 80", vec!["serve", "--port", "80"]),
            ("  a\t b\nc ", vec!["a", "b", "c"]),
            (r#"sh -c "a \"b\" c" '' 'x|y'"#, vec!["sh", "-c", "a \"b\" c", "", "x|y"]),
            (r"a\ b c\|d", vec!["a b", "c|d"]),
            (r#"'a\b' "a\b""#, vec![r"a\b", "ab"]),
            (r#"pre'mid'"post""#, vec!["premidpost"]),
        ] {
            assert_eq!(command(text), Ok(words.into_iter().map(str::to_owned).collect()), "{text}");
        }
        for text in ["", "  ", "'a", "\"a", "a\\", "a | b", "a && b", "a $HOME", "a > b", "`a`"] {
            assert!(command(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn texts_have_limits() {
        let of = |length: usize| "a".repeat(length);
        assert!(name(&of(128)).is_ok() && name(&of(129)).is_err());
        assert!(line(&of(4096)).is_ok() && line(&of(4097)).is_err());
        assert!(line("").is_err() && line("a\tb").is_err());
        let path = |length: usize| url_path(&format!("/{}", of(length - 1)));
        assert!(path(2048).is_ok() && path(2049).is_err());
        for text in ["", "-a", "_a", ".a", "a b", "a/b"] {
            assert!(name(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(name("9a_b.c-d"), Ok("9a_b.c-d".to_owned()));
        for text in ["", "a b", "a\u{1}b", "autotag-deploy.x"] {
            assert!(label(text, "").is_err(), "{text:?} was accepted");
        }
    }

    /// Each says what to write in its place.
    #[test]
    fn refused_values_are_explained() {
        let all = [
            crate::config::app_file::container::mounts::mount("/data").map(drop),
            network("host").map(drop),
            network("none").map(drop),
            command("a $HOME").map(drop),
            command("'a").map(drop),
            command("a\\").map(drop),
        ]
        .map(|refused| refused.expect_err("it is refused").0);
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn names_labels_and_paths() {
        assert_eq!(capability("cap_net_raw"), Ok("NET_RAW".to_owned()));
        assert_eq!(capability("ALL"), Ok("ALL".to_owned()));
        assert!(capability("NET RAW").is_err() && capability("").is_err());
        assert!(network("host").is_err() && network("web_1").is_ok());
        assert!(label("autotag-deploy.version", "9").is_err() && label("a.b", "").is_ok());
        assert!(url_path("/a?b=c").is_ok());
        for text in ["", "a", "http://x/", "/a b", "/a\n", "/\u{e4}", "/#a"] {
            assert!(url_path(text).is_err(), "{text:?} was accepted");
        }
    }
}
