//! The pictures are of these very texts: `scripts/pictures` writes down what it has rendered.

use autotag_model::reference::Digest;

use super::directory;

/// Whether `rendered.txt` has a line for this text: its SHA-256, and a name.
fn is_rendered(record: &str, text: &str, name: &str) -> bool {
    let digest = Digest::of(text.as_bytes());
    let hash = digest.as_str().trim_start_matches("sha256:");
    record.lines().any(|line| line.split_once("  ") == Some((hash, name)))
}

// invariant failures-are-explained: A picture is of its text; broken by: `docs/pictures/released.md`: another
//   digit
#[test]
fn each_picture_was_rendered_from_its_text() {
    let record = std::fs::read_to_string(directory().join("rendered.txt")).expect("what was rendered");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory()).expect("docs/pictures") {
        let picture = entry.expect("an entry").path();
        if picture.extension().is_none_or(|ending| ending != "png") {
            continue;
        }
        seen += 1;
        let source = ["md", "log", "txt"].map(|ending| picture.with_extension(ending));
        let source = source.into_iter().find(|path| path.exists()).expect("a picture has its text");
        let name = source.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&source).expect("a text");
        assert!(is_rendered(&record, &text, &name), "{name} has changed: run scripts/pictures");
        let size = picture.metadata().expect("a file").len();
        assert!(size < 100_000, "{}: {size} bytes are many for a README", picture.display());
    }
    assert!(seen >= 4, "{seen} pictures");
}

/// GitHub draws them, and shows an error in their place where one is wrong. `scripts/pictures` has drawn these.
#[test]
fn each_diagram_was_rendered() {
    let record = std::fs::read_to_string(directory().join("rendered.txt")).expect("what was rendered");
    let mut seen = 0;
    for (document, text) in crate::project::docs::documents() {
        for diagram in text.split("\n```mermaid\n").skip(1) {
            seen += 1;
            let diagram = diagram.split("\n```").next().expect("an end");
            let name = format!("a diagram of {document}");
            assert!(is_rendered(&record, diagram, &name), "run scripts/pictures for:\n{diagram}");
        }
    }
    assert!(seen >= 2, "{seen} diagrams");
}
