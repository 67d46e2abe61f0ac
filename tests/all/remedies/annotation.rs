//! What a failed run tells, as people read it.

use autotag_model::help::Topic;

use crate::action::workflow::Finished;
use testkit::engine_words::without_engine_words;

/// It failed with this exit code and exactly one annotation, which is titled and linked after its topic. The text
/// is the snapshot of that name, with these words replaced first.
#[track_caller]
pub fn annotated(run: &Finished, code: i32, topic: Topic, name: &str, replaced: &[(&str, &str)]) {
    assert_eq!(run.code, Some(code), "{run}");
    let annotations = run.annotations("error");
    let [annotation] = annotations.as_slice() else { panic!("{} annotations: {run}", annotations.len()) };
    let (title, text) = text_of(annotation);
    assert_eq!(title, topic.heading(), "{run}");
    assert!(text.ends_with(&format!("\nMore: {}", topic.link())), "{run}");
    assert!(run.summary.contains(&topic.link()), "the summary has no link: {}", run.summary);
    insta::assert_snapshot!(name, calm(&text, replaced));
}

/// The title and the text of `::error title=TITLE::TEXT`, as the runner reads them.
pub fn text_of(annotation: &str) -> (String, String) {
    let rest = annotation.split_once(" title=").expect("a title").1;
    let (title, text) = rest.split_once("::").expect("a text");
    let plain = |text: &str| {
        let signs = [("%0A", "\n"), ("%0D", "\r"), ("%3A", ":"), ("%2C", ","), ("%25", "%")];
        signs.iter().fold(text.to_owned(), |text, (code, sign)| text.replace(code, sign))
    };
    (plain(title), plain(text))
}

/// The same text whatever the machine gave: digests and commits are HEX, ports and other long numbers N.
pub fn calm(text: &str, replaced: &[(&str, &str)]) -> String {
    let text = replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let text = without_engine_words(&without_container(&text));
    let mut calm = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        let hex = word.chars().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase());
        let number = word.chars().all(|digit| digit.is_ascii_digit());
        calm.push_str(match word.as_str() {
            _ if hex && word.len() >= 12 && !number => "HEX",
            _ if number && word.len() >= 4 => "N",
            word => word,
        });
        word.clear();
        if character != '\0' {
            calm.push(character);
        }
    }
    calm
}

/// Docker gives a container another address each time.
fn without_container(text: &str) -> String {
    let mut parts = text.split("The request went to http://");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let port = part.find(':').unwrap_or(0);
        format!("{text}The request went to http://CONTAINER{}", &part[port..])
    })
}

#[test]
fn what_changes_from_run_to_run_is_replaced() {
    let text = "web at 127.0.0.1:41234, sha-0123456789ab of ed25519, exit code 137, 1.2.3";
    assert_eq!(
        calm(text, &[("web", "HOST")]),
        "HOST at 127.0.0.1:N, sha-HEX of ed25519, exit code 137, 1.2.3"
    );
}

#[test]
fn annotations_are_read_as_the_runner_reads_them() {
    let line = autotag_deploy::report::commands::annotation(
        autotag_deploy::pipeline::progress::Severity::Error,
        "a: b, c",
        "100%\n::x",
    );
    assert_eq!(text_of(&line), ("a: b, c".to_owned(), "100%\n::x".to_owned()));
}
