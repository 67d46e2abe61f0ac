//! The context on its way into an image: what is sent of it, and that it arrives as it is on disk.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use autotag_base::CallErrorKind;
use autotag_deploy::ports::{BuildRequest, Builder as _};

use super::image::{holds, names};
use super::relay::CountingRelay;
use super::{Images, Log, SHELL, becomes, engine, request};
use crate::action::context::{child_argument, directory, run_again};

/// What has such a name is sent as an archive.
pub fn odd(directory: &Path) -> PathBuf {
    directory.join(OsStr::from_bytes(b"odd\xFFname"))
}

/// A tree with everything that can be in one.
fn varied() -> tempfile::TempDir {
    let directory = directory(&[
        ("Dockerfile", "FROM scratch\nCOPY . /srv/\n"),
        ("a/b.txt", "b"),
        ("a.txt", "a"),
        ("a-b/c", "c"),
        ("empty/deep/", ""),
        ("none", ""),
        ("naïve 名/ü", "text"),
        ("run", "#!/bin/sh\n"),
    ]);
    let root = directory.path();
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
    directory
}

// invariant builds: What is in the context arrives as it is; broken by:
//   `src/adapters/docker/buildkit/file_sync.rs`: no setuid, setgid and sticky bits, no times;
//   `src/adapters/docker/build.rs`: never an archive
#[tokio::test]
async fn both_ways_give_the_same_image() {
    let (engine, mut images) = (engine().await, Images::default());
    let directory = varied();
    let mut build = async |files: usize| {
        // The cache does not look at times.
        let request = BuildRequest { no_cache: true, ..request(directory.path()) };
        let image = engine.build(&request, &mut Log::default()).await.expect("builds");
        images.0.push(image.clone());
        let mut held = holds(&image, "srv");
        let odd = held.remove("odd\\xffname").is_some();
        // COPY gives a directory the time at which it copied what is in it.
        held.values_mut().filter(|entry| entry.0 == b'5').for_each(|directory| directory.3 = 0);
        // Newer Engines copy pipes.
        assert_eq!(held.len() - usize::from(held.contains_key("pipe")), files, "{held:#?}");
        (held, odd)
    };
    let (asked_for, _) = build(16).await;
    fs::write(odd(directory.path()), "").expect("a file");
    assert_eq!(build(16).await, (asked_for.clone(), true));
    let of = |name: &str| asked_for[name].clone();
    assert_eq!((of("run").1, of("empty/deep").1, of("a").1), (0o4755, 0o1777, 0o2750));
    assert_eq!(
        (of("a.txt").3, of("large").2, of("a/link").4.as_str()),
        (1_234_567_890, 20_000_000, "../a.txt")
    );
}

// invariant builds: Only what the Dockerfile names is sent; broken by:
//   `src/adapters/docker/buildkit/file_sync.rs`: the paths that are asked for are not read
#[tokio::test]
async fn only_what_the_dockerfile_names_is_sent() {
    let (way, mut images) = (CountingRelay::start(), Images::default());
    let engine = way.engine().await;
    let directory = directory(&[
        ("one/a", "a"),
        ("one/deep/b", "b"),
        ("package.json", "{}"),
        ("package-lock.json", "{}"),
        ("src/main", "main"),
        (".git/config", ""),
        ("Dockerfile", ""),
    ]);
    for name in ["big", ".git/pack", "src/large"] {
        let file = fs::File::create(directory.path().join(name)).expect("a file");
        file.set_len(20_000_000).expect("a sparse file");
    }
    symlink("one", directory.path().join("link")).expect("a link");
    for (copies, held, large) in [
        ("COPY one /srv/", &["a", "deep", "deep/b"][..], 0),
        ("COPY one/deep/b /srv/", &["b"], 0),
        ("COPY package*.json /srv/", &["package-lock.json", "package.json"], 0),
        ("COPY [\"package.json\", \"one/a\", \"/srv/\"]", &["a", "package.json"], 0),
        ("COPY src /srv/", &["large", "main"], 1),
        // A link may lead anywhere, so all is sent.
        ("COPY link/deep /srv/", &["b"], 3),
    ] {
        fs::write(directory.path().join("Dockerfile"), format!("FROM scratch\n{copies}\n"))
            .expect("a Dockerfile");
        let before = way.sent();
        let image = engine.build(&request(directory.path()), &mut Log::default()).await.expect("builds");
        let sent = way.sent() - before;
        assert_eq!(names(&image, "srv"), held, "{copies}");
        assert!((large * 20_000_000..large * 20_100_000 + 100_000).contains(&sent), "{copies}: {sent}");
        images.0.push(image);
    }
}

// invariant builds: A build takes any number of files; broken by: `src/adapters/docker/buildkit/channel.rs`: the
//   window is the one that HTTP/2 begins with
#[tokio::test]
async fn many_small_files_arrive() {
    const FILES: usize = 20_000;
    let (engine, mut images) = (engine().await, Images::default());
    let directory = directory(&[("Dockerfile", "FROM scratch\nCOPY files /srv/\n"), ("files/", "")]);
    for number in 0..FILES {
        fs::write(directory.path().join(format!("files/{number}")), number.to_string()).expect("a file");
    }
    let image = engine.build(&request(directory.path()), &mut Log::default()).await.expect("builds");
    images.0.push(image.clone());
    assert_eq!(names(&image, "srv").len(), FILES);
}

// invariant builds: A build takes any number of files; broken by: `src/adapters/docker/buildkit/session.rs`: the
//   head of a call is at most what hyper takes
/// Both come in the head of one call.
#[tokio::test]
async fn many_sources_and_many_ignored_names_work() {
    let (engine, mut images) = (engine().await, Images::default());
    let names: Vec<String> = (0..200).map(|number| format!("{}-{number}", "long".repeat(40))).collect();
    let ignored: Vec<String> =
        (0..3000).map(|number| format!("another-name-that-is-ignored-{number}")).collect();
    let ignored = ignored.join("\n");
    let copies = names.chunks(20).map(|names| format!("COPY {} /srv/\n", names.join(" ")));
    let dockerfile = format!("FROM scratch\n{}", copies.collect::<String>());
    let directory = directory(&[("Dockerfile", &dockerfile), (".dockerignore", &ignored)]);
    for name in &names {
        fs::write(directory.path().join(name), name).expect("a file");
    }
    let image = engine.build(&request(directory.path()), &mut Log::default()).await.expect("builds");
    images.0.push(image.clone());
    assert_eq!(super::image::names(&image, "srv").len(), names.len());
}

#[tokio::test]
async fn a_step_may_mount_a_part_of_the_context() {
    let (engine, mut images) = (engine().await, Images::default());
    let directory = super::context(&format!(
        "{SHELL}RUN --mount=type=bind,source=one,target=/mounted [\"/bin/busybox\", \"cp\", \"-r\", \"/mounted\", \"/srv\"]\n"
    ));
    fs::create_dir_all(directory.path().join("one/deep")).expect("a directory");
    fs::write(directory.path().join("one/deep/a"), "a").expect("a file");
    let image = engine.build(&request(directory.path()), &mut Log::default()).await.expect("builds");
    images.0.push(image.clone());
    assert_eq!(names(&image, "srv"), ["deep", "deep/a"]);
}

/// The figure is of a process that does nothing else, and its high-water mark.
#[test]
fn a_large_context_needs_little_memory() {
    const TEST: &str = concat!(module_path!(), "::a_large_context_needs_little_memory");
    if let Some(directory) = child_argument("LARGE") {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let mut images = Images::default();
            images
                .0
                .push(engine().await.build(&request(&directory), &mut Log::default()).await.expect("builds"));
        });
        println!("{}", fs::read_to_string("/proc/self/status").expect("Linux"));
        return;
    }
    let directory =
        directory(&[("Dockerfile", "FROM scratch\nCOPY big /\nCOPY files /files/\n"), ("files/", "")]);
    fs::File::create(directory.path().join("big"))
        .expect("a file")
        .set_len(256 << 20)
        .expect("a sparse file");
    for number in 0..5_000 {
        fs::write(directory.path().join(format!("files/{number}")), number.to_string()).expect("a file");
    }
    let reported = run_again(TEST, "LARGE", directory.path(), false);
    let peak = reported.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 64 * 1024, "{peak} kB");
}

// invariant builds: A build that is dropped ends on both sides; broken by:
//   `src/adapters/docker/buildkit/channel.rs`: the connection outlives the build
#[tokio::test]
async fn a_build_that_is_dropped_reads_no_further() {
    let way = CountingRelay::start();
    let engine = way.engine().await;
    let directory = directory(&[("Dockerfile", "FROM scratch\nCOPY big /\n")]);
    let big = fs::canonicalize(directory.path()).expect("there").join("big");
    fs::File::create(&big).expect("a file").set_len(1 << 40).expect("a sparse terabyte");
    let is_open = || {
        let open = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        open.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == big)
    };
    let request = request(directory.path());
    let mut log = Log::default();
    tokio::select! {
        outcome = engine.build(&request, &mut log) => panic!("a terabyte was sent: {outcome:?}"),
        () = becomes("it is sent", || is_open() && way.sent() > 50_000_000) => {}
    }
    becomes("the file is closed, and the connection", || !is_open() && way.open() == 0).await;
}

// invariant builds: No half file is built from; broken by: `src/adapters/docker/buildkit/file_sync.rs`: what was
//   read is not held to what was announced
#[tokio::test]
async fn a_file_that_changes_during_the_build_fails_it() {
    let way = CountingRelay::start();
    let engine = way.engine().await;
    let directory = directory(&[("Dockerfile", "FROM scratch\nCOPY . /srv/\n"), ("file", "twelve bytes")]);
    let file = directory.path().join("file");
    way.before_next(move || fs::write(file, "seven b").expect("a shorter file"));
    let failed =
        engine.build(&request(directory.path()), &mut Log::default()).await.expect_err("half a file");
    assert_eq!(failed.kind, CallErrorKind::Build, "{failed}");
    for words in ["file` changed while it was sent", "it had 12 bytes, the last 5 are gone"] {
        assert!(failed.why.contains(words), "{failed}");
    }
}
