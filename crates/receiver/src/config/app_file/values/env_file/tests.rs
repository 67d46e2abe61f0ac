use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use autotag_model::secret::Secret;

fn value(text: &str) -> String {
    let read = parse(text).unwrap_or_else(|faults| panic!("{text:?}: {faults:?}"));
    assert_eq!(read.len(), 1, "{text:?}");
    read.values().next().unwrap().reveal().to_owned()
}

fn reported(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(read) => panic!("{text:?} was accepted: {:?}", read.keys()),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn values_are_read_as_compose_reads_them() {
    for (text, expected) in [
        ("A=1", "1"),
        ("\u{feff}A=1", "1"),
        ("export A=1", "1"),
        ("  A = 1  ", "1"),
        ("A: 1", "1"),
        ("A=", ""),
        ("A=#ff0000", "#ff0000"),
        ("A=a b # c", "a b"),
        ("A=a#b", "a#b"),
        ("A=b=c", "b=c"),
        ("A=a\\n", "a\\n"),
        ("A=a\t#b", "a\t#b"),
        ("A=a$$b", "a$b"),
        ("A=5$", "5$"),
        ("A='a # \"b\" \\n $B ${B}'", "a # \"b\" \\n $B ${B}"),
        ("A='it\\'s'", "it's"),
        ("A=\"a\\nb\\\"\\\\ \\d\" # c", "a\nb\"\\ \\d"),
        ("A=\"a\\$b\"", "a$b"),
        ("A=\"\\\\\"", "\\"),
        ("A=it's", "it's"),
        ("A=1\r\n", "1"),
        ("A=\"1\n2\n\n3\"", "1\n2\n\n3"),
        ("A='1\n# 2\n3'#", "1\n# 2\n3"),
        ("A=${B:-b}", "b"),
        ("A=${B-}", ""),
        ("A=x${B:+b}y", "xy"),
        ("A=${B:-${C:-{c}}}d", "{c}d"),
    ] {
        assert_eq!(value(text), expected, "{text:?}");
    }
    assert_eq!(parse("\n# a\n \nA=1\nB=2\n").map(|read| read.len()), Ok(2));
}

#[test]
fn variables_come_from_app_file_lines_above_or_earlier_files() {
    let own = parse("OWN=own").unwrap();
    let before = parse("BEFORE=before\nABOVE=no\nOWN=no").unwrap();
    let read = parse_after(
        "ABOVE=above\nA=$OWN-${ABOVE}-\"x\"-$BEFORE\nB=\"${A:?}\"\nC=${OWN:+c}\nD=${OWN+${ABOVE}}",
        &own,
        &before,
    )
    .unwrap_or_else(|faults| panic!("{faults:?}"));
    let values: Vec<&str> = read.values().map(Secret::reveal).collect();
    assert_eq!(values, ["own-above-\"x\"-before", "above", "own-above-\"x\"-before", "c", "above"]);
}

#[test]
fn names_may_have_dots() {
    let read = parse("discovery.type=single-node\na-b=1\nlist[0]=x\n").unwrap();
    assert_eq!(read[&"discovery.type".parse().unwrap()].reveal(), "single-node");
}

#[test]
fn what_compose_guesses_or_loses_is_a_fault() {
    let all = [
        "A",
        "export A",
        "some words",
        "=1",
        "export =1",
        "A B=1",
        "set A=1",
        "A\tB=1",
        "1A=1",
        "\u{e4}=1",
        "A:B=1",
        "A= # b",
        "A=\"${B:-x\ny}\"",
        "A=1\nA=2",
        "A=1\rB=2",
        "A='1' 2",
        "A='1",
        "A=\"1\\\"",
        "A=\"\\0101\"",
        "A=\0",
        "A=$B",
        "A=${B}",
        "A=${B:?x}",
        "A=${b}",
        "A=${}",
        "A=${B:-c",
        "A=${B*}",
    ]
    .map(|text| {
        let reported = reported(text);
        assert_eq!(reported.len(), 1, "{text:?}: {reported:?}");
        format!("{text:?}\n    {}", reported[0])
    });
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn all_faults_are_reported_with_lines_but_no_values() {
    let faults = parse(
        "A=1\nhunter2\nA=hunter2\nB='\nhunter2'\nC=\"x\" \
         hunter2\n1D=hunter2\nE=pa$hunter2\nF='hunter2\nhunter2\nG=$hunter2",
    )
    .expect_err("faults");
    let lines: Vec<usize> = faults.iter().map(|fault| fault.place.line).collect();
    assert_eq!(lines, [2, 3, 6, 7, 8, 9, 11]);
    let reported = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(!reported.contains("hunter2"), "{reported}");
}

#[test]
fn a_file_that_is_no_text_names_the_line() {
    assert_eq!(text_of(b"A=1\n".to_vec()).as_deref(), Ok("A=1\n"));
    let reported = |bytes: &[u8]| text_of(bytes.to_vec()).expect_err("no text").to_string();
    assert!(reported(b"A=1\nB=\xff").starts_with("line 2, column 1: expected a file in UTF-8: save it"));
    assert!(reported(b"\xff\xfeA\0").contains("this one is in UTF-16"));
}

/// Each line is twice as long as the one before.
#[test]
fn values_that_double_come_to_an_end() {
    let mut text = "A0=0123456789\n".to_owned();
    for number in 1..40 {
        writeln!(text, "A{number}=$A{0}$A{0}", number - 1).unwrap();
    }
    assert!(reported(&text)[0].contains("128 KiB"));
    let many: String = (0..100)
        .fold(format!("A={}\n", "x".repeat(100_000)), |text, number| text + &format!("B{number}=$A\n"));
    assert!(reported(&many)[0].contains("at most 1048576 bytes"));
    let deep = format!("A={}x{}", "${B:-".repeat(20), "}".repeat(20));
    assert_eq!(reported(&deep).len(), 1);
}

proptest! {
    #[test]
    fn no_text_panics(text in "(A|B|=|:| |\"|'|\\\\|\\$|\\{|\\}|:-|#|\n|\r|export |\\PC){0,40}") {
        let _ = parse(&text);
    }

    /// Single quotes keep everything but quotes and backslashes.
    #[test]
    fn what_is_quoted_comes_back(value in "([ -~]|\n|\\$|\u{e9}){0,40}") {
        let double = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        prop_assert_eq!(&self::value(&format!("A=\"{double}\"")), &value);
        if !value.contains(['\'', '\\']) {
            prop_assert_eq!(&self::value(&format!("A='{value}'")), &value);
        }
    }
}
