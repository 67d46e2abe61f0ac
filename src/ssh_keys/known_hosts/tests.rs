use super::*;

// Keys made for these tests, and used nowhere.
const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIPAt8y3deqBvm6fqIyuIHTP3gXqEGP6mjsFpWIbJKh+T";
const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAILa7tlV1kwe8CFx1NLdUc2XiHaRViwg5IokETotQmYyW";
const ECDSA: &str = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKVXc/W975jTpGy6fNPrgmEC85whVYjPl8lMvPt1SVnKmU4HnxYCyrunWRKWOMyEv1uzzXZPDNhHRcCd+NJ/JGI=";
const ED25519_PRINT: &str = "SHA256:dG4w5bqbMKE18fmL4c1eYCz3ypaD2cp2P+0CbrPLYQw";
const ECDSA_PRINT: &str = "SHA256:BHwnNw5GqBOL+3xUufgOJoVYHKohfdIklamtqzxULVQ";
// `ssh-keygen -H` made them of `app.example.org` and `[app.example.org]:2222`.
const HASHED: &str = "|1|e/8XZ2oo1vUjl+LSuQmpHqTOQz8=|gb7aztgiw3EHHcuv0qfOKCxZlOg=";
const HASHED_2222: &str = "|1|ZnNzDk1obKcmR0Y+fNNOH0lsInk=|J90hxYGHoB/8M/z/qPButwYgREk=";

fn blob(code: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(code).expect("base64")
}

fn hosts(text: &str) -> KnownHosts {
    text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

/// The verdict on the ED25519 key.
fn verdict(text: &str, host: &str, port: u16) -> HostKeyCheck {
    hosts(text).accepts(host, port, "ssh-ed25519", &blob(ED25519))
}

#[test]
fn names_are_matched_as_sshd_8_says() {
    for (names, host, port, known) in [
        ("app.example.org", "app.example.org", 22, true),
        ("app.example.org", "APP.example.ORG", 22, true),
        ("App.Example.org", "app.example.org", 22, true),
        ("app.example.org", "app.example.com", 22, false),
        ("other,app.example.org,192.0.2.1", "192.0.2.1", 22, true),
        ("*.example.org", "app.example.org", 22, true),
        ("*.example.org", "example.org", 22, false),
        ("app?.example.org", "app1.example.org", 22, true),
        ("app?.example.org", "app.example.org", 22, false),
        ("*a*b*", "xxaxxb", 22, true),
        ("*,!app.example.org", "app.example.org", 22, false),
        ("!app.example.org,*", "web.example.org", 22, true),
        ("!app.example.org", "web.example.org", 22, false),
        ("[app.example.org]:2222", "app.example.org", 2222, true),
        ("[app.example.org]:2222", "app.example.org", 22, false),
        ("[app.example.org]:2222", "app.example.org", 2223, false),
        // OpenSSH falls back to the name without the port.
        ("app.example.org", "app.example.org", 2222, true),
        ("[*.example.org]:2222", "app.example.org", 2222, true),
        ("2001:db8::1", "2001:db8::1", 22, true),
        ("[2001:db8::1]:2222", "2001:db8::1", 2222, true),
        ("2001:db8::1", "[2001:DB8::1]", 22, true),
        (HASHED, "app.example.org", 22, true),
        (HASHED, "web.example.org", 22, false),
        (HASHED_2222, "app.example.org", 2222, true),
        (HASHED_2222, "app.example.org", 22, false),
    ] {
        let found = verdict(&format!("{names} ssh-ed25519 {ED25519} a comment"), host, port);
        let expected = if known { HostKeyCheck::Known } else { HostKeyCheck::Unknown };
        assert_eq!(found, expected, "{names} for {host} port {port}");
    }
}

#[test]
fn every_line_counts() {
    let text = format!(
        "# app.example.org:22 SSH-2.0-OpenSSH_9.2\r\n\r\nweb.example.org ssh-ed25519 {OTHER}\r\n\
         app.example.org ecdsa-sha2-nistp256 {ECDSA}\r\n  app.example.org ssh-ed25519 {ED25519}\r\n"
    );
    assert_eq!(verdict(&text, "app.example.org", 22), HostKeyCheck::Known);
    let web = hosts(&text).accepts("web.example.org", 22, "ssh-ed25519", &blob(OTHER));
    assert_eq!(web, HostKeyCheck::Known);
}

#[test]
fn another_key_of_a_known_host_is_a_change() {
    let text = format!("app.example.org ecdsa-sha2-nistp256 {ECDSA}\napp.example.org ssh-ed25519 {OTHER}");
    let HostKeyCheck::Changed { known } = verdict(&text, "app.example.org", 22) else {
        panic!("not noticed")
    };
    assert_eq!(known[0], format!("{ECDSA_PRINT} (ecdsa-sha2-nistp256)"));
    assert!(known.len() == 2 && known[1].ends_with("(ssh-ed25519)"), "{known:?}");
    // A key of one host is not another's.
    let text = format!("web.example.org ssh-ed25519 {ED25519}\napp.example.org ssh-ed25519 {OTHER}");
    assert!(matches!(verdict(&text, "app.example.org", 22), HostKeyCheck::Changed { .. }));
}

#[test]
fn fingerprints_are_taken_as_ssh_keygen_prints_them() {
    for text in [
        ED25519_PRINT.to_owned(),
        format!("{ED25519_PRINT}="),
        format!("256 {ED25519_PRINT} root@server (ED25519)"),
        format!("{ECDSA_PRINT}\n256 {ED25519_PRINT} root@the server (ED25519)\n"),
    ] {
        assert_eq!(verdict(&text, "any.example.org", 2222), HostKeyCheck::Known, "{text}");
    }
    let other = verdict(&format!("256 {ECDSA_PRINT} root@server (ECDSA)"), "any.example.org", 22);
    assert_eq!(other, HostKeyCheck::Changed { known: vec![format!("{ECDSA_PRINT} (ecdsa-sha2-nistp256)")] });
    assert_eq!(fingerprint(&blob(ED25519)), ED25519_PRINT);
}

// case X9
#[test]
fn a_fingerprint_is_bound_to_the_host_before_it() {
    for (line, host, port, known) in [
        (format!("app.example.org {ED25519_PRINT}"), "app.example.org", 22, true),
        (format!("app.example.org {ED25519_PRINT}"), "APP.example.org", 2222, true),
        (format!("app.example.org {ED25519_PRINT}"), "web.example.org", 22, false),
        (format!("[app.example.org]:2222 {ED25519_PRINT}"), "app.example.org", 22, false),
        (format!("*.example.org,!web.example.org {ED25519_PRINT}"), "web.example.org", 22, false),
        (format!("*.example.org,!web.example.org {ED25519_PRINT}"), "app.example.org", 22, true),
        (format!("app.example.org 256 {ED25519_PRINT} root@app (ED25519)"), "app.example.org", 22, true),
        (format!("app.example.org 256 {ED25519_PRINT} root@app (ED25519)"), "web.example.org", 22, false),
        (format!("{HASHED} {ED25519_PRINT}"), "app.example.org", 22, true),
        (format!("{HASHED} {ED25519_PRINT}"), "web.example.org", 22, false),
        (format!("256 {ED25519_PRINT} app.example.org (ED25519)"), "web.example.org", 22, true),
    ] {
        let expected = if known { HostKeyCheck::Known } else { HostKeyCheck::Unknown };
        assert_eq!(verdict(&line, host, port), expected, "{line} for {host} port {port}");
        let bound = !line.starts_with("256 ");
        assert_eq!(hosts(&line).has_fingerprints_of_no_host(), !bound, "{line}");
    }
    let fault = format!("\"app {ED25519_PRINT}").parse::<KnownHosts>().expect_err("a quote").to_string();
    insta::assert_snapshot!(fault, @"the server's host keys: lines as `ssh-keyscan HOST` prints them, or fingerprints `SHA256:...` as `ssh-keygen -lf` prints them; line 1 is with a quote in the host's name, which no host has: leave the quotes out");
}

#[test]
fn known_keys_are_asked_for_first() {
    let rsa = "AAAAB3NzaC1yc2EAAAADAQABAAAAAQM=";
    let first = |text: &str, host: &str, port| hosts(text).key_types_for(host, port)[..2].to_vec();
    let lines = format!("app ssh-rsa {rsa}\nweb ecdsa-sha2-nistp256 {ECDSA}");
    assert_eq!(first(&lines, "app", 22), ["rsa-sha2-512", "rsa-sha2-256"]);
    assert_eq!(first(&lines, "app", 2222), ["rsa-sha2-512", "rsa-sha2-256"]);
    assert_eq!(first(&lines, "web", 22), ["ecdsa-sha2-nistp256", "ssh-ed25519"]);
    assert_eq!(first(&lines, "else", 22), ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
    let typed = format!("256 {ECDSA_PRINT} root@server (ECDSA)");
    assert_eq!(first(&typed, "app", 22), ["ecdsa-sha2-nistp256", "ssh-ed25519"]);
    assert!(!hosts(&typed).has_fingerprints_of_no_type() && hosts(ECDSA_PRINT).has_fingerprints_of_no_type());
    for text in [lines.as_str(), typed.as_str()] {
        assert_eq!(hosts(text).key_types_for("app", 22).len(), ALGORITHMS.len(), "the others stay possible");
    }
}

#[test]
fn invalid_lines_are_refused_with_their_number_and_a_remedy() {
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=";
    let all = [
        String::new(),
        "# only a comment\n\n".to_owned(),
        format!("@cert-authority *.example.org ssh-ed25519 {ED25519}"),
        format!("# x\n@revoked app ssh-ed25519 {ED25519}"),
        format!("@trusted app ssh-ed25519 {ED25519}"),
        format!("ssh-ed25519 {ED25519} root@app"),
        format!("app ssh-rsa {ED25519}"),
        format!("app ssh-ed25519 {}", &ED25519[..40]),
        format!("app ssh-ed25519 {}!", &ED25519[..40]),
        "app 1024 35 12345678901234567890 root".to_owned(),
        "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48".to_owned(),
        ED25519_PRINT[..30].to_owned(),
        format!("app,,web ssh-ed25519 {ED25519}"),
        format!("|2|AAAA|BBBB ssh-ed25519 {ED25519}"),
        format!("|1|AAAA|BBBB ssh-ed25519 {ED25519}"),
        private.to_owned(),
        "app.example.org".to_owned(),
    ]
    .map(|text| {
        let fault = text.parse::<KnownHosts>().expect_err(&text).to_string();
        assert!(!fault.contains("b3Blbn") && !fault.contains(&ED25519[..20]), "{fault}");
        format!("{text:?}\n    {fault}")
    });
    insta::assert_snapshot!(all.join("\n"));
    let two = "x\ny".parse::<KnownHosts>().expect_err("two faults").to_string();
    assert!(two.contains("line 1 ") && two.contains("line 2 "), "{two}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n]{0,200}", host in "[ -~]{0,20}") {
        if let Ok(hosts) = text.parse::<KnownHosts>() {
            hosts.accepts(&host, 22, "ssh-ed25519", b"blob");
        }
    }

    #[test]
    fn nor_does_a_line_that_is_nearly_right(names in "[|!*?,\\[\\]:a-z0-9=]{0,40}", host in "[a-z.]{0,20}") {
        if let Ok(hosts) = format!("{names} ssh-ed25519 {ED25519}").parse::<KnownHosts>() {
            hosts.accepts(&host, 2222, "ssh-ed25519", &blob(ED25519));
        }
    }
}
