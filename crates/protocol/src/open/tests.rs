//! Answers of receivers that are newer, and of the first ones.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use strum::VariantArray as _;

use super::*;
use crate::{End, Event, FailureCode, RefusalCode, RolloutStep, Source};

fn read(value: &Value) -> Result<Event, String> {
    Event::parse(value.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// An answer of each kind, with every field that there is.
fn samples() -> Vec<Value> {
    let running = json!({
        "version": "1.2.3", "digest": format!("sha256:{}", "0".repeat(64)), "commit": "a".repeat(40),
        "deployment": "run-12345-1",
    });
    let holder = json!({ "pid": 7, "purpose": "deploy 1.2.2", "deployment": "run-12345-0", "since": "2026-01-02T03:04:05Z" });
    let failed = json!({ "failed": { "step": "pull", "code": "no-image", "message": "gone" } });
    let refused = json!({ "refused": { "code": "newer-is-live", "message": "1.3.0" } });
    let entry = |end: &Value| json!({ "release": running, "at": "2026-01-02T03:04:05Z", "end": end });
    let mut all = vec![
        json!({ "step-started": { "step": "pull" } }),
        json!({ "step-ended": { "step": "pull", "milliseconds": 12, "failed": "no such image" } }),
        json!({ "log": { "from": "application", "line": "listening" } }),
        json!({ "note": { "text": "a note" } }),
        json!({ "heartbeat": {} }),
        json!({ "waiting": { "holder": holder } }),
        json!({ "status": {
            "running": running, "drift": ["stopped"], "blocked": ["1.2.2"], "busy": holder, "highest": "1.2.3",
            "asked": entry(&failed),
        } }),
    ];
    for end in [
        json!({ "deployed": {} }),
        json!({ "unchanged": {} }),
        json!({ "rolled-back": {} }),
        json!({ "reported": {} }),
        refused,
        failed,
    ] {
        all.push(json!({ "history": entry(&end) }));
        let result =
            json!({ "end": end, "running": running, "deployment": "run-12345-1", "milliseconds": 1234 });
        all.push(json!({ "result": result }));
    }
    all
}

/// A kind that is missing in the list of names would be taken for one of the future.
#[test]
fn every_kind_that_is_written_can_be_read() {
    let kind = |value: &Value| value.as_object().expect("an object").keys().next().expect("a kind").clone();
    let (mut events, mut ends) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for sample in samples() {
        let event = read(&sample).expect("it is known");
        assert!(!matches!(event, Event::Unknown(_)), "{sample}");
        assert_eq!(serde_json::to_value(&event).expect("JSON"), sample, "nothing is lost");
        events.insert(kind(&sample));
        if let Some(result) = sample.get("result") {
            ends.insert(kind(&result["end"]));
        }
    }
    assert_eq!(events, Event::NAMES.iter().map(ToString::to_string).collect());
    assert_eq!(ends, End::NAMES.iter().map(ToString::to_string).collect());
}

#[test]
fn the_first_receivers_answers_are_understood() {
    for line in [
        r#"{"step-ended":{"step":"pull","milliseconds":12}}"#,
        r#"{"waiting":{}}"#,
        r#"{"status":{"drift":[],"blocked":[]}}"#,
        r#"{"result":{"end":{"deployed":{}},"milliseconds":1}}"#,
        r#"{"result":{"end":{"refused":{"code":"busy","message":"x"}},"milliseconds":1}}"#,
    ] {
        let event = Event::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(!matches!(event, Event::Unknown(_)), "{line}");
    }
}

#[test]
fn names_of_a_later_version_are_kept() {
    let name = |text: &str| Name::from(text.to_owned());
    let end = |value: Value| match read(&json!({ "result": { "end": value, "milliseconds": 1 } })) {
        Ok(Event::Result(outcome)) => outcome.end,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&json!({ "progress": { "percent": 5 } })), Ok(Event::Unknown(name("progress"))));
    assert_eq!(read(&json!({ "progress": [1, {}] })), Ok(Event::Unknown(name("progress"))));
    let step = Open::Unknown(name("warm-up"));
    assert_eq!(read(&json!({ "step-started": { "step": "warm-up" } })), Ok(Event::StepStarted { step }));
    let from = Open::Unknown(name("sidecar"));
    let log = Event::Log { from, line: "x".to_owned() };
    assert_eq!(read(&json!({ "log": { "from": "sidecar", "line": "x" } })), Ok(log));

    let refused = end(json!({ "refused": { "code": "quota", "message": "no more today" } }));
    let expected = End::Refused { code: Open::Unknown(name("quota")), message: "no more today".to_owned() };
    assert_eq!(refused, expected);
    let failed = end(json!({ "failed": { "step": "warm-up", "code": "too-cold", "message": "12 degrees" } }));
    let words = "failed at the step warm-up: 12 degrees";
    assert_eq!((failed.is_good(), failed.words().as_str()), (false, words));
    for end in [&refused, &failed] {
        assert_eq!(crate::remedies::topic(end), None);
        assert!(!crate::remedies::remedy(end).is_empty());
    }

    let unknown = end(json!({ "deployed-in-part": { "percent": 5 } }));
    assert_eq!(unknown, End::Unknown(name("deployed-in-part")));
    assert!(!unknown.is_good() && unknown.words().contains("`deployed-in-part`"), "{}", unknown.words());
    // What comes beside the known kind is an addition to it.
    assert_eq!(end(json!({ "deployed": {}, "also": {} })), End::Deployed {});
}

#[test]
fn what_makes_no_sense_is_still_an_error() {
    for value in [
        json!({}),
        json!([]),
        json!("heartbeat"),
        json!({ "note": { "text": 5 } }),
        json!({ "note": ["a note"] }),
        json!({ "note": {} }),
        json!({ "note": { "text": "x" }, "heartbeat": {} }),
        json!({ "step-started": { "step": 5 } }),
        json!({ "step-started": { "step": null } }),
        json!({ "result": { "end": {}, "milliseconds": 1 } }),
        json!({ "result": { "end": "deployed", "milliseconds": 1 } }),
        json!({ "result": { "end": { "deployed": {}, "failed": {} }, "milliseconds": 1 } }),
        json!({ "result": { "end": { "deployed": {} } } }),
    ] {
        assert!(read(&value).is_err(), "{value} was accepted");
    }
}

/// It is shown in logs and summaries.
#[test]
fn an_unknown_name_is_short_and_harmless() {
    let name = Name::from(format!("a\u{1b}[31m::x|<b>\n{}", "y".repeat(1000)));
    assert!(name.as_str().starts_with("a??31m??x??b??yy"), "{name}");
    assert_eq!(name.as_str().len(), NAME_LETTERS);
    assert_eq!(Name::from("warm-up_2.0".to_owned()).as_str(), "warm-up_2.0");
}

#[test]
fn an_open_name_is_compared_with_what_is_known() {
    let known = Open::from(RolloutStep::Pull);
    assert!(known == RolloutStep::Pull && known != RolloutStep::Save);
    assert_eq!((known.known(), known.word()), (Some(RolloutStep::Pull), "pull"));
    let unknown: Open<RolloutStep> = Open::Unknown(Name::from("warm-up".to_owned()));
    assert!(unknown != RolloutStep::Pull && unknown.known().is_none());
    assert_eq!((unknown.word(), unknown.words()), ("warm-up", "warm-up"));
    assert_eq!(Open::from(Source::Smoke).word(), "smoke");
    for code in RefusalCode::VARIANTS {
        assert_eq!(
            serde_json::from_value::<Open<RefusalCode>>(json!(code.as_str())).ok(),
            Some((*code).into())
        );
    }
    for code in FailureCode::VARIANTS {
        assert_eq!(
            serde_json::from_value::<Open<FailureCode>>(json!(code.as_str())).ok(),
            Some((*code).into())
        );
    }
}

/// Anything, not too deep.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// All objects in it get further fields, before and behind those that they have.
fn extended(value: &Value, more: &[Value]) -> Value {
    match value {
        Value::Object(fields) => {
            let mut all: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), extended(value, more))).collect();
            for (number, value) in more.iter().enumerate() {
                let sign = if number % 2 == 0 { '!' } else { '~' };
                all.insert(format!("{sign}{number}"), value.clone());
            }
            Value::Object(all)
        }
        Value::Array(items) => items.iter().map(|item| extended(item, more)).collect(),
        other => other.clone(),
    }
}

proptest! {
    /// A later version may add fields to any object of any answer.
    #[test]
    fn further_fields_at_any_depth_change_nothing(more in proptest::collection::vec(anything(), 1..4)) {
        for sample in samples() {
            prop_assert_eq!(read(&extended(&sample, &more)), read(&sample));
        }
    }

    #[test]
    fn any_object_is_an_answer_or_an_error(value in anything()) {
        if let Ok(event) = read(&value) {
            prop_assert!(value.is_object());
            prop_assert_eq!(Event::parse(&serde_json::to_vec(&event).unwrap()), Ok(event));
        }
    }
}
