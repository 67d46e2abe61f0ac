use proptest::prelude::*;

use super::*;
use autotag_model::reference::Digest;
use autotag_model::secret::{Credentials, Secret};

fn request() -> Request {
    Request {
        app: "shop-api".parse().unwrap(),
        body: Body::Deploy(Box::new(Deploy {
            deployment: "run-12345-1".parse().unwrap(),
            image: "ghcr.io/org/app".parse().unwrap(),
            digest: Digest::of(b"image"),
            version: "1.2.3".parse().unwrap(),
            commit: "a".repeat(40).parse().unwrap(),
            allow_downgrade: false,
            environment: [("FEATURE_X".parse().unwrap(), Secret::verbatim(" hunter2 \n\"x".to_owned()))]
                .into(),
            credential: Some(Credentials {
                username: "bot".to_owned(),
                password: Secret::new("pass-word").unwrap(),
            }),
            run: "https://github.com/org/app/actions/runs/1".to_owned(),
        })),
    }
}

fn line_of(request: &Request) -> String {
    request.to_line().expect("within the limits").reveal().trim_end().to_owned()
}

#[test]
fn requests_go_round() {
    let rollback = |to: Option<&str>, configuration| {
        Body::Rollback(Box::new(Rollback {
            deployment: "run-12345-2".parse().unwrap(),
            to: to.map(|to| to.parse().unwrap()),
            reverts: None,
            configuration,
            credential: None,
            run: String::new(),
        }))
    };
    let Body::Rollback(back) = rollback(None, Configuration::Then) else { panic!("a rollback") };
    let revert = Rollback { reverts: Some("run-12345-1".parse().unwrap()), ..*back };
    let bodies = [
        request().body,
        rollback(None, Configuration::Today),
        rollback(Some("1.0.0"), Configuration::Then),
        Body::Rollback(Box::new(revert)),
        Body::Status { deployment: None },
        Body::Status { deployment: Some("run-12345-1".parse().unwrap()) },
        Body::Logs { lines: LOG_LINES },
        Body::History { entries: 1 },
    ];
    for body in bodies {
        let request = Request { body, ..request() };
        let line = line_of(&request);
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(Request::parse(line.as_bytes()), Ok(request), "{line}");
    }
}

/// Where a deployment is reverted to, and as what, is not the caller's to say.
#[test]
fn a_deployment_is_reverted_to_what_the_server_says() {
    let read = |fields: &str| {
        let line = format!(
            r#"{{"protocol":1,"app":"shop-api","request":{{"rollback":{{"deployment":"run-12345-2",{fields}}}}}}}"#
        );
        Request::parse(line.as_bytes())
    };
    let good = read(r#""reverts":"run-12345-1","configuration":"then""#).expect("a request");
    let Body::Rollback(rollback) = &good.body else { panic!("{good:?}") };
    assert_eq!(rollback.reverts.as_ref().map(DeploymentId::as_str), Some("run-12345-1"));
    for fields in [
        r#""reverts":"run-12345-1""#,
        r#""reverts":"run-12345-1","configuration":"today""#,
        r#""reverts":"run-12345-1","configuration":"then","to":"1.0.0""#,
        r#""reverts":"run-12345-2","configuration":"then""#,
    ] {
        let refused = read(fields).expect_err(fields);
        assert_eq!(refused.code, RefusalCode::Malformed, "{fields}");
        assert!(refused.message.contains("`reverts`"), "{fields}: {refused}");
    }
    // A rollback of any other kind looks as it did before there was such a thing.
    let Body::Rollback(rollback) = read(r#""to":"1.0.0""#).expect("a request").body else {
        panic!("a rollback")
    };
    let line = line_of(&Request { body: Body::Rollback(rollback), ..request() });
    let expected = r#"{"protocol":1,"app":"shop-api","request":{"rollback":{"deployment":"run-12345-2","to":"1.0.0","configuration":"today","run":""}}}"#;
    assert_eq!(line, expected);
}

#[test]
fn the_shape_of_version_1_stays_as_it_is() {
    // Receivers of the first release read exactly this; it may grow by a new protocol version only.
    let status = Request { body: Body::Status { deployment: None }, ..request() };
    assert_eq!(line_of(&status), r#"{"protocol":1,"app":"shop-api","request":{"status":{}}}"#);
    let commit = "a".repeat(40);
    let digest = Digest::of(b"image");
    let deploy = format!(
        r#"{{"protocol":1,"app":"shop-api","request":{{"deploy":{{"deployment":"run-12345-1","image":"ghcr.io/org/app","digest":"{digest}","version":"1.2.3","commit":"{commit}","allow-downgrade":false,"environment":{{"FEATURE_X":" hunter2 \n\"x"}},"credential":{{"username":"bot","password":"pass-word"}},"run":"https://github.com/org/app/actions/runs/1"}}}}}}"#
    );
    assert_eq!(line_of(&request()), deploy);
}

#[test]
fn no_secret_prints() {
    let request = request();
    let printed = format!("{request:?} {:?}", request.to_line());
    assert!(!printed.contains("hunter2") && !printed.contains("pass-word"), "{printed}");
    assert!(printed.contains("FEATURE_X") && printed.contains("***"), "{printed}");
}

/// What each broken line is refused for; and that no refusal quotes what it met. The snapshot has the messages in the
/// order of the cases.
#[test]
fn reading_is_strict_and_discreet() {
    let good = line_of(&request());
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        good.replacen(from, to, 1)
    };
    let many = (0..=ENVIRONMENT_ENTRIES).map(|n| format!(r#""K{n}":"""#)).collect::<Vec<_>>().join(",");
    let cases = [
        (String::new(), RefusalCode::Malformed),
        ("null".to_owned(), RefusalCode::Malformed),
        (good[..good.len() - 1].to_owned(), RefusalCode::Malformed),
        (format!("{good} {{}}"), RefusalCode::Malformed),
        (change(r#""allow-downgrade":false"#, r#""allow-downgrade":false,"secret-hunter2":1"#), RefusalCode::NewerRequest),
        (change(r#""allow-downgrade":false"#, r#""allow-downgrade":"hunter2""#), RefusalCode::Malformed),
        (
            change(r#""allow-downgrade":false"#, r#""allow-downgrade":false,"allow-downgrade":true"#),
            RefusalCode::Malformed,
        ),
        (change(r#""app":"#, r#""hunter2":1,"app":"#), RefusalCode::NewerRequest),
        (change(r#""username":"bot""#, r#""username":"bot","more":1"#), RefusalCode::NewerRequest),
        (change("pass-word", ""), RefusalCode::Malformed),
        (change("sha256:", "sha512:"), RefusalCode::Malformed),
        (change("1.2.3", "v1.2.3"), RefusalCode::Malformed),
        (change("1.2.3", "1.2.3+build"), RefusalCode::Malformed),
        (change("shop-api", "../hunter2"), RefusalCode::Malformed),
        (change("FEATURE_X", "FEATURE=X"), RefusalCode::Malformed),
        (change(r#""FEATURE_X":"#, r#""FEATURE_X":"1","FEATURE_X":"#), RefusalCode::Malformed),
        (change(" hunter2 ", "hunter2\\u0000"), RefusalCode::Malformed),
        (change(" hunter2 ", &"h".repeat(ENVIRONMENT_VALUE_BYTES)), RefusalCode::Malformed),
        (change(r#""environment":{"#, &format!(r#""environment":{{{many},"#)), RefusalCode::Malformed),
        (change("actions/runs", "actions\\nruns"), RefusalCode::Malformed),
        (change("bot", "bot\\u001b[0m"), RefusalCode::Malformed),
        (change("deploy", "Deploy"), RefusalCode::NewerRequest),
        (r#"{"protocol":1,"app":"a","request":{"shell":{}}}"#.to_owned(), RefusalCode::NewerRequest),
        (
            r#"{"protocol":1,"app":"a","request":{"rollback":{"deployment":"run-12345-2","configuration":"hunter2"}}}"#
                .to_owned(),
            RefusalCode::NewerRequest,
        ),
        (r#"{"protocol":1,"app":"a","request":{"logs":{"lines":0}}}"#.to_owned(), RefusalCode::Malformed),
        (r#"{"protocol":1,"app":"a","request":{"logs":{"lines":5001}}}"#.to_owned(), RefusalCode::Malformed),
        (r#"{"protocol":1,"app":"a","request":{"history":{"entries":501}}}"#.to_owned(), RefusalCode::Malformed),
        (r#"{"protocol":1,"app":"a","request":{"status":{},"logs":{"lines":1}}}"#.to_owned(), RefusalCode::Malformed),
        (" ".repeat(REQUEST_BYTES + 1), RefusalCode::Malformed),
        ("[".repeat(REQUEST_BYTES), RefusalCode::Malformed),
    ];
    let mut messages = Vec::new();
    for (line, code) in cases {
        let shown: String = line.chars().take(200).collect();
        let refused = Request::parse(line.as_bytes()).expect_err(&shown);
        assert_eq!(refused.code, code, "{shown}");
        assert!(!refused.message.contains("hunter2"), "{shown}: {}", refused.message);
        messages.push(format!("{code}: {refused}"));
    }
    insta::assert_snapshot!("refused_requests", messages.join("\n"));
}

/// Each limit by its number: a caller and a receiver of different versions must agree on them.
#[test]
fn texts_at_the_limit_pass_and_longer_ones_do_not() {
    let deploy = |change: &dyn Fn(&mut Deploy)| {
        let Body::Deploy(mut deploy) = request().body else { unreachable!("it is a deployment") };
        change(&mut deploy);
        Request { body: Body::Deploy(deploy), ..request() }
    };
    let login = |username: usize, password: usize| {
        let password = Secret::new(&"p".repeat(password)).unwrap();
        Some(Credentials { username: "u".repeat(username), password })
    };
    let with_variables = |count: usize, bytes: usize| {
        let variable = |at: usize| (format!("K{at}").parse().unwrap(), Secret::verbatim("x".repeat(bytes)));
        deploy(&|deploy| deploy.environment = (0..count).map(variable).collect())
    };
    // Six times 43,000 and what is left over in a seventh variable.
    let of_length = |length: usize| {
        let rest = length - line_of(&with_variables(6, 43_000)).len() - r#","LAST":"""#.len();
        let Body::Deploy(mut deploy) = with_variables(6, 43_000).body else { unreachable!() };
        deploy.environment.insert("LAST".parse().unwrap(), Secret::verbatim("x".repeat(rest)));
        Request { body: Body::Deploy(deploy), ..request() }
    };
    let version = |length: usize| format!("1.2.3-{}", "x".repeat(length - "1.2.3-".len())).parse().unwrap();
    let cases: [(usize, &dyn Fn(usize) -> Request); 9] = [
        (262_144, &of_length),
        (100, &|count| with_variables(count, 1)),
        (49_152, &|bytes| with_variables(1, bytes)),
        (8_192, &|bytes| deploy(&|deploy| deploy.credential = login(bytes, 1))),
        (8_192, &|bytes| deploy(&|deploy| deploy.credential = login(1, bytes))),
        (2_048, &|bytes| deploy(&|deploy| deploy.run = "r".repeat(bytes))),
        (128, &|bytes| deploy(&|deploy| deploy.version = version(bytes))),
        (5_000, &|lines| Request { body: Body::Logs { lines: lines.try_into().unwrap() }, ..request() }),
        (500, &|entries| Request {
            body: Body::History { entries: entries.try_into().unwrap() },
            ..request()
        }),
    ];
    for (at, (limit, request)) in cases.into_iter().enumerate() {
        let longest = request(limit);
        assert_eq!(Request::parse(line_of(&longest).as_bytes()), Ok(longest), "case {at}");
        for more in [1, 77] {
            let refused = request(limit + more).to_line().expect_err(&format!("case {at}, {more} more"));
            assert_eq!(refused.code, RefusalCode::Malformed);
        }
    }
    // The receiver does not trust that a caller looked: the same two by hand.
    let line = line_of(&of_length(262_144));
    for more in [1, 77] {
        let refused = Request::parse(format!("{line}{}", " ".repeat(more)).as_bytes()).expect_err("too long");
        assert!(refused.message.ends_with(&(262_144 + more).to_string()), "{refused}");
    }
}

#[test]
fn another_protocol_says_which_side_to_update() {
    let refused = ["2", "0", "18446744073709551615"].map(|protocol| {
        let line = format!(r#"{{"protocol":{protocol},"anything":["it","likes"]}}"#);
        let refused = Request::parse(line.as_bytes()).expect_err(&line);
        assert_eq!(refused.code, RefusalCode::Protocol, "{line}");
        refused.message
    });
    insta::assert_snapshot!("other_protocols", refused.join("\n"));
}

#[test]
fn words_are_whole_words() {
    for word in Word::VARIANTS {
        let parsed: Word = word.parse().expect(word);
        assert_eq!((parsed.as_str(), parsed.to_string().as_str()), (*word, *word));
        assert_eq!(serde_json::to_value(parsed).expect("JSON"), *word);
    }
    for text in ["", "Deploy", "deploy ", "deploy app", "deploy\n", "sh", "scp -t /", "internal-sftp"] {
        assert!(text.parse::<Word>().is_err(), "{text:?} was accepted");
    }
    assert_eq!(request().word(), Word::Deploy);
}

#[test]
fn names_are_what_users_files_and_containers_allow() {
    for text in ["a", "shop-api", "a1", &"a".repeat(24)] {
        assert!(text.parse::<AppName>().is_ok(), "{text:?}");
    }
    for text in ["", "1a", "-a", "a-", "a--b", "A", "a_b", "a.b", "a/b", "..", "ä", "a b", &"a".repeat(25)] {
        assert!(text.parse::<AppName>().is_err(), "{text:?} was accepted");
    }
    // Names that only look like the one that is taken are free.
    let taken = HOME.parse::<AppName>().expect_err("it belongs to all applications").to_string();
    insta::assert_snapshot!(taken, @"another name than `home`: on a server the directory of this name belongs to all applications");
    assert!(["homes", "home-1", "my-home"].iter().all(|text| text.parse::<AppName>().is_ok()));
    for text in ["", "short", "-1234567", "ABCDEFGH", "a/b/c/d/e", &"a".repeat(65)] {
        assert!(text.parse::<DeploymentId>().is_err(), "{text:?} was accepted");
    }
    for text in ["", "1A", "A-B", "A=B", "A B", "ä", &"A".repeat(129)] {
        assert!(text.parse::<EnvironmentKey>().is_err(), "{text:?} was accepted");
    }
}

/// One of each.
fn ends() -> [End; 6] {
    [
        End::Deployed {},
        End::Unchanged {},
        End::RolledBack {},
        End::Refused { code: Open::Known(RefusalCode::NewerIsLive), message: "1.3.0 is live".to_owned() },
        End::Failed {
            step: Open::Known(RolloutStep::Health),
            code: Open::Known(FailureCode::Unhealthy),
            message: "unhealthy".to_owned(),
        },
        End::Reported {},
    ]
}

/// One of each, and those with an end for each end.
fn events() -> Vec<Event> {
    let running = Running {
        version: "1.2.3".parse().unwrap(),
        digest: Digest::of(b"image"),
        commit: "a".repeat(40).parse().unwrap(),
        deployment: "run-12345-1".parse().unwrap(),
    };
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let ends = ends();
    let entry = |end: &End| HistoryEntry { release: running.clone(), at, end: end.clone() };
    let mut events = vec![
        Event::StepStarted { step: Open::Known(RolloutStep::Pull) },
        Event::StepEnded { step: Open::Known(RolloutStep::Pull), milliseconds: 12, failed: None },
        Event::StepEnded {
            step: Open::Known(RolloutStep::Pull),
            milliseconds: 12,
            failed: Some("no such image".to_owned()),
        },
        Event::log(Source::Application, "::error::not a command"),
        Event::Note { text: "a note".to_owned() },
        Event::Heartbeat {},
        Event::Waiting { holder: None },
        Event::Waiting {
            holder: Some(Holder { pid: 7, purpose: "deploy 1.2.2".to_owned(), deployment: None, since: at }),
        },
        Event::Status(Box::new(Status {
            running: Some(running.clone()),
            drift: vec!["the container was stopped".to_owned()],
            blocked: vec!["1.2.2".parse().unwrap()],
            busy: None,
            highest: None,
            asked: Some(entry(&ends[0])),
        })),
    ];
    for end in &ends {
        events.push(Event::History(Box::new(entry(end))));
        events.push(Event::Result(Box::new(Outcome {
            end: end.clone(),
            running: Some(running.clone()),
            deployment: None,
            milliseconds: 1_234,
        })));
    }
    events
}

#[test]
fn events_are_read_as_they_were_written() {
    for event in events() {
        let line = event.to_line().expect("short");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(Event::parse(line.trim_end().as_bytes()), Ok(event), "{line}");
    }
}

#[test]
fn other_lines_are_no_events() {
    for line in ["", "{}", r#"{"result":{"end":{"deployed":{}}}}"#, "Linux host 6.1"] {
        assert!(Event::parse(line.as_bytes()).is_err(), "{line:?} was accepted");
    }
}

#[test]
fn the_longest_log_line_fits_into_an_answer() {
    let worst = "\u{1}".repeat(LOG_BYTES * 2);
    let line = Event::log(Source::Application, &worst).to_line().expect("cut");
    assert!(line.len() <= EVENT_BYTES, "{}", line.len());
    let Event::Log { line, .. } = Event::log(Source::Application, &"\u{e4}".repeat(LOG_BYTES)) else {
        panic!("a log line")
    };
    assert_eq!(line.len(), LOG_BYTES + '\u{2026}'.len_utf8());
}

/// The numbers are part of the protocol: a caller and a receiver of different versions must agree on them.
#[test]
fn an_event_has_at_most_65536_bytes() {
    let note = |bytes: usize| Event::Note { text: "x".repeat(bytes - r#"{"note":{"text":""}}"#.len()) };
    let longest = note(65_536).to_line().expect("not too long");
    assert_eq!(longest.len(), 65_536 + "\n".len());
    assert_eq!(Event::parse(longest.trim_end().as_bytes()), Ok(note(65_536)));

    let why = note(65_537).to_line().expect_err("too long").to_string();
    assert!(why.ends_with("a line of 65537 bytes"), "{why}");
    // Twice: one byte more, and many more.
    for padding in [1, 1000] {
        let line = format!("{}{}", longest.trim_end(), " ".repeat(padding));
        let why = Event::parse(line.as_bytes()).expect_err("too long").to_string();
        assert!(why.ends_with(&format!("a line of {} bytes", 65_536 + padding)), "{why}");
    }
}

#[test]
fn a_deployments_duration_is_in_milliseconds() {
    let outcome = Outcome { end: End::Deployed {}, running: None, deployment: None, milliseconds: 1_234 };
    assert_eq!(outcome.took(), std::time::Duration::from_millis(1_234));
}

#[test]
fn lines_are_bounded_before_they_end() {
    let mut lines = Lines::new(4);
    let mut bytes: &[u8] = b"ab";
    assert_eq!(lines.next(&mut bytes), Ok(None));
    let mut bytes: &[u8] = b"cd\n\nxy";
    assert_eq!(lines.next(&mut bytes), Ok(Some(b"abcd".to_vec())));
    assert_eq!(lines.next(&mut bytes), Ok(Some(Vec::new())));
    assert_eq!(lines.next(&mut bytes), Ok(None));
    assert_eq!(lines.unfinished(), b"xy");
    let mut bytes: &[u8] = b"zzz";
    assert_eq!(lines.next(&mut bytes), Err(TooLong { limit: 4 }));
    assert_eq!(lines.unfinished(), b"xy", "nothing of what was too long is kept");

    // A single part that is too long by itself.
    let mut lines = Lines::new(4);
    for mut bytes in [&b"abcde"[..], &b"abcde\n"[..]] {
        assert_eq!(lines.next(&mut bytes), Err(TooLong { limit: 4 }));
        assert_eq!(lines.unfinished(), b"");
    }
}

proptest! {
    #[test]
    fn no_request_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Err(refused) = Request::parse(&bytes) {
            prop_assert!(refused.message.len() < 300);
        }
        let _ = Event::parse(&bytes);
    }

    /// A good line with one byte changed is refused, or means something that goes round itself.
    #[test]
    fn a_damaged_request_is_refused_or_whole(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut line = line_of(&request()).into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        if let Ok(request) = Request::parse(&line) {
            prop_assert_eq!(Request::parse(line_of(&request).as_bytes()), Ok(request));
        }
    }

    #[test]
    fn any_value_goes_round(value in any::<String>(), cuts in proptest::collection::vec(1..50usize, 0..20)) {
        prop_assume!(!value.contains('\0'));
        let mut request = request();
        if let Body::Deploy(deploy) = &mut request.body {
            deploy.environment.insert("ANY".parse().unwrap(), Secret::verbatim(value));
        }
        // However the line arrives, it is the same line.
        let text = request.to_line().unwrap().reveal().to_owned();
        let (mut lines, mut found, mut rest) = (Lines::new(REQUEST_BYTES), Vec::new(), text.as_bytes());
        for cut in cuts.into_iter().chain([text.len()]) {
            let (part, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            let mut part = part;
            while let Some(line) = lines.next(&mut part).unwrap() {
                found.push(line);
            }
        }
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(Request::parse(&found[0]), Ok(request));
    }
}
