//! The context on its way into an image: what is sent of it, and that it arrives as it is on disk.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use autotag_base::TroubleKind;
use autotag_deploy::ports::{BuildEvent, BuildRequest, Builder as _};

use super::image::{holds, names};
use super::way::CountingWay;
use super::{Images, Log, becomes, engine, request};
use crate::context::folder;

/// Whatever has a name that is no text is sent as a tar.
fn odd(folder: &Path) -> PathBuf {
    folder.join(OsStr::from_bytes(b"odd\xFFname"))
}

/// A tree with everything that can be in one.
fn varied() -> tempfile::TempDir {
    let folder = folder(&[
        ("Dockerfile", "FROM scratch\nCOPY . /srv/\n"),
        ("a/b.txt", "b"),
        ("a.txt", "a"),
        ("a-b/c", "c"),
        ("empty/deep/", ""),
        ("none", ""),
        ("naïve 名/ü", "text"),
        ("run", "#!/bin/sh\n"),
    ]);
    let root = folder.path();
    let mode = |name: &str, mode| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("mode");
    };
    mode("run", 0o4755);
    mode("none", 0o600);
    mode("empty/deep", 0o1777);
    mode("a", 0o2750);
    symlink("../a.txt", root.join("a/link")).expect("a link");
    symlink("/not/there", root.join("dangling")).expect("a link");
    fs::hard_link(root.join("a.txt"), root.join("hard")).expect("a hard link");
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().expect("mkfifo").success());
    let large: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(root.join("large"), large).expect("a large file");
    let time = UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    fs::File::open(root.join("a.txt")).expect("open").set_modified(time).expect("a time");
    folder
}

#[tokio::test]
async fn both_ways_give_the_same_image() {
    let (engine, mut images) = (engine().await, Images::default());
    let folder = varied();
    let mut build = async |files: usize| {
        // The cache does not look at times.
        let request = BuildRequest { no_cache: true, ..request(folder.path()) };
        let image = engine.build(&request, &mut Log::default()).await.expect("builds");
        images.0.push(image.clone());
        let mut held = holds(&image, "srv");
        held.retain(|name, _| !name.starts_with("odd"));
        // COPY gives a directory the time at which it copied what is in it.
        held.values_mut().filter(|entry| entry.0 == b'5').for_each(|directory| directory.3 = 0);
        assert_eq!(held.len(), files, "{held:#?}");
        held
    };
    let asked_for = build(16).await;
    fs::write(odd(folder.path()), "").expect("a file");
    assert_eq!(build(16).await, asked_for);
    let of = |name: &str| asked_for[name].clone();
    assert_eq!((of("run").1, of("empty/deep").1, of("a").1), (0o4755, 0o1777, 0o2750));
    assert_eq!(
        (of("a.txt").3, of("large").2, of("a/link").4.as_str()),
        (1_234_567_890, 20_000_000, "../a.txt")
    );
}

#[tokio::test]
async fn only_what_the_dockerfile_names_is_sent() {
    let (way, mut images) = (CountingWay::start(), Images::default());
    let engine = way.engine().await;
    let folder = folder(&[
        ("one/a", "a"),
        ("one/deep/b", "b"),
        ("package.json", "{}"),
        ("package-lock.json", "{}"),
        ("src/main", "main"),
        (".git/config", ""),
        ("Dockerfile", ""),
    ]);
    for name in ["big", ".git/pack", "src/large"] {
        let file = fs::File::create(folder.path().join(name)).expect("a file");
        file.set_len(20_000_000).expect("a sparse file");
    }
    symlink("one", folder.path().join("link")).expect("a link");
    for (copies, held, large) in [
        ("COPY one /srv/", &["a", "deep", "deep/b"][..], 0),
        ("COPY one/deep/b /srv/", &["b"], 0),
        ("COPY package*.json /srv/", &["package-lock.json", "package.json"], 0),
        ("COPY [\"package.json\", \"one/a\", \"/srv/\"]", &["a", "package.json"], 0),
        ("COPY src /srv/", &["large", "main"], 1),
        // A link may lead anywhere, so all is sent.
        ("COPY link/deep /srv/", &["b"], 3),
    ] {
        fs::write(folder.path().join("Dockerfile"), format!("FROM scratch\n{copies}\n"))
            .expect("a Dockerfile");
        let before = way.sent();
        let image = engine.build(&request(folder.path()), &mut Log::default()).await.expect("builds");
        let sent = way.sent() - before;
        assert_eq!(names(&image, "srv"), held, "{copies}");
        assert!((large * 20_000_000..large * 20_100_000 + 100_000).contains(&sent), "{copies}: {sent}");
        images.0.push(image);
    }
}

#[tokio::test]
async fn many_small_files_arrive() {
    const FILES: usize = 20_000;
    let (engine, mut images) = (engine().await, Images::default());
    let folder = folder(&[("Dockerfile", "FROM scratch\nCOPY files /srv/\n"), ("files/", "")]);
    for number in 0..FILES {
        fs::write(folder.path().join(format!("files/{number}")), number.to_string()).expect("a file");
    }
    let image = engine.build(&request(folder.path()), &mut Log::default()).await.expect("builds");
    images.0.push(image.clone());
    assert_eq!(names(&image, "srv").len(), FILES);
}

#[tokio::test]
async fn a_build_that_is_dropped_reads_no_further() {
    let way = CountingWay::start();
    let engine = way.engine().await;
    let folder = folder(&[("Dockerfile", "FROM scratch\nCOPY big /\n")]);
    let big = fs::canonicalize(folder.path()).expect("there").join("big");
    fs::File::create(&big).expect("a file").set_len(1 << 40).expect("a sparse terabyte");
    let is_open = || {
        let open = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        open.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == big)
    };
    let request = request(folder.path());
    let mut log = Log::default();
    tokio::select! {
        outcome = engine.build(&request, &mut log) => panic!("a terabyte was sent: {outcome:?}"),
        () = becomes("it is sent", || is_open() && way.sent() > 50_000_000) => {}
    }
    becomes("the file is closed, and the connection", || !is_open() && way.open() == 0).await;
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_fails_the_build_by_name() {
    let way = CountingWay::start();
    let engine = way.engine().await;
    let folder = folder(&[("Dockerfile", "FROM scratch\nCOPY . /srv/\n"), ("file", "twelve bytes")]);
    let file = folder.path().join("file");
    way.before_next(move || fs::write(file, "seven b").expect("a shorter file"));
    let failed = engine.build(&request(folder.path()), &mut Log::default()).await.expect_err("half a file");
    assert_eq!(failed.kind, TroubleKind::Build, "{failed}");
    for words in ["file` changed while it was sent", "it had 12 bytes, the last 5 are gone"] {
        assert!(failed.why.contains(words), "{failed}");
    }
}

#[tokio::test]
async fn a_tar_with_a_hidden_dockerfile_says_so() {
    let (engine, mut images) = (engine().await, Images::default());
    let folder = folder(&[("Dockerfile", "FROM scratch\nCOPY . /srv/\n"), (".dockerignore", "Dockerfile\n")]);
    fs::write(odd(folder.path()), "").expect("a file");
    for (ignored, noted, files) in
        [("Dockerfile\n", true, 3), ("none\n", false, 3), ("Dockerfile\nodd*\n", false, 1)]
    {
        fs::write(folder.path().join(".dockerignore"), ignored).expect("a file");
        let mut log = Log::default();
        let image = engine.build(&request(folder.path()), &mut log).await.expect("builds");
        assert_eq!(names(&image, "srv").len(), files, "{ignored:?}");
        images.0.push(image);
        let said = log.0.iter().any(
            |event| matches!(event, BuildEvent::Note(text) if text.contains("`COPY .` then copies the Dockerfile too")),
        );
        assert_eq!(said, noted, "{ignored:?}: {:?}", log.0);
    }
}
