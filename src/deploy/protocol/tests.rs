use proptest::prelude::*;

use super::*;
use crate::image::reference::Digest;
use crate::secret::{Credentials, Secret};

fn request() -> Request {
    Request {
        app: "shop-api".parse().unwrap(),
        body: Body::Deploy(Box::new(Deploy {
            deployment: "run-12345-1".parse().unwrap(),
            image: "ghcr.io/org/app".parse().unwrap(),
            digest: Digest::of(b"image"),
            version: "1.2.3".parse().unwrap(),
            commit: "a".repeat(40).parse().unwrap(),
            by_name: false,
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
            configuration,
            credential: None,
            run: String::new(),
        }))
    };
    let bodies = [
        request().body,
        rollback(None, Configuration::Today),
        rollback(Some("1.0.0"), Configuration::Then),
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

#[test]
fn the_shape_of_version_1_stays_as_it_is() {
    // Receivers of the first release read exactly this; it may grow by a new protocol version only.
    let status = Request { body: Body::Status { deployment: None }, ..request() };
    assert_eq!(line_of(&status), r#"{"protocol":1,"app":"shop-api","request":{"status":{}}}"#);
    let commit = "a".repeat(40);
    let digest = Digest::of(b"image");
    let deploy = format!(
        r#"{{"protocol":1,"app":"shop-api","request":{{"deploy":{{"deployment":"run-12345-1","image":"ghcr.io/org/app","digest":"{digest}","version":"1.2.3","commit":"{commit}","by-name":false,"environment":{{"FEATURE_X":" hunter2 \n\"x"}},"credential":{{"username":"bot","password":"pass-word"}},"run":"https://github.com/org/app/actions/runs/1"}}}}}}"#
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

/// What each broken line is refused for; and that no refusal quotes what it met.
#[test]
fn reading_is_strict_and_discreet() {
    let good = line_of(&request());
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        good.replacen(from, to, 1)
    };
    let many = (0..=ENVIRONMENT_ENTRIES).map(|n| format!(r#""K{n}":"""#)).collect::<Vec<_>>().join(",");
    let cases = [
        (String::new(), "not JSON"),
        ("null".to_owned(), "a field"),
        (good[..good.len() - 1].to_owned(), "not JSON"),
        (format!("{good} {{}}"), "not JSON"),
        (change(r#""by-name":false"#, r#""by-name":false,"secret-hunter2":1"#), "a field"),
        (change(r#""by-name":false"#, r#""by-name":"hunter2""#), "a field"),
        (change(r#""by-name":false"#, r#""by-name":false,"by-name":true"#), "a field"),
        (change(r#""app":"#, r#""hunter2":1,"app":"#), "a field"),
        (change(r#""username":"bot""#, r#""username":"bot","more":1"#), "a field"),
        (change("pass-word", ""), "a field"),
        (change("sha256:", "sha512:"), "a field"),
        (change("1.2.3", "v1.2.3"), "a field"),
        (change("1.2.3", "1.2.3+build"), "+build"),
        (change("shop-api", "../hunter2"), "a field"),
        (change("FEATURE_X", "FEATURE=X"), "a field"),
        (change(r#""FEATURE_X":"#, r#""FEATURE_X":"1","FEATURE_X":"#), "a field"),
        (change(" hunter2 ", "hunter2\\u0000"), "no NUL"),
        (change(" hunter2 ", &"h".repeat(ENVIRONMENT_VALUE_BYTES)), "at most"),
        (change(r#""environment":{"#, &format!(r#""environment":{{{many},"#)), "at most 100"),
        (change("actions/runs", "actions\\nruns"), "one line"),
        (change("bot", "bot\\u001b[0m"), "one line"),
        (change("deploy", "Deploy"), "a field"),
        (r#"{"protocol":1,"app":"a","request":{"shell":{}}}"#.to_owned(), "a field"),
        (r#"{"protocol":1,"app":"a","request":{"logs":{"lines":0}}}"#.to_owned(), "`lines`"),
        (r#"{"protocol":1,"app":"a","request":{"logs":{"lines":5001}}}"#.to_owned(), "`lines`"),
        (r#"{"protocol":1,"app":"a","request":{"history":{"entries":501}}}"#.to_owned(), "`entries`"),
        (r#"{"protocol":1,"app":"a","request":{"status":{},"logs":{"lines":1}}}"#.to_owned(), "not JSON"),
        (" ".repeat(REQUEST_BYTES + 1), "at most 262144 bytes"),
        ("[".repeat(REQUEST_BYTES), "a field"),
    ];
    for (line, expected) in cases {
        let shown: String = line.chars().take(200).collect();
        let refused = Request::parse(line.as_bytes()).expect_err(&shown);
        assert_eq!(refused.because, Because::Malformed, "{shown}");
        assert!(refused.message.contains(expected), "{shown}: {}", refused.message);
        assert!(!refused.message.contains("hunter2"), "{shown}: {}", refused.message);
    }
}

#[test]
fn another_protocol_says_which_side_to_update() {
    for (protocol, expected) in
        [("2", "on the server"), ("0", "the action"), ("18446744073709551615", "on the server")]
    {
        let line = format!(r#"{{"protocol":{protocol},"anything":["it","likes"]}}"#);
        let refused = Request::parse(line.as_bytes()).expect_err(&line);
        assert_eq!(refused.because, Because::Protocol, "{line}");
        assert!(refused.message.contains(expected), "{}", refused.message);
    }
}

#[test]
fn words_are_whole_words() {
    for word in Word::ALL {
        assert_eq!(word.to_string().parse(), Ok(word));
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
    assert!(taken.contains("another name than `home`"), "{taken}");
    assert!(["homes", "home-1", "my-home"].iter().all(|text| text.parse::<AppName>().is_ok()));
    for text in ["", "short", "-1234567", "ABCDEFGH", "a/b/c/d/e", &"a".repeat(65)] {
        assert!(text.parse::<DeploymentId>().is_err(), "{text:?} was accepted");
    }
    for text in ["", "1A", "A-B", "A=B", "A B", "ä", &"A".repeat(129)] {
        assert!(text.parse::<EnvironmentKey>().is_err(), "{text:?} was accepted");
    }
}

#[test]
fn answers_go_round() {
    let running = Running {
        version: "1.2.3".parse().unwrap(),
        digest: Digest::of(b"image"),
        commit: "a".repeat(40).parse().unwrap(),
        deployment: "run-12345-1".parse().unwrap(),
    };
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let ends = [
        End::Deployed {},
        End::Unchanged {},
        End::RolledBack {},
        End::Refused { because: Because::NewerIsLive, message: "1.3.0 is live".to_owned() },
        End::Failed { step: Milestone::Health, message: "unhealthy".to_owned() },
        End::Told {},
    ];
    let entry = |end: &End| HistoryEntry { release: running.clone(), at, end: end.clone() };
    let mut answers = vec![
        Answer::StepStarted { step: Milestone::Pull },
        Answer::StepEnded { step: Milestone::Pull, milliseconds: 12, failed: None },
        Answer::StepEnded {
            step: Milestone::Pull,
            milliseconds: 12,
            failed: Some("no such image".to_owned()),
        },
        Answer::log(Source::Application, "::error::not a command"),
        Answer::Note { text: "a note".to_owned() },
        Answer::Heartbeat {},
        Answer::Waiting { holder: None },
        Answer::Waiting {
            holder: Some(Holder { pid: 7, purpose: "deploy 1.2.2".to_owned(), deployment: None, since: at }),
        },
        Answer::Status(Box::new(Status {
            running: Some(running.clone()),
            drift: vec!["the container was stopped".to_owned()],
            bad: vec!["1.2.2".parse().unwrap()],
            busy: None,
            highest: None,
            asked: Some(entry(&ends[0])),
        })),
    ];
    for end in &ends {
        answers.push(Answer::History(Box::new(entry(end))));
        answers.push(Answer::Result(Box::new(Outcome {
            end: end.clone(),
            running: Some(running.clone()),
            deployment: None,
            milliseconds: 1_234,
        })));
    }
    for answer in answers {
        let line = answer.to_line().expect("short");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(Answer::parse(line.trim_end().as_bytes()), Ok(answer), "{line}");
    }
    for line in
        ["", "{}", r#"{"heartbeat":{"x":1}}"#, r#"{"result":{"end":{"deployed":{}}}}"#, "Linux host 6.1"]
    {
        assert!(Answer::parse(line.as_bytes()).is_err(), "{line:?} was accepted");
    }
}

#[test]
fn the_longest_log_line_fits_into_an_answer() {
    let worst = "\u{1}".repeat(LOG_BYTES * 2);
    let line = Answer::log(Source::Application, &worst).to_line().expect("cut");
    assert!(line.len() <= ANSWER_BYTES, "{}", line.len());
    let Answer::Log { line, .. } = Answer::log(Source::Application, &"\u{e4}".repeat(LOG_BYTES)) else {
        panic!("a log line")
    };
    assert_eq!(line.len(), LOG_BYTES + '\u{2026}'.len_utf8());
    assert!(Answer::Note { text: "x".repeat(ANSWER_BYTES) }.to_line().is_err());
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
}

proptest! {
    #[test]
    fn no_request_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Err(refused) = Request::parse(&bytes) {
            prop_assert!(refused.message.len() < 300);
        }
        let _ = Answer::parse(&bytes);
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
