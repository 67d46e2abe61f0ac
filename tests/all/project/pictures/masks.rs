//! What is never the same in two runs, taken out of a text before it is compared.

use testkit::engine_words::without_engine_words;

/// Times, durations, sizes, digests, commits and ids become `_`; blanks that keep columns in line become one.
pub fn masked(text: &str) -> String {
    let text = without_engine_words(text);
    let text = without_internal_steps(&text);
    // How a build step ended stands in its group or below it, as it took long or not; which layers are there
    // already depends on the second in which directories were made.
    let ends =
        |line: &String| line != "done in _ s" && line != "cached" && !line.starts_with("pushed (layers sent");
    text.lines().map(line).filter(ends).collect::<Vec<_>>().join("\n")
}

/// What BuildKit reads before it builds, it reads side by side: the groups come in any order.
fn without_internal_steps(text: &str) -> String {
    const BEGIN: &str = "::group::[internal] ";
    const END: &str = "::endgroup::\n";
    let mut parts = text.split(BEGIN);
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| part.split_once(END).map_or(part, |(_, after)| after)).collect::<String>()
}

fn line(line: &str) -> String {
    // Where a failed request was asked is another address each time, and is left out of the pictures.
    let line = line.split(". The request went to http").next().unwrap_or_default();
    let masked = replaced(line, |sign| sign.is_ascii_alphanumeric() || ".:-".contains(sign), is_time);
    let masked = replaced(&masked, |sign| sign.is_ascii_alphanumeric() || sign == '.', varies);
    // Which steps took long enough to be told differs, too: `pull _ s, health _ s`.
    let cells = masked.split('|').map(|cell| if is_list_of_times(cell) { " " } else { cell });
    let masked = cells.collect::<Vec<_>>().join("|");
    let indent: String = masked.chars().take_while(|sign| *sign == ' ').collect();
    without_age(&(indent + &masked.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// The line with `_` for each word that is to be masked.
fn replaced(line: &str, in_word: impl Fn(char) -> bool, masks: impl Fn(&str) -> bool) -> String {
    let mut masked = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|sign| in_word(sign) != in_word(first)).unwrap_or(rest.len());
        masked.push_str(if masks(&rest[..end]) { "_" } else { &rest[..end] });
        rest = &rest[end..];
    }
    masked
}

/// A day, an hour, or both: `2026-01-31T12:34:56Z`.
fn is_time(word: &str) -> bool {
    let signs = |wanted: char| word.chars().filter(|sign| *sign == wanted).count();
    word.starts_with(|sign: char| sign.is_ascii_digit())
        && word.chars().all(|sign| sign.is_ascii_digit() || "TZ:.-".contains(sign))
        && (signs('-') == 2 || signs(':') == 2)
}

/// `just now`, `5 seconds ago`.
fn without_age(line: &str) -> String {
    let line = line.replace("just now", "_");
    let Some((before, after)) = line.split_once(" ago") else { return line };
    let mut words: Vec<&str> = before.split(' ').collect();
    words.truncate(words.len().saturating_sub(2));
    format!("{} _{after}", words.join(" "))
}

fn varies(word: &str) -> bool {
    is_id(word) || is_measure(word)
}

/// Of commits, digests, containers, deployments, guards.
fn is_id(word: &str) -> bool {
    let hex = |sign: u8| sign.is_ascii_digit() || (b'a'..=b'f').contains(&sign);
    word.len() >= 8 && word.bytes().all(hex)
}

/// `1.5`, `0.2s`, `12.34MB`, `70B`.
fn is_measure(word: &str) -> bool {
    let number = word.trim_end_matches(|sign: char| sign.is_ascii_alphabetic());
    let unit = &word[number.len()..];
    let with_point = number
        .split_once('.')
        .is_some_and(|(whole, part)| [whole, part].iter().all(|digits| is_digits(digits)));
    match unit {
        "" => with_point,
        "s" | "ms" | "B" | "kB" | "MB" => with_point || is_digits(number),
        _ => false,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|sign| sign.is_ascii_digit())
}

fn is_list_of_times(cell: &str) -> bool {
    cell.trim().split(", ").all(|item| item.split(' ').skip(1).eq(["_", "s"]))
}

#[test]
fn what_varies_is_masked_and_nothing_else() {
    let one = "| :x: 1.2.3 | `sha256:0123456789ab` | 1.5 s | pull 1.2 s, drain 0.1 s | run-7-1-0a1b2c3d";
    let other = "| :x: 1.2.3 | `sha256:ba9876543210` | 0.5 s |  | run-7-1-00000000";
    assert_eq!(masked(one), masked(other));
    assert_eq!(masked(one), "| :x: 1.2.3 | `sha256:_` | _ s | | run-7-1-_");
    assert_eq!(masked("  pull done in 12.1 s\ndone in 0.1 s\nx"), "  pull done in _ s\nx");
    let steps = "a\n::group::[internal] load x\nb\n::endgroup::\n::group::c\n::endgroup::\n";
    assert_eq!(masked(steps), "a\n::group::c\n::endgroup::");
    let ages = ["2026-11-25 14:19:54  8 seconds ago   1.4.0", "2026-11-26 11:02:03  just now   1.4.0"];
    assert_eq!(masked(ages[0]), masked(ages[1]));
    assert_ne!(masked("1.2.3"), masked("1.2.4"), "versions count");
    assert_ne!(masked("gave 503"), masked("gave 200"), "numbers count");
}
