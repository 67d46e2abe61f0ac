use std::os::unix::fs::PermissionsExt;

use super::*;

fn account() -> Account {
    Account::read(
        "autotag-shop",
        "root:x:0:0::/root:/bin/bash\nautotag-shop:x:990:991::/var/lib/autotag/home:/bin/sh\n",
        "root:x:0:\nautotag:x:991:\nwww:x:33:other,autotag-shop\ndocker:x:5:other\n",
        "autotag-shop:*:20000:0:99999:7:::\n",
    )
    .expect("it has a line")
}

fn ours(written: bool, included: bool) -> Ours {
    Ours {
        app: "shop".parse().unwrap(),
        keys: "/etc/autotag/keys/autotag-shop".into(),
        program: "/usr/local/bin/autotag-receiver".into(),
        part: "/etc/ssh/sshd_config.d/autotag.conf".into(),
        written,
        included,
    }
}

const WELL: &str = "port 22\nstrictmodes yes\npubkeyauthentication yes\nforcecommand none\nchrootdirectory none\n\
    authorizedkeyscommand none\nauthenticationmethods publickey\nauthorizedkeysfile /etc/autotag/keys/%u\n";

fn judged(more: &str) -> Vec<String> {
    // A key that is said counts instead of the usual one.
    let keys: Vec<&str> = more.lines().filter_map(|line| line.split(' ').next()).collect();
    let usual = WELL.lines().filter(|line| !keys.contains(&line.split(' ').next().unwrap_or_default()));
    let text = usual.chain(more.lines()).collect::<Vec<_>>().join("\n");
    of_sshd(&Effective::read(&text), &account(), &ours(true, true))
}

#[test]
fn what_keeps_the_user_out_is_named_with_its_remedy() {
    assert_eq!(account().groups, ["autotag", "www"]);
    for well in [
        "",
        "allowusers root\nallowusers autotag-*\n",
        "allowusers root autotag-shop@10.0.0.0/8\n",
        "allowgroups autotag\nallowusers *\n",
        "denyusers root\ndenygroups docker\n",
        "authenticationmethods any\n",
        "forcecommand /usr/local/bin/autotag-receiver receive --app \"${USER#autotag-}\"\n",
        "authorizedkeysfile .ssh/authorized_keys /etc/autotag/keys/%u\n",
    ] {
        assert_eq!(judged(well), [""; 0], "{well}");
    }
    let mut all = [
        "allowusers root\nallowusers admin\n",
        "denyusers autotag-????\n",
        "allowgroups ssh-users wheel\n",
        "denygroups www\n",
        "pubkeyauthentication no\n",
        "forcecommand internal-sftp\n",
        "chrootdirectory /srv/%u\n",
        "authorizedkeyscommand /usr/bin/keys %u\n",
        "authenticationmethods publickey,password\n",
        "authorizedkeysfile .ssh/authorized_keys\n",
    ]
    .map(|more| {
        let faults = judged(more);
        assert_eq!(faults.len(), 1, "{more}: {faults:?}");
        format!("{more:?}\n    {}", faults[0])
    })
    .to_vec();
    assert_eq!(judged("allowusers a\ndenygroups www\npubkeyauthentication no\n").len(), 3, "all at once");
    for (written, included) in [(false, true), (true, false)] {
        let faults = of_sshd(
            &Effective::read("pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys\n"),
            &account(),
            &ours(written, included),
        );
        assert_eq!(faults.len(), 1, "{faults:?}");
        all.push(format!("our part: written {written}, read {included}\n    {}", faults[0]));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn accounts_that_are_locked_or_over_are_named() {
    for (shadow, named) in [
        ("*:20000:0:99999:7:::", None),
        ("*:::::::", None),
        ("*:20000:0:30000:7::20001:", None),
        ("!:20000:0:99999:7:::", Some("usermod --password")),
        ("!*:20000:0:99999:7:::", Some("usermod --password")),
        ("*:20000:0:99999:7::1:", Some("chage --expiredate")),
        ("*:20000:0:99999:7::20000:", Some("chage --expiredate")),
        ("*:0:0:99999:7:::", Some("chage --lastday")),
        ("*:19000:0:90:7:::", Some("chage --lastday")),
    ] {
        let line = format!("autotag-shop:{shadow}");
        let shadow = Some(line.split(':').map(str::to_owned).collect());
        let faults = of_account(&Account { shadow, ..account() }, 20_000);
        match named {
            None => assert_eq!(faults, [""; 0], "{line}"),
            Some(remedy) => {
                assert!(faults.len() == 1 && faults[0].contains(remedy), "{line}: {faults:?}");
            }
        }
    }
    for (shell, named) in [
        ("", false),
        ("/bin/sh", false),
        ("/usr/sbin/nologin", true),
        ("/bin/false", true),
        ("/no/shell", true),
        ("/tmp", true),
    ] {
        let fault = of_shell(&Account { shell: shell.to_owned(), ..account() }, Path::new("/"));
        assert_eq!(fault.is_some_and(|fault| fault.contains("usermod --shell")), named, "{shell}");
    }
}

#[test]
fn modes_that_sshd_refuses_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, file) = (directory.path().join("keys"), directory.path().join("keys/autotag-shop"));
    let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(&file, "").unwrap();
    set(directory.path(), 0o755);
    for (of_directory, of_file, named) in [
        (0o755, 0o644, None),
        (0o775, 0o644, Some("chmod go-w")),
        (0o755, 0o646, Some("chmod go-w")),
        (0o700, 0o644, Some("chmod o+x")),
        (0o755, 0o600, Some("chmod o+r")),
    ] {
        set(&keys, of_directory);
        set(&file, of_file);
        // What lies above is the machine's.
        let ours = directory.path().display().to_string();
        let faults: Vec<String> =
            of_path(&file, 990).into_iter().filter(|fault| fault.contains(&ours)).collect();
        // Who is not root here owns them as neither root nor the user.
        let faults: Vec<String> = faults.into_iter().filter(|fault| !fault.contains("chown")).collect();
        assert_eq!(
            faults.first().is_some_and(|fault| named.is_some_and(|named| fault.contains(named))),
            named.is_some(),
            "{faults:?}"
        );
        assert_eq!(faults.len(), usize::from(named.is_some()), "{faults:?}");
    }
}

#[test]
fn patterns_are_sshds() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "a", true),
        ("a*", "a", true),
        ("a*c", "abbc", true),
        ("a*c", "abbd", false),
        ("?", "", false),
        ("a?c", "abc", true),
        ("*b*", "abc", true),
        ("**", "x", true),
        ("", "", true),
        ("", "a", false),
        ("autotag-*", "autotag-shop", true),
        ("shop", "autotag-shop", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
