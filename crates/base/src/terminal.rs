//! What a terminal is shown, and when: colours, and lines that are drawn over. Both programs ask here.

/// What a text is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// What matters most.
    Strong,
    /// It went well.
    Good,
    /// It failed.
    Bad,
    /// To be looked at.
    Warning,
    /// Less important than the rest.
    Faint,
}

/// The text in its colour (ECMA-48, SGR), or as it is.
pub fn paint(colour: bool, tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Strong => "1",
        Tone::Good => "32",
        Tone::Bad => "1;31",
        Tone::Warning => "1;33",
        Tone::Faint => "2",
        Tone::Plain => return text.to_owned(),
    };
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Whether colours are wanted: on a terminal, unless `NO_COLOR` (no-color.org), `CLICOLOR=0` or
/// `TERM=dumb` says otherwise; elsewhere only by `FORCE_COLOR` or `CLICOLOR_FORCE`.
pub fn wants_colour(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let forced = |name| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
    if set("NO_COLOR") {
        return false;
    }
    let off = || variable("CLICOLOR").as_deref() == Some("0") || is_dumb(&variable);
    forced("FORCE_COLOR") || forced("CLICOLOR_FORCE") || (terminal && !off())
}

/// Whether what stands there may be drawn over, as progress bars do. That takes more than colour, so nothing
/// forces it; and who sets `NO_COLOR` gets no escape sequence at all.
pub fn may_draw(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let plain = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    terminal && !plain && !is_dumb(&variable)
}

fn is_dumb(variable: &impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").as_deref() == Some("dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_bars_follow_terminal_and_environment() {
        // Terminal, environment; colours, bars.
        for (terminal, set, colour, draws) in [
            (true, &[][..], true, true),
            (false, &[], false, false),
            (true, &[("NO_COLOR", "1")], false, false),
            (true, &[("NO_COLOR", "")], true, true),
            (true, &[("NO_COLOR", "1"), ("FORCE_COLOR", "1")], false, false),
            (true, &[("TERM", "dumb")], false, false),
            (true, &[("CLICOLOR", "0")], false, true),
            (false, &[("FORCE_COLOR", "1")], true, false),
            (false, &[("CLICOLOR_FORCE", "1")], true, false),
            (false, &[("CLICOLOR_FORCE", "0")], false, false),
        ] {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(wants_colour(terminal, variable), colour, "{terminal} {set:?}");
            assert_eq!(may_draw(terminal, variable), draws, "{terminal} {set:?}");
        }
    }

    #[test]
    fn without_colour_a_text_stays_as_it_is() {
        assert_eq!(paint(false, Tone::Bad, "x"), "x");
        assert_eq!(paint(true, Tone::Bad, "x"), "\u{1b}[1;31mx\u{1b}[0m");
    }
}
