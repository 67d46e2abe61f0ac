//! Text that others wrote, made fit to be shown: in a log, on a terminal, in a summary.
//!
//! Three kinds of characters do not show themselves and change what is shown around them:
//!
//! - control characters (C0, DEL and C1): they move the cursor, erase lines, and begin commands to the
//!   terminal; C1 is a second spelling of these in one character;
//! - the line and paragraph separators, at which a reader sees a line begin that the program did not;
//! - the marks of the bidirectional algorithm (Unicode, UAX 9), which show a text in another order than
//!   a program reads it: what follows U+202E is shown backwards.

/// What becomes of a text's own lines and colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// One line: breaks become spaces.
    Line,
    /// Several lines.
    Lines,
    /// The output of a program: lines, tabs and colours stay, other control characters go.
    Output,
}

/// Whether a character changes how others are shown, and shows nothing itself.
pub fn misleads(character: char) -> bool {
    character.is_control() || is_invisible_mark(character)
}

fn is_invisible_mark(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text without what misleads. A mark becomes U+FFFD, so that one sees that something was there.
pub fn fit(text: &str, fit: Fit) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        match (fit, character) {
            (Fit::Output, '\u{1b}') => {
                let is_colour;
                (length, is_colour) = sequence(rest);
                kept.push_str(if is_colour { &rest[..length] } else { "" });
            }
            (Fit::Lines | Fit::Output, '\n') | (Fit::Output, '\t') => kept.push(character),
            (Fit::Output, '\r') => kept.push('\n'),
            (Fit::Output, control) if control.is_control() => {}
            (_, control) if control.is_control() => kept.push(' '),
            (_, mark) if is_invisible_mark(mark) => kept.push('\u{fffd}'),
            _ => kept.push(character),
        }
        rest = &rest[length..];
    }
    kept
}

/// How long the escape sequence is that the text begins with (ECMA-48, 5.4), and whether it sets colours:
/// `ESC [ 1;31 m`. Of what is no whole sequence the first character alone counts.
fn sequence(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    if bytes.get(1) != Some(&b'[') {
        return (1, false);
    }
    let parameters = bytes[2..].iter().take_while(|byte| (0x30..=0x3f).contains(*byte)).count();
    let between = bytes[2 + parameters..].iter().take_while(|byte| (0x20..=0x2f).contains(*byte)).count();
    let end = 2 + parameters + between;
    match bytes.get(end) {
        Some(b'm') if between == 0 => {
            let of_colours = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b';' | b':');
            (end + 1, bytes[2..end].iter().all(of_colours))
        }
        Some(0x40..=0x7e) => (end + 1, false),
        _ => (1, false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // case X9
    #[test]
    fn what_misleads_is_taken_out_or_shown_as_such() {
        for (text, line, lines, output) in [
            ("plain é 中 🎉", "plain é 中 🎉", "plain é 中 🎉", "plain é 中 🎉"),
            ("a\nb\tc", "a b c", "a\nb c", "a\nb\tc"),
            ("a\r\u{7f}\u{8}b", "a   b", "a   b", "a\nb"),
            (
                "x\u{202e}dmc\u{2066}y",
                "x\u{fffd}dmc\u{fffd}y",
                "x\u{fffd}dmc\u{fffd}y",
                "x\u{fffd}dmc\u{fffd}y",
            ),
            (
                "\u{200f}\u{61c}\u{2028}",
                "\u{fffd}\u{fffd}\u{fffd}",
                "\u{fffd}\u{fffd}\u{fffd}",
                "\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("\u{9b}2J\u{85}x", " 2J x", " 2J x", "2Jx"),
            ("\u{1b}[1;31mred\u{1b}[0m", " [1;31mred [0m", " [1;31mred [0m", "\u{1b}[1;31mred\u{1b}[0m"),
            ("\u{1b}[2J\u{1b}[1Agone", " [2J [1Agone", " [2J [1Agone", "gone"),
            ("\u{1b}[?25l\u{1b}[>4;1m!", " [?25l [>4;1m!", " [?25l [>4;1m!", "!"),
            ("\u{1b}]0;title\u{7}x", " ]0;title x", " ]0;title x", "]0;titlex"),
            ("cut\u{1b}[1;3", "cut [1;3", "cut [1;3", "cut[1;3"),
            ("cut\u{1b}", "cut ", "cut ", "cut"),
        ] {
            for (kind, expected) in [(Fit::Line, line), (Fit::Lines, lines), (Fit::Output, output)] {
                assert_eq!(fit(text, kind), expected, "{text:?} {kind:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_misleads_is_left(text in "\\PC*[\\x00-\\x1f\\x7f-\\u{9f}\\u{200b}-\\u{2070}\\[0-9;m]{0,40}\\PC*") {
            prop_assert!(!fit(&text, Fit::Line).chars().any(misleads));
            prop_assert!(!fit(&text, Fit::Lines).chars().any(|one| misleads(one) && one != '\n'));
            let output = fit(&text, Fit::Output);
            let kept = |one: char| matches!(one, '\n' | '\t' | '\u{1b}');
            let strange = output.chars().any(|one| misleads(one) && !kept(one));
            let colours = output.split('\u{1b}').skip(1).all(|after| after.starts_with('[') && after.contains('m'));
            prop_assert!(!strange && colours, "left: {:?}", output);
            prop_assert_eq!(fit(&output, Fit::Output), output);
        }

        #[test]
        fn what_is_plain_stays(text in "[ -~é中🎉]{0,40}") {
            for kind in [Fit::Line, Fit::Lines, Fit::Output] {
                prop_assert_eq!(fit(&text, kind), text.clone());
            }
        }
    }
}
