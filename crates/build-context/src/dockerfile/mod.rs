//! Finds the instruction of a Dockerfile that a BuildKit step came from, so that a failure names a line.
//!
//! BuildKit names its steps `[build 3/5] RUN make`: the stage, the place in it, and the instruction with
//! its variables filled in. That is a text for people, so the best fit counts, and none is no error.

mod arguments;

use std::collections::HashSet;

pub use arguments::{Asked, is_a_version};

/// The instructions of a Dockerfile, as far as they can be told apart by eye: nothing is checked here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dockerfile {
    instructions: Vec<Instruction>,
    /// The stages' names, in lower case.
    stages: Vec<Option<String>>,
    /// The line of `# syntax=`, and the image that it names.
    syntax: Option<(usize, String)>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The line it begins on, from 1.
    pub line: usize,
    /// The whole of it in one line, white space runs as one space, the lines of a here-document left out.
    pub text: String,
    /// From 0; what stands before the first FROM counts to the first stage.
    stage: usize,
    /// Its number among the steps of its stage, as BuildKit counts them.
    step: Option<usize>,
    has_here_document: bool,
}

impl Dockerfile {
    /// Reads what can be read; lines that make no sense become instructions that match nothing.
    pub fn parse(text: &str) -> Self {
        let escape = if has_backtick_directive(text) { '`' } else { '\\' };
        let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
        let mut stages = Stages::default();
        let mut instructions = Vec::new();
        while let Some((first, line)) = lines.next() {
            if is_blank_or_comment(first) {
                continue;
            }
            let mut whole = first.trim().to_owned();
            while whole.ends_with(escape) {
                let Some((next, _)) = lines.find(|(next, _)| !is_blank_or_comment(next)) else { break };
                whole.pop();
                whole.push_str(next.trim_end());
            }
            let here_documents = here_documents(&whole);
            for end in &here_documents {
                // Everything up to the end word; `<<-` strips tabs before it.
                lines.find(|(next, _)| next.trim_start_matches('\t').trim_end() == end);
            }
            let text = one_space(&whole);
            let step = stages.step(&text);
            let stage = stages.names.len().saturating_sub(1);
            instructions.push(Instruction {
                line,
                text,
                stage,
                step,
                has_here_document: !here_documents.is_empty(),
            });
        }
        Self { instructions, stages: stages.names, syntax: syntax(text) }
    }

    /// The instruction that BuildKit's step of this name came from.
    pub fn locate(&self, step_name: &str) -> Option<&Instruction> {
        let (place, text) = step_name.strip_prefix('[')?.split_once("] ")?;
        let (stage, number) = match place.rsplit_once(' ') {
            // `linux/arm64 build 3/5`: the stage is the word before the number, unless that is a platform.
            Some((before, number)) => (before.rsplit(' ').next().filter(|word| !word.contains('/')), number),
            None => (None, place),
        };
        let number: Option<usize> = number.split_once('/').and_then(|(number, _)| number.parse().ok());
        let text = one_space(text);
        let fit = |instruction: &Instruction| {
            let resemblance = instruction.resemblance(&text);
            let same_number = number.is_some() && instruction.step == number;
            (resemblance > 1 || (resemblance == 1 && same_number)).then_some((resemblance, same_number))
        };
        // The first of equals, so that without any number a repeated text names its first place.
        let candidates = self.instructions.iter().rev();
        candidates
            .filter(|instruction| stage.is_none_or(|stage| self.is_in(instruction, stage)))
            .filter_map(|instruction| Some((fit(instruction)?, instruction)))
            .max_by_key(|(fit, _)| *fit)
            .map(|(_, instruction)| instruction)
    }

    fn is_in(&self, instruction: &Instruction, stage: &str) -> bool {
        let name = self.stages.get(instruction.stage).and_then(Option::as_deref);
        name.is_some_and(|name| name.eq_ignore_ascii_case(stage))
            || stage.strip_prefix("stage-").is_some_and(|number| number.parse() == Ok(instruction.stage))
    }

    /// The line of the directive `# syntax=`, and the image that reads this file.
    pub fn syntax(&self) -> Option<(usize, &str)> {
        self.syntax.as_ref().map(|(line, image)| (*line, image.as_str()))
    }

    /// The instruction that a line of the file belongs to.
    pub fn at_line(&self, line: usize) -> Option<&Instruction> {
        self.instructions.iter().rev().find(|instruction| instruction.line <= line)
    }
}

impl Instruction {
    /// What a COPY or ADD takes from the context, as it is written; nothing for what has no plain names.
    pub fn copied_from_context(&self) -> Vec<&str> {
        let mut words = self.text.split(' ');
        let copies = words.next().is_some_and(|keyword| {
            keyword.eq_ignore_ascii_case("COPY") || keyword.eq_ignore_ascii_case("ADD")
        });
        let words: Vec<&str> = words.collect();
        if !copies || words.iter().any(|word| word.starts_with("--from=")) {
            return Vec::new();
        }
        let names = words.iter().filter(|word| !word.starts_with("--"));
        let mut names: Vec<&str> = names.map(|name| name.trim_matches(['[', ']', '"', ','])).collect();
        names.pop();
        names.into_iter().map(|name| name.trim_start_matches("./").trim_matches('/')).collect()
    }

    /// 3: the same text; 2: the same but for variables or a here-document; 1: the same keyword; 0: another.
    fn resemblance(&self, text: &str) -> u8 {
        let keyword = |text: &str| text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        if keyword(&self.text) != keyword(text) {
            return 0;
        }
        let arguments =
            |text: &str| text.split_once(' ').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        let (mine, theirs) = (arguments(&self.text), arguments(text));
        if mine == theirs {
            3
        } else if fits_with_variables(&mine, &theirs)
            || (self.has_here_document && theirs.starts_with(mine.as_str()))
        {
            2
        } else {
            1
        }
    }
}

/// The stages seen so far, and the count of steps in the current one.
#[derive(Default)]
struct Stages {
    names: Vec<Option<String>>,
    known: HashSet<String>,
    steps: usize,
}

impl Stages {
    /// The number of this instruction's step, if it makes one. FROM makes one unless it continues
    /// `scratch` or an earlier stage (BuildKit, frontend/dockerfile/dockerfile2llb).
    fn step(&mut self, text: &str) -> Option<usize> {
        let mut words = text.split(' ').filter(|word| !word.starts_with("--"));
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "FROM" => {
                let base = words.next().unwrap_or_default();
                let is_stage = self.known.contains(&base.to_ascii_lowercase());
                let named = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
                let name = words.next().filter(|_| named).map(str::to_ascii_lowercase);
                self.known.extend(name.clone());
                self.names.push(name);
                self.steps = usize::from(base != "scratch" && !is_stage);
                (self.steps == 1).then_some(1)
            }
            "RUN" | "COPY" | "ADD" | "WORKDIR" => {
                self.steps += 1;
                Some(self.steps)
            }
            _ => None,
        }
    }
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// `# escape=` followed by a backtick, among the comments at the very top.
fn has_backtick_directive(text: &str) -> bool {
    directive(text, "escape").is_some_and(|(_, value)| value == "`")
}

/// `# syntax=` followed by an image.
fn syntax(text: &str) -> Option<(usize, String)> {
    directive(text, "syntax")
        .map(|(line, image)| (line, image.to_owned()))
        .filter(|(_, image)| !image.is_empty())
}

/// The line and the value of a directive, `# key=value` among the comments at the very top.
fn directive<'a>(text: &'a str, wanted: &str) -> Option<(usize, &'a str)> {
    let comments =
        text.trim_start_matches('\u{feff}').lines().map_while(|line| line.trim().strip_prefix('#'));
    let mut pairs = (1..).zip(comments).filter_map(|(number, line)| Some((number, line.split_once('=')?)));
    let found = pairs.find(|(_, (key, _))| key.trim().eq_ignore_ascii_case(wanted));
    found.map(|(number, (_, value))| (number, value.trim()))
}

/// The end words of the here-documents that an instruction opens: `RUN <<EOF`, `COPY <<-"a" <<b /`.
fn here_documents(instruction: &str) -> Vec<String> {
    let keyword = instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    instruction
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("<<"))
        .map(|word| word.trim_start_matches('-').trim_matches(['"', '\'']))
        .filter(|word| word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_'))
        .map(str::to_owned)
        .collect()
}

fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `filled` can be `template` with each `$NAME` and `${...}` replaced by something.
fn fits_with_variables(template: &str, filled: &str) -> bool {
    let mut pieces = template.split('$');
    let Some(mut left) = pieces.next().and_then(|first| filled.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let fixed = match piece.strip_prefix('{') {
            Some(inside) => inside.split_once('}').map_or("", |(_, fixed)| fixed),
            None => piece.trim_start_matches(|next: char| next.is_ascii_alphanumeric() || next == '_'),
        };
        if pieces.peek().is_none() {
            return left.ends_with(fixed);
        }
        let Some(found) = left.find(fixed) else { return false };
        left = &left[found + fixed.len()..];
    }
    left.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO_STAGES: &str = "\
# syntax=docker/dockerfile:1
ARG BASE=alpine
FROM $BASE AS build
WORKDIR /src
COPY . .
RUN make   \\
    # a comment between
    all
RUN test

FROM scratch
COPY --from=build /src/app /app
COPY --from=build /src/${NAME}.conf /etc/
RUN <<EOF
echo one
RUN not an instruction
EOF
RUN test
RUN test
CMD [\"/app\"]
";

    #[test]
    fn a_step_is_found_by_stage_text_and_number() {
        let file = Dockerfile::parse(TWO_STAGES);
        for (step, line) in [
            ("[build 1/5] FROM docker.io/library/alpine", Some(3)),
            ("[build 2/5] WORKDIR /src", Some(4)),
            ("[build 4/5] RUN make     all", Some(6)),
            ("[linux/arm64 build 5/5] RUN test", Some(9)),
            ("[stage-1 1/5] COPY --from=build /src/app /app", Some(12)),
            ("[stage-1 2/5] COPY --from=build /src/web.conf /etc/", Some(13)),
            ("[stage-1 3/5] RUN <<EOF (echo one...)", Some(14)),
            ("[stage-1 4/5] RUN test", Some(18)),
            ("[stage-1 5/5] RUN test", Some(19)),
            ("[stage-1 5/5] run test", Some(19)),
            ("[stage-7 5/5] RUN test", None),
            ("[internal] load build context", None),
            ("exporting to image", None),
            ("[build 4/5] ADD nothing like it", None),
            // The text alone is enough where it fits; the keyword alone is not.
            ("[stage-1 9/9] COPY --from=build /src/web.conf /etc/", Some(13)),
            ("[stage-1 9/9] RUN <<EOF (echo one...)", Some(14)),
            ("[stage-1 9/9] RUN another", None),
            ("[build 9/9] RUN test and more", None),
        ] {
            assert_eq!(file.locate(step).map(|found| found.line), line, "{step}");
        }
        assert_eq!(file.locate("[build 4/5] RUN make all").expect("found").text, "RUN make all");
    }

    #[test]
    fn one_stage_has_no_name_and_a_backtick_may_escape() {
        let file = Dockerfile::parse("#escape=`\r\nFROM scratch\r\nCOPY a `\r\n  b\r\nCOPY c d\r\n");
        assert_eq!(file.locate("[1/2] COPY a   b").map(|found| found.line), Some(3));
        assert_eq!(file.locate("[2/2] COPY c d").map(|found| found.line), Some(5));
        assert_eq!(file.at_line(4).map(|found| found.line), Some(3));
        assert_eq!(file.at_line(1), None);
        // Another directive, or another character, changes nothing.
        for directive in ["# check=`", "# escape=\\"] {
            let file = Dockerfile::parse(&format!("{directive}\nRUN a `\nRUN b\n"));
            assert_eq!(file.locate("[2/2] RUN b").map(|found| found.line), Some(3), "{directive}");
        }
    }

    #[test]
    fn the_syntax_image_is_found_with_its_line() {
        for (text, syntax) in [
            ("# syntax=docker/dockerfile:1\nFROM a\n", Some((1, "docker/dockerfile:1"))),
            ("# escape=`\r\n#Syntax = x/y:2 \r\nFROM a\n", Some((2, "x/y:2"))),
            ("FROM a\n# syntax=x\n", None),
            ("\n# syntax=x\nFROM a\n", None),
            ("# syntax=\nFROM a\n", None),
        ] {
            assert_eq!(Dockerfile::parse(text).syntax(), syntax, "{text:?}");
        }
    }

    #[test]
    fn a_here_document_is_skipped_but_not_a_here_string() {
        let file = Dockerfile::parse("RUN <<_END\nRUN no\n_END\nRUN cat <<< word\nRUN yes\n");
        let lines: Vec<usize> = file.instructions.iter().map(|instruction| instruction.line).collect();
        assert_eq!(lines, [1, 4, 5]);
    }

    #[test]
    fn what_a_copy_takes_is_read() {
        for (text, names) in [
            ("COPY a ./b/ /c/ .", &["a", "b", "c"][..]),
            ("copy --chown=1:1 dist/app /", &["dist/app"]),
            ("ADD [\"a b\", \"x\", \"/\"]", &["a", "b", "x"]),
            ("COPY --from=build a /", &[]),
            ("RUN cp a b", &[]),
            ("COPY", &[]),
        ] {
            let file = Dockerfile::parse(text);
            assert_eq!(file.instructions[0].copied_from_context(), names, "{text}");
        }
    }

    #[test]
    fn variables_stand_for_anything() {
        for (template, filled, fits) in [
            ("a$X/b", "aZ/b", true),
            ("a${X:-1}b${Y}", "a2bq", true),
            ("$X", "", true),
            ("a$X", "b", false),
            ("$X-y", "x-z", false),
            ("plain", "plain more", false),
            // What one variable was followed by is not there for the next once more.
            ("$X/b$Y/b", "xxx/b", false),
            ("$X/b$Y/b", "xxx/by/b", true),
        ] {
            assert_eq!(fits_with_variables(template, filled), fits, "{template} {filled}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(file in "(FROM |RUN |<<E|\\\\|\\$\\{|[a-zé${}\\[\\]/ \\n]){0,40}", step in "\\[?[a-z0-9/ ]{0,8}\\]? .{0,20}") {
            Dockerfile::parse(&file).locate(&step);
        }
    }
}
