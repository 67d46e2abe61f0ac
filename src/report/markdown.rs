//! Markdown of the summary: texts of others as text, code blocks, folded parts.

pub(super) const GOOD: &str = ":white_check_mark:";
pub(super) const BAD: &str = ":x:";

/// What fits a screen beside the rest: the end of a program's output says why it failed.
pub(super) fn excerpt(text: &str) -> String {
    const LINES: usize = 14;
    let lines: Vec<String> = text.lines().map(shortened).collect();
    if lines.len() <= LINES {
        return lines.join("\n");
    }
    let (begin, left_out) = (1, lines.len() - LINES);
    let note = format!("[{left_out} more lines: see below]");
    [&lines[..begin], &[note], &lines[begin + left_out..]].concat().join("\n")
}

pub(super) fn shortened(line: &str) -> String {
    const WIDTH: usize = 400;
    let kept: String = line.chars().take(WIDTH).collect();
    if kept.len() == line.len() { kept } else { kept + "\u{2026}" }
}

/// A part that is shown when somebody asks for it.
pub(super) fn folded(title: &str, text: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{text}\n</details>\n\n")
}

/// Text of others as a code block, in a fence longer than any in it.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}\n")
}

/// Text of others inside Markdown: nothing in it is markup but what stands between backticks, which is shown as
/// code, and it keeps to its line and cell.
pub(super) fn escaped(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return plain(text);
    }
    let part = |(index, part): (usize, &&str)| match index % 2 {
        0 => plain(part),
        _ => format!("<code>{}</code>", plain(part)),
    };
    parts.iter().enumerate().map(part).collect()
}

fn plain(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '$' => {
                safe.push('\\');
                safe.push(character);
            }
            // An `@name` in a summary would read as a mention.
            '@' => safe.push_str("&#64;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_text() {
        assert_eq!(escaped("a|b\n<img> `x` @me"), "a\\|b &lt;img&gt; <code>x</code> &#64;me");
        assert_eq!(escaped("a`<b>*`c"), "a<code>&lt;b&gt;\\*</code>c", "nor is it in code");
        assert_eq!(escaped("one ` alone"), "one \\` alone");
        assert_eq!(fenced("", "x\n````\ny"), "`````\nx\n````\ny\n`````\n");
    }

    #[test]
    fn an_excerpt_keeps_what_is_short_and_cuts_long_lines() {
        assert_eq!((excerpt("a\nb"), excerpt("")), ("a\nb".to_owned(), String::new()));
        assert_eq!(shortened(&"x".repeat(500)), "x".repeat(400) + "\u{2026}");
    }
}
