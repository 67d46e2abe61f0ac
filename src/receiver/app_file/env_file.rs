//! Environment files, as Compose reads them, less interpolation: a `$` is a `$`.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::tree::Place;
use super::words::variable;
use crate::deploy::protocol::EnvironmentKey;
use crate::image::reference::Malformed;
use crate::secret::Secret;

/// Reads a file's text; all faults at once, none of which shows a value.
///
/// One `KEY=VALUE` a line; empty lines and those that begin with `#` are passed over. A value without quotes
/// ends at ` #` and loses white space at its ends; one in `'` is taken as it is; one in `"` knows `\n`, `\r`,
/// `\t`, `\"` and `\\`. A key that comes twice is a fault: one of the two would be lost in silence.
pub fn parse(text: &str) -> Result<BTreeMap<EnvironmentKey, Secret>, Vec<Fault>> {
    let mut variables = BTreeMap::new();
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read = match line.split_once('=') {
            Some((key, value)) => unquoted(value.trim()).and_then(|value| variable(key.trim_end(), &value)),
            None => Err(Malformed("`KEY=VALUE`".to_owned())),
        };
        let expected = match read {
            Ok((key, value)) if !variables.contains_key(&key) => {
                variables.insert(key, value);
                continue;
            }
            Ok((key, _)) => format!("each variable once; `{key}` stands here again"),
            Err(Malformed(expected)) => expected,
        };
        faults.push(Fault {
            place: Place { line: index + 1, column: 1 },
            key: String::new(),
            expected,
            found: None,
            example: "RUST_LOG=info".to_owned(),
        });
    }
    if faults.is_empty() { Ok(variables) } else { Err(faults) }
}

fn unquoted(text: &str) -> Result<String, Malformed> {
    let Some(quote) = text.chars().next().filter(|first| matches!(first, '\'' | '"')) else {
        let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
        // `KEY=# comment` has no value at all.
        return Ok(if text.starts_with('#') { String::new() } else { text[..end].trim_end().to_owned() });
    };
    let mut value = String::new();
    let mut letters = text[1..].chars();
    while let Some(letter) = letters.next() {
        match letter {
            end if end == quote => {
                let rest = letters.as_str().trim_start();
                return if rest.is_empty() || rest.starts_with('#') {
                    Ok(value)
                } else {
                    Err(Malformed("nothing behind the closing quote".to_owned()))
                };
            }
            '\\' if quote == '"' => match letters.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(same @ ('"' | '\\')) => value.push(same),
                Some(other) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(Malformed(
        "quotes that are closed on the same line (`\\n` in double quotes is a line break)".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_compose_reads_them() {
        for (line, value) in [
            ("A=1", "1"),
            ("  A = 1  ", "1"),
            ("A=", ""),
            ("A=# nothing", ""),
            ("A=a b # c", "a b"),
            ("A=a#b", "a#b"),
            ("A=b=c", "b=c"),
            ("A=$HOME", "$HOME"),
            ("A='a # \"b\" \\n'", "a # \"b\" \\n"),
            ("A=\"a\\nb\\\"\\\\ \\d\" # c", "a\nb\"\\ \\d"),
            ("A=it's", "it's"),
            ("A=1\r", "1"),
        ] {
            let read = parse(line).unwrap_or_else(|faults| panic!("{line:?}: {faults:?}"));
            assert_eq!(read[&"A".parse().unwrap()].reveal(), value, "{line:?}");
        }
        assert_eq!(parse("\n# a\n \nA=1\nB=2\n").map(|read| read.len()), Ok(2));
    }

    #[test]
    fn all_faults_are_told_and_no_value() {
        let faults =
            parse("A=1\nhunter2\nA=hunter2\nB='hunter2\nC=\"x\" hunter2\nD-E=hunter2\nexport F=hunter2\n")
                .expect_err("faults");
        let lines: Vec<usize> = faults.iter().map(|fault| fault.place.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7]);
        let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
