//! Which build arguments a Dockerfile asks for, and which of them are its own.
//!
//! An argument that is given replaces every default of that name in the whole file. `ARG VERSION=3.20`
//! before `FROM alpine:${VERSION}` is another version than the release's, and given it would name a base
//! image that does not exist. So an argument is given only where what is built asks for it:
//!
//! ```text
//! what is built = the target (or the last stage), what it continues, what it copies or mounts from
//! asks          = an ARG of that name there, or in what stands before the first FROM
//!                 and in a FROM of what is built
//! its own       = a default that means something: a value in a FROM, or one that `is_own` says so of
//! ```

use super::{Dockerfile, Instruction};

/// What a Dockerfile says about an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing that is built asks for it.
    No,
    /// It is asked for.
    Yes,
    /// The Dockerfile has a value of its own for it.
    Own {
        /// Where, from 1.
        line: usize,
        /// The instruction.
        text: String,
    },
}

/// Whether a default is a version, rather than a word such as `dev` or `0.0.0` for builds without one.
pub fn is_a_version(default: &str) -> bool {
    let numbers = default.trim_start_matches(['v', 'V']);
    let numbers =
        numbers.split(|next: char| !next.is_ascii_digit() && next != '.').next().unwrap_or_default();
    default.contains('$')
        || (numbers.starts_with(|first: char| first.is_ascii_digit())
            && numbers.contains(|digit: char| digit.is_ascii_digit() && digit != '0'))
}

/// One ARG.
struct Argument {
    default: Option<String>,
}

impl Dockerfile {
    /// What is said about an argument where this target is built.
    pub fn asks_for(&self, name: &str, target: Option<&str>, is_own: impl Fn(&str) -> bool) -> Asked {
        let built = self.built_for(target);
        let (before, stages) = self.instructions.split_at(self.first_from());
        let in_what_is_built = |instruction: &&Instruction| built.contains(&instruction.stage);
        let own =
            |instruction: &Instruction| Asked::Own { line: instruction.line, text: instruction.text.clone() };
        let global = before.iter().filter_map(|it| Some((it, it.argument(name)?))).next_back();
        let from_uses_it = stages
            .iter()
            .filter(in_what_is_built)
            .any(|instruction| instruction.is("FROM") && refers_to(&instruction.text, name));
        if let Some((instruction, Argument { default: Some(_) })) = &global
            && from_uses_it
        {
            return own(instruction);
        }
        let mut asked = global.is_some() && from_uses_it;
        let means_something = |argument: &Argument| argument.default.as_deref().is_some_and(&is_own);
        let inherited = global.as_ref().filter(|(_, argument)| means_something(argument));
        for instruction in stages.iter().filter(in_what_is_built) {
            let Some(argument) = instruction.argument(name) else { continue };
            if means_something(&argument) {
                return own(instruction);
            }
            if let (None, Some((global, _))) = (&argument.default, inherited) {
                return own(global);
            }
            asked = true;
        }
        if asked { Asked::Yes } else { Asked::No }
    }

    /// Whether there is a stage that a target of this name, or number, means.
    pub fn has_stage(&self, target: &str) -> bool {
        self.stage_of(target, self.stages.len()).is_some()
    }

    /// The names of the stages that have one, in their order.
    pub fn stage_names(&self) -> Vec<&str> {
        self.stages.iter().flatten().map(String::as_str).collect()
    }

    /// Whether one of the instructions that are meant has this variable in it.
    pub fn uses(&self, name: &str, meant: impl Fn(&str) -> bool) -> bool {
        self.instructions.iter().any(|it| meant(&it.text) && refers_to(&it.text, name))
    }

    fn first_from(&self) -> usize {
        self.instructions
            .iter()
            .position(|instruction| instruction.is("FROM"))
            .unwrap_or(self.instructions.len())
    }

    /// The stage of this name or number among the first so many.
    fn stage_of(&self, name: &str, among: usize) -> Option<usize> {
        let among = among.min(self.stages.len());
        let named = self.stages[..among]
            .iter()
            .rposition(|stage| stage.as_deref().is_some_and(|stage| stage.eq_ignore_ascii_case(name)));
        named.or_else(|| name.parse().ok().filter(|number| *number < among))
    }

    /// The target's stage, and all that it is made from.
    fn built_for(&self, target: Option<&str>) -> Vec<usize> {
        let last = self.stages.len().saturating_sub(1);
        let target = target.and_then(|target| self.stage_of(target, self.stages.len())).unwrap_or(last);
        let mut built = vec![target];
        let mut next = 0;
        while let Some(stage) = built.get(next).copied() {
            next += 1;
            let stages = &self.instructions[self.first_from()..];
            for name in stages.iter().filter(|it| it.stage == stage).flat_map(Instruction::taken_from) {
                // A name that a variable makes may be any.
                let found: Vec<usize> = if name.contains('$') {
                    (0..stage).collect()
                } else {
                    self.stage_of(name, stage).into_iter().collect()
                };
                for stage in found {
                    if !built.contains(&stage) {
                        built.push(stage);
                    }
                }
            }
        }
        built
    }
}

impl Instruction {
    fn is(&self, keyword: &str) -> bool {
        self.text.split(' ').next().is_some_and(|first| first.eq_ignore_ascii_case(keyword))
    }

    /// What this says about an argument, if it is an ARG of that name.
    fn argument(&self, name: &str) -> Option<Argument> {
        if !self.is("ARG") {
            return None;
        }
        // Several names may stand in one instruction; the last one of a name counts.
        let mut words = words(&self.text).into_iter().skip(1).rev();
        let of_name = |word: String| match word.split_once('=') {
            Some((key, default)) => (key == name).then(|| Argument { default: Some(default.to_owned()) }),
            None => (word == name).then_some(Argument { default: None }),
        };
        words.find_map(of_name)
    }

    /// The stages or images that it takes something from.
    fn taken_from(&self) -> Vec<&str> {
        let mut words = self.text.split(' ');
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "FROM" => words.find(|word| !word.starts_with("--")).into_iter().collect(),
            "COPY" | "ADD" => words.filter_map(|word| word.strip_prefix("--from=")).collect(),
            "RUN" => words
                .take_while(|word| word.starts_with("--"))
                .filter_map(|word| word.strip_prefix("--mount="))
                .flat_map(|mount| mount.split(',').filter_map(|part| part.strip_prefix("from=")))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The words of an instruction, without their quotes; white space inside of quotes belongs to the word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for character in text.chars() {
        match (quote, character) {
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => word.push(character),
        }
    }
    words.push(word);
    words
}

/// Whether `$NAME` or `${NAME...}` stands in a text.
fn refers_to(text: &str, name: &str) -> bool {
    text.split('$').skip(1).any(|after| {
        let after = after.strip_prefix('{').unwrap_or(after);
        let is_letter = |next: char| next.is_ascii_alphanumeric() || next == '_';
        after.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is special, the Dockerfile, the target, and whether the argument is given; a number is the line of the
    /// Dockerfile's own value.
    type Asking = (&'static str, &'static str, Option<&'static str>, &'static str);

    const ONE_STAGE: &[Asking] = &[
        ("nobody asks", "FROM scratch\nCOPY . /\n", None, "no"),
        ("the only stage", "FROM scratch\nARG VERSION\n", None, "yes"),
        ("in lower case", "from scratch\narg VERSION\n", None, "yes"),
        ("a word as default", "FROM scratch\nARG VERSION=dev\n", None, "yes"),
        ("no version as default", "FROM scratch\nARG VERSION=v0.0.0-dev\n", None, "yes"),
        ("an empty default", "FROM scratch\nARG VERSION=\"\"\n", None, "yes"),
        ("a version as default", "FROM scratch\nARG VERSION=1.2.3\n", None, "2"),
        ("in quotes", "FROM scratch\nARG VERSION='v3'\n", None, "2"),
        ("made from another", "FROM scratch\nARG VERSION=${OTHER}\n", None, "2"),
        ("among others", "FROM scratch\nARG A=1 VERSION B=\"x y\"\n", None, "yes"),
        ("among others, with a default", "FROM scratch\nARG A \\\n  VERSION=4 B\n", None, "2"),
        ("other names", "FROM scratch\nARG VERSION_CODE\nARG APP_VERSION=1\nARG version\n", None, "no"),
        ("of the base image", "ARG VERSION=1\nFROM busybox:${VERSION}\n", None, "1"),
        ("of the base image, by a word", "ARG VERSION=latest\nFROM busybox:$VERSION\n", None, "1"),
        (
            "of the base image, asked for too",
            "ARG VERSION=1\nFROM busybox:$VERSION\nARG VERSION\n",
            None,
            "1",
        ),
        ("of the base image, without default", "ARG VERSION\nFROM org/base:$VERSION\n", None, "yes"),
        ("another name in FROM", "ARG VERSION=dev\nFROM a:$VERSION_OF_A\nARG VERSION\n", None, "yes"),
        ("inherited", "ARG VERSION=7\nFROM scratch\nARG VERSION\n", None, "1"),
        ("inherited, a word", "ARG VERSION=dev\nFROM scratch\nARG VERSION\n", None, "yes"),
        ("before FROM alone", "ARG VERSION=7\nFROM scratch\n", None, "no"),
        ("in a here-document", "FROM a\nRUN <<EOF\nARG VERSION\nEOF\n", None, "no"),
        ("no stage at all", "ARG VERSION=1\n", None, "no"),
        ("nothing", "", None, "no"),
    ];

    const STAGES: &[Asking] = &[
        (
            "a stage that is copied from",
            "FROM a AS b\nARG VERSION\nFROM scratch\nCOPY --from=b /x /\n",
            None,
            "yes",
        ),
        ("by its number", "FROM a\nARG VERSION\nFROM scratch\nCOPY --from=0 /x /\n", None, "yes"),
        ("a stage that is continued", "FROM a AS b\nARG VERSION\nFROM B\n", None, "yes"),
        (
            "a stage that is mounted",
            "FROM a AS b\nARG VERSION\nFROM c\nRUN --mount=type=bind,from=b x\n",
            None,
            "yes",
        ),
        ("a stage that is not built", "FROM a AS b\nARG VERSION\nFROM scratch\n", None, "no"),
        (
            "a default that is not built",
            "FROM a AS b\nARG VERSION=3\nFROM scratch\nARG VERSION\n",
            None,
            "yes",
        ),
        (
            "a tool's version beside the application's",
            "FROM a AS tool\nARG VERSION=3\nFROM scratch\nARG VERSION\nCOPY --from=tool /x /\n",
            None,
            "2",
        ),
        ("the target", "FROM a AS b\nARG VERSION\nFROM scratch\n", Some("b"), "yes"),
        ("not the target", "FROM a AS b\nFROM scratch\nARG VERSION\n", Some("B"), "no"),
        ("a target that is not there: the last", "FROM scratch\nARG VERSION\n", Some("nope"), "yes"),
    ];

    // case A13
    #[test]
    fn an_argument_is_given_where_a_built_stage_declares_it() {
        for (what, file, target, expected) in [ONE_STAGE, STAGES].concat() {
            let asked = match Dockerfile::parse(file).asks_for("VERSION", target, is_a_version) {
                Asked::No => "no".to_owned(),
                Asked::Yes => "yes".to_owned(),
                Asked::Own { line, .. } => line.to_string(),
            };
            assert_eq!(asked, expected, "{what}: {file:?}");
        }
    }

    #[test]
    fn any_default_counts_where_the_caller_says_so() {
        let file = Dockerfile::parse("FROM scratch\nARG SOURCE_DATE_EPOCH=0\n");
        let own = |default: &str| !default.is_empty();
        assert!(matches!(file.asks_for("SOURCE_DATE_EPOCH", None, own), Asked::Own { line: 2, .. }));
    }

    #[test]
    fn stages_are_known_by_name_and_number() {
        let file = Dockerfile::parse("FROM a AS Build\nFROM b\nFROM c AS run\n");
        assert_eq!(file.stage_names(), ["build", "run"]);
        for (target, there) in
            [("build", true), ("BUILD", true), ("run", true), ("2", true), ("3", false), ("b", false)]
        {
            assert_eq!(file.has_stage(target), there, "{target}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(file in "(FROM |AS |ARG |VERSION|COPY |--from=|[0-9]|[a-c=$\"{} \n]){0,40}", target in "[a-c0-9]{0,2}") {
            let file = Dockerfile::parse(&file);
            file.asks_for("VERSION", Some(&target), is_a_version);
            file.has_stage(&target);
        }
    }
}
