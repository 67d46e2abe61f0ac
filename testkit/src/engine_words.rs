//! An Engine's own words, which change with its version and its image store, taken out of a text.
//!
//! What a failure is shows in everything else: its kind, its section, its remedy. So nobody compares these.

/// From where to where an Engine speaks in our texts. The marks stay.
const WORDS: &[(&str, &str)] = &[
    // A failed step's, which names its command a second time.
    (" failed: executor failed running ", ": exit code:"),
    (" failed: process \"", ": exit code:"),
    // What a registry answered to it: for the image after FROM, and for a pull.
    ("load metadata for PRIVATE/org/base:1` failed: ", "\n"),
    ("failed at the step pull: pulling REGISTRY/org/app@", " Set the inputs"),
    ("failed at the step pull: pulling REGISTRY/org/app@", " Check the inputs"),
    ("failed at the step pull: pulling REGISTRY/org/app@", " The repository REGISTRY/org/app has no image"),
];

/// The same text with `ENGINE` for each.
pub fn without_engine_words(text: &str) -> String {
    WORDS.iter().fold(text.to_owned(), |text, (from, to)| {
        let mut reported = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(from) {
            let Some((words, _)) = after.split_once(to) else { break };
            // Only within a line, and not over the next such place.
            if words.contains('\n') || words.contains(from) {
                reported.push_str(&rest[..before.len() + from.len()]);
                rest = after;
                continue;
            }
            reported.push_str(before);
            reported.push_str(
                from.split_once(" failed: ")
                    .map_or(*from, |(start, _)| &from[..start.len() + " failed: ".len()]),
            );
            reported.push_str("ENGINE");
            rest = &after[words.len()..];
        }
        reported + rest
    })
}

#[test]
fn the_words_of_every_engine_become_the_same() {
    for (reported, calm) in [
        ("x failed: executor failed running [sh]: exit code: 3\nit", "x failed: ENGINE: exit code: 3\nit"),
        (
            "x failed: process \"sh -c x\" did not complete: exit code: 3\nit",
            "x failed: ENGINE: exit code: 3\nit",
        ),
        (
            "`load metadata for PRIVATE/org/base:1` failed: 401\nDone",
            "`load metadata for PRIVATE/org/base:1` failed: ENGINE\nDone",
        ),
        ("x failed: no such file\n: exit code: 3", "x failed: no such file\n: exit code: 3"),
    ] {
        assert_eq!(without_engine_words(reported), calm);
    }
}
