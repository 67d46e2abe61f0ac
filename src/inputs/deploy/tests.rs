//! What the inputs of a deployment mean, in tables.

use std::time::Duration;

use super::*;
use crate::inputs::{Environment, InputErrors, RawInputs, Request};

const KNOWN_HOSTS: &str =
    "web1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJdQxtq1mHiTDhqtGbiEKF9Xn1aJ5YJz0oaXKc8XwXe";

fn parse(event: &str, inputs: &[(&'static str, &str)]) -> Result<Request, InputErrors> {
    let sha = "a".repeat(40);
    let environment = Environment::of([
        ("GITHUB_REPOSITORY", "org/app"),
        ("GITHUB_SHA", sha.as_str()),
        ("GITHUB_EVENT_NAME", event),
        ("GITHUB_REF", "refs/heads/main"),
    ]);
    let mut errors = InputErrors::default();
    let run = Run::read(&environment, &crate::inputs::run::Overrides::default(), &mut errors).unwrap();
    let mut raw = RawInputs::default();
    for (name, value) in inputs {
        raw.set(name, (*value).to_owned());
    }
    Request::parse(&raw, &run, &mut errors).ok_or(errors)
}

fn target_of(more: &[(&'static str, &str)]) -> Result<Target, InputErrors> {
    let usual = [
        ("deploy-host", "web1"),
        ("deploy-key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
        ("deploy-known-hosts", KNOWN_HOSTS),
    ];
    match parse("push", &[&usual[..], more].concat())?.deploy {
        Deploy::To(target) => Ok(*target),
        Deploy::Off => panic!("there is a host"),
    }
}

#[test]
fn a_host_a_key_and_host_keys_are_enough() {
    let target = target_of(&[]).expect("everything else has a default");
    assert_eq!(target.hosts, [HostName { host: "web1".to_owned(), port: 22 }]);
    assert_eq!((target.user.as_str(), target.app.as_str()), ("autotag-app", "app"));
    assert_eq!(target.timeout, Duration::from_mins(10));
    assert_eq!((target.on_failure, target.allow_downgrade), (OnFailure::Keep, false));
    assert_eq!((target.credential, target.environment_page), (None, None));
    assert_eq!(parse("push", &[]).unwrap().deploy, Deploy::Off);
}

#[test]
fn hosts_are_read_as_people_write_them() {
    for (text, expected) in [
        ("web1.example.com, WEB2:2222", "web1.example.com:2022 web2:2222"),
        ("10.0.0.1\n\n10.0.0.2:22\n", "10.0.0.1:2022 10.0.0.2"),
        ("[2001:db8::1]:2222,2001:db8:0:0::2", "[2001:db8::1]:2222 [2001:db8::2]:2022"),
    ] {
        let target = target_of(&[("deploy-host", text), ("deploy-port", "2022")]).expect(text);
        let hosts: Vec<String> = target.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts.join(" "), expected);
    }
}

#[test]
fn invalid_hosts_are_explained() {
    let host = |text: &str| host_of(text, 22).map(|host| host.to_string());
    let long = ["a"; 127].join(".");
    for (text, expected) in [
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("a_b-c.d.", "a_b-c.d."),
        (&long, long.as_str()),
        ("a:65535", "a:65535"),
    ] {
        assert_eq!(host(text).map(|host| host.replace(['[', ']'], "")).as_deref(), Ok(expected), "{text}");
    }
    let all = [
        "web1/path",
        "ssh://web1",
        "root@web1",
        "[::1]22",
        "[::1",
        "[web1]",
        "[::1]:0",
        "web1:65536",
        "",
        "a..b",
        "-a",
        "a.-b",
        "a b",
        &format!("{long}.a"),
    ]
    .map(|text| format!("{text:?}\n    {}", host(text).expect_err(text)));
    insta::assert_snapshot!(all.join("\n"));
}

/// The fault of one input among the others' defaults.
#[track_caller]
fn fault_of(inputs: &[(&'static str, &str)]) -> String {
    let errors = target_of(inputs).expect_err("a fault");
    assert_eq!(errors.as_slice().len(), 1, "{errors}");
    errors.to_string()
}

#[test]
fn at_least_one_host_and_a_valid_port_are_needed() {
    assert!(fault_of(&[("deploy-port", "0")]).starts_with("`deploy-port`: expected a port from 1"));
    insta::assert_snapshot!(fault_of(&[("deploy-host", " ,\n, ")]), @r#"`deploy-host`: expected at least one server, found ",\n," (example: `web1.example.com, web2.example.com:2222`)"#);
    // A host that is none is reported as that, and not as missing.
    insta::assert_snapshot!(fault_of(&[("deploy-host", "a b")]), @r#"`deploy-host`: expected `host`, `host:port` or `[IPv6]:port`, found "a b" (example: `web1.example.com, web2.example.com:2222`)"#);
    insta::assert_snapshot!(fault_of(&[("deploy-host", "web1\nweb1:22")]), @r#"`deploy-host`: expected each host once, found "web1:22" (example: `web1.example.com, web2.example.com:2222`)"#);
}

#[test]
fn variables_have_limits() {
    let of = |count: usize, bytes: usize| {
        let lines: Vec<String> =
            (0..count).map(|number| format!("A{number}={}", "x".repeat(bytes))).collect();
        [("deploy-environment", lines.join("\n"))]
    };
    let borrowed = |inputs: [(&'static str, String); 1]| {
        let [(name, value)] = inputs;
        target_of(&[(name, &value)])
            .map(|target| target.environment.len())
            .map_err(|errors| errors.to_string())
    };
    assert_eq!(borrowed(of(100, 1)), Ok(100));
    insta::assert_snapshot!(borrowed(of(101, 1)).unwrap_err(), @"`deploy-environment`: expected at most 100 variables (example: `FEATURE_X=on`)");
    assert_eq!(borrowed(of(1, 49_152)), Ok(1));
    insta::assert_snapshot!(borrowed(of(1, 49_153)).unwrap_err(), @"`deploy-environment`: expected values of at most 49152 bytes without NUL (example: `FEATURE_X=on`)");
    insta::assert_snapshot!(fault_of(&[("deploy-environment", "A=a\0b")]), @"`deploy-environment`: expected values of at most 49152 bytes without NUL (example: `FEATURE_X=on`)");
}

/// A job that releases has a token that may write, and every server would get it.
// case X9; broken by: `is_the_jobs_own` is never so
#[test]
fn sending_servers_a_write_token_is_warned_about() {
    let warned = |command, token, password| {
        let inputs = [
            ("command", command),
            ("image", "ghcr.io/org/app"),
            ("version", if command == "deploy" { "1.0.0" } else { "" }),
            ("deploy-host", "web1"),
            ("deploy-key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            ("deploy-known-hosts", KNOWN_HOSTS),
            (token, "t0ken"),
            ("deploy-registry-username", "me"),
            ("deploy-registry-password", password),
        ];
        let request = parse("push", &inputs).unwrap_or_else(|errors| panic!("{errors}"));
        let of_token = |notice: &&String| notice.contains("may only read") && !notice.contains("t0ken");
        request.notices.iter().filter(of_token).count()
    };
    for token in ["workflow-token", "github-token"] {
        assert_eq!(warned("release", token, "t0ken"), 1, "{token}");
        assert_eq!(warned("release", token, "another"), 0, "{token}");
        // The job that only deploys is given one that may only read.
        assert_eq!(warned("deploy", token, "t0ken"), 0, "{token}");
    }
}

#[test]
fn a_login_and_a_page_are_whole_or_not_there() {
    let user = ("deploy-registry-username", "me");
    let password = ("deploy-registry-password", "hunter2");
    let target = target_of(&[user, password]).expect("both");
    assert_eq!(target.credential.expect("a login").username, "me");
    assert!(fault_of(&[user]).starts_with("`deploy-registry-password`: "));
    let without_user = fault_of(&[password]);
    assert!(without_user.starts_with("`deploy-registry-username`: ") && !without_user.contains("hunter2"));

    let longest = "\u{e9}".repeat(255);
    let url = ("environment-url", "https://example.com");
    let page = target_of(&[("environment", &longest), url]).expect("both").environment_page.expect("a page");
    assert_eq!((page.name, page.url.as_deref()), (longest.clone(), Some(url.1)));
    let alone = target_of(&[("environment", "production")]).expect("alone").environment_page.expect("a page");
    assert_eq!((alone.name.as_str(), alone.url), ("production", None));
    for name in [format!("{longest}x"), "two\nlines".to_owned()] {
        assert!(fault_of(&[("environment", &name)]).starts_with("`environment`: "), "{name}");
    }
    assert!(fault_of(&[url]).starts_with("`environment`: expected the environment that"));
    let elsewhere = [("environment", "production"), ("environment-url", "ftp://example.com")];
    assert!(fault_of(&elsewhere).starts_with("`environment-url`: "));
}

#[test]
fn given_names_win_over_the_applications_name() {
    let target = target_of(&[("deploy-user", "deploy_9"), ("deploy-app", "shop")]).expect("both fit");
    assert_eq!((target.user.as_str(), target.app.as_str()), ("deploy_9", "shop"));
    assert!(fault_of(&[("deploy-user", "Root")]).starts_with("`deploy-user`: expected a system user"));
}

#[test]
fn a_user_is_one_that_useradd_makes() {
    for text in ["a", "_", "autotag-app", "a_9", &"a".repeat(32)] {
        assert!(is_user(text), "{text}");
    }
    for text in ["", "-a", "9a", "A", "aB", "a.b", "a!", &"a".repeat(33)] {
        assert!(!is_user(text), "{text}");
    }
}

#[test]
fn all_errors_of_a_deployment_are_reported_at_once() {
    let errors = target_of(&[
        ("deploy-host", "root@web1, ssh://web2, web3:0, web4, web4, [::1, -oProxyCommand=x"),
        ("deploy-port", "ssh"),
        ("deploy-user", "Deploy User"),
        ("deploy-key", ""),
        ("deploy-known-hosts", ""),
        ("deploy-app", "My App"),
        ("deploy-timeout", "10"),
        ("deploy-environment", "A=1\nhunter2\nB-C=hunter2"),
        ("deploy-registry-password", "hunter2"),
        ("deploy-on-failure", "retry"),
        ("deploy-allow-downgrade", "maybe"),
        ("environment-url", "example.com"),
    ])
    .expect_err("nearly everything is wrong");
    insta::assert_snapshot!(errors);
    let errors = target_of(&[("deploy-known-hosts", "hunter2")]).expect_err("no host key").to_string();
    assert!(errors.starts_with("`deploy-known-hosts`") && !errors.contains("hunter2"), "{errors}");
}

/// Whether it is said or comes from the image's name.
#[test]
fn an_invalid_application_name_is_a_fault() {
    for inputs in [("deploy-app", "home"), ("image", "ghcr.io/org/home")] {
        let errors = target_of(&[inputs]).expect_err("no application has this name").to_string();
        assert!(errors.starts_with("`deploy-app`: ") && errors.contains("`home`"), "{errors}");
    }
}

#[test]
fn a_deployment_without_a_host_is_a_fault() {
    for (inputs, named) in [
        (&[("deploy-key", "k")][..], "deploy-key"),
        (&[("environment", "production")], "environment"),
        (&[("command", "deploy")], "command: deploy"),
        (&[("command", "rollback")], "command: rollback"),
        (&[("command", "status")], "command: status"),
    ] {
        let errors = parse("push", inputs).expect_err(named).to_string();
        assert!(errors.starts_with("`deploy-host`: ") && errors.contains(named), "{errors}");
    }
    // The runner hands the defaults over as if they had been given.
    let defaults = [("deploy-port", "22"), ("deploy-timeout", "10m"), ("deploy-on-failure", "keep")];
    assert_eq!(parse("push", &defaults).unwrap().deploy, Deploy::Off);
}

#[test]
fn a_pull_request_without_secrets_deploys_nothing() {
    let inputs = [("deploy-host", "web1"), ("deploy-known-hosts", KNOWN_HOSTS)];
    let request = parse("pull_request", &inputs).expect("no fault of the fork's");
    assert_eq!(request.deploy, Deploy::Off);
    assert!(request.notices.iter().any(|notice| notice.contains("deploy-key")), "{:?}", request.notices);
    assert!(parse("push", &inputs).is_err());
    assert!(parse("pull_request", &[&inputs[..], &[("command", "status")]].concat()).is_err());
}

#[test]
fn servers_try_nothing_out() {
    let errors = parse("push", &[("command", "rollback"), ("dry-run", "true"), ("deploy-host", "web1")]);
    assert!(errors.unwrap_err().to_string().contains("`dry-run`"));
}

#[test]
fn times_have_units_and_bounds() {
    for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("6h", 21600), ("1h1m1s", 3661)] {
        assert_eq!(text.parse::<Period>(), Ok(Period(Duration::from_secs(seconds))), "{text}");
    }
    for text in ["", "10", "m", "9s", "7h", "30m1h", "1m1m", "-5m", "5 m", "1d", "99999999999999999999h"] {
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
}

#[test]
fn variables_are_read_to_the_letter() {
    let target = target_of(&[("deploy-environment", "FEATURE_X=on\n URL=a=b c\nEMPTY=")]).unwrap();
    let pairs: Vec<(&str, &str)> =
        target.environment.iter().map(|(key, value)| (key.as_str(), value.reveal())).collect();
    assert_eq!(pairs, [("EMPTY", ""), ("FEATURE_X", "on"), ("URL", "a=b c")]);
}
