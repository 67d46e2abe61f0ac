//! The build context against real directories, and against what Docker's own client sends.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use autotag_build_context::context::{ContextError, ContextPlan, EntryKind};
use autotag_build_context::workspace::Workspace;
use autotag_model::reference::Digest;
use futures_util::StreamExt as _;
use tempfile::TempDir;

/// A directory with these files; a name that ends in `/` is an empty directory.
pub fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, content) in files {
        let path = directory.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(&path).expect("a directory");
        } else {
            fs::create_dir_all(path.parent().expect("inside")).expect("a directory");
            fs::write(&path, content).expect("a file");
        }
    }
    directory
}

/// In a workspace that is the temporary directory of all tests.
fn read(context: &Path, dockerfile: &Path) -> Result<ContextPlan, ContextError> {
    ContextPlan::read(&Workspace::at(&std::env::temp_dir()), context, dockerfile)
}

fn plan(directory: &TempDir) -> ContextPlan {
    read(directory.path(), &directory.path().join("Dockerfile")).expect("a plan")
}

fn names(plan: &ContextPlan) -> Vec<String> {
    plan.entries().iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

async fn tar_of(plan: ContextPlan) -> Result<Vec<u8>, String> {
    let mut stream = Arc::new(plan).stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => {
                let kept = stream.fault().get().map(ContextError::to_string);
                assert_eq!(kept, Some(error.to_string()), "the stream and its fault say the same");
                return Err(error.to_string());
            }
        }
    }
    Ok(bytes)
}

/// The entries of a tar: path, kind, content, and where a link leads.
type Entries = Vec<(Vec<u8>, tar::EntryType, String, String)>;

/// All of them are root's.
fn entries_of(tar: &[u8]) -> Entries {
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("an entry");
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("content");
        let header = entry.header();
        assert_eq!((header.uid().expect("uid"), header.gid().expect("gid")), (0, 0));
        let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        (entry.path_bytes().into_owned(), header.entry_type(), content, link.unwrap_or_default())
    };
    tar::Archive::new(tar).entries().expect("a tar").map(entry).collect()
}

#[tokio::test]
async fn rights_and_times_of_files_are_kept() {
    let directory = directory(&[("Dockerfile", "FROM scratch\n"), ("a", "one")]);
    let file = directory.path().join("a");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).expect("mode");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890);
    fs::File::open(&file).expect("open").set_modified(time).expect("mtime");
    let tar = tar_of(plan(&directory)).await.expect("a tar");
    let mut archive = tar::Archive::new(tar.as_slice());
    let entry = archive.entries().expect("a tar").nth(1).expect("the second").expect("an entry");
    assert_eq!(entry.path_bytes().as_ref(), b"a");
    let header = entry.header();
    assert_eq!((header.mode().expect("mode"), header.mtime().expect("time")), (0o4751, 1_234_567_890));
}

#[tokio::test]
async fn everything_arrives_as_it_is_on_disk() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let directory = directory(&[
        ("Dockerfile", "FROM scratch\n"),
        ("b/file", "two"),
        ("a", "one"),
        ("empty/", ""),
        ("none", ""),
        (long.as_str(), "deep"),
    ]);
    let root = directory.path();
    let odd = OsStr::from_bytes(b"odd\xFF\nname");
    fs::write(root.join(odd), "odd").expect("a name that is no UTF-8");
    let target = "t".repeat(300);
    symlink("./b//file", root.join("link")).expect("a link");
    symlink(&target, root.join("long-link")).expect("a link that leads nowhere");
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().expect("mkfifo").success());

    let plan = plan(&directory);
    assert!(plan.needs_an_archive());
    assert_eq!((plan.dockerfile_name(), plan.total()), ("Dockerfile", 13 + 3 + 3 + 4 + 3));
    let tar = tar_of(plan).await.expect("a tar");
    let file = |name: &[u8], content: &str| {
        (name.to_vec(), tar::EntryType::Regular, content.to_owned(), String::new())
    };
    let other =
        |name: &str, kind, link: &str| (name.as_bytes().to_vec(), kind, String::new(), link.to_owned());
    let expected = vec![
        file(b"Dockerfile", "FROM scratch\n"),
        file(b"a", "one"),
        other("b", tar::EntryType::Directory, ""),
        file(b"b/file", "two"),
        other(&"d".repeat(120), tar::EntryType::Directory, ""),
        file(long.as_bytes(), "deep"),
        other("empty", tar::EntryType::Directory, ""),
        other("link", tar::EntryType::Symlink, "./b//file"),
        other("long-link", tar::EntryType::Symlink, &target),
        file(b"none", ""),
        file(b"odd\xFF\nname", "odd"),
        other("pipe", tar::EntryType::Fifo, ""),
    ];
    assert_eq!(entries_of(&tar), expected);
}

#[test]
fn ignored_files_are_neither_sent_nor_read() {
    let directory = directory(&[
        ("Dockerfile", ""),
        (".dockerignore", "*\n!src/**/*.rs\n!empty-but-kept\n"),
        ("src/deep/a.rs", ""),
        ("src/deep/a.tmp", ""),
        ("src/other/b.tmp", ""),
        ("empty-but-kept/", ""),
        ("secret/key", ""),
    ]);
    // Only an exception could lead in there, and none does; root may read all, so a name is no proof.
    let plan = plan(&directory);
    assert_eq!(names(&plan), ["empty-but-kept", "src", "src/deep", "src/deep/a.rs"]);
    let ignore_file = fs::canonicalize(directory.path().join(".dockerignore")).expect("there");
    assert_eq!(plan.ignored_by("secret/key"), Some((ignore_file.as_path(), 1)));
    assert_eq!(plan.ignored_by("src/deep/a.rs"), None);
}

#[test]
fn the_dockerfile_is_read_from_wherever_it_is() {
    let inside =
        directory(&[("docker/app.Dockerfile", "FROM a\n"), ("docker/x", ""), (".dockerignore", "docker\n")]);
    let plan = read(inside.path(), &inside.path().join("./docker/../docker/app.Dockerfile"));
    let plan = plan.expect("a plan");
    assert_eq!((plan.dockerfile_name(), plan.dockerfile_text()), ("app.Dockerfile", &b"FROM a\n"[..]));
    assert_eq!(names(&plan), [".dockerignore"]);

    let outside = directory(&[("ctx/a", ""), ("Dockerfile", "FROM b\n")]);
    let plan = read(&outside.path().join("ctx"), &outside.path().join("Dockerfile")).expect("a plan");
    assert_eq!((plan.dockerfile_name(), plan.dockerfile_text()), ("Dockerfile", &b"FROM b\n"[..]));
    assert_eq!(names(&plan), ["a"]);

    // A link out of the context is read, and sent as the link that it is.
    symlink(outside.path().join("Dockerfile"), outside.path().join("ctx/Dockerfile")).expect("a link");
    let context = outside.path().join("ctx");
    let plan = read(&context, &context.join("Dockerfile")).expect("a plan");
    assert_eq!(plan.dockerfile_text(), b"FROM b\n");
    assert!(matches!(plan.entries()[0].kind, EntryKind::Link(_)));
}

#[test]
fn the_dockerfiles_own_ignore_file_comes_first() {
    let directory = directory(&[
        ("Dockerfile", ""),
        ("Dockerfile.dockerignore", "a\nDockerfile.dockerignore\n"),
        (".dockerignore", "b\n"),
        ("a", ""),
        ("b", ""),
    ]);
    assert_eq!(names(&plan(&directory)), [".dockerignore", "Dockerfile", "b"]);
}

#[test]
fn faults_name_the_input_and_help() {
    let directory = directory(&[("services/api/Dockerfile", "FROM scratch\n"), ("file", "")]);
    let root = directory.path();
    let asked = root.join("services/Dockerfile");
    let text =
        |context: &Path, dockerfile: &Path| read(context, dockerfile).expect_err("a fault").to_string();
    let wrong = text(root, &asked);
    assert!(wrong.starts_with(&format!("input `file`: `{}` does not exist", asked.display())), "{wrong}");
    let there = root.join("services/api/Dockerfile");
    assert!(wrong.ends_with(&format!("; there is one at `{}`", there.display())), "{wrong}");
    assert!(wrong.contains("for example `docker/Dockerfile`"), "{wrong}");
    let wrong = text(root, &root.join("services/api"));
    assert!(wrong.contains("is a directory; expected the path of a Dockerfile"), "{wrong}");
    let wrong = text(&root.join("missing"), &there);
    assert!(wrong.starts_with("input `context`: `") && wrong.contains("does not exist"), "{wrong}");
    let wrong = text(&root.join("file"), &there);
    assert!(wrong.contains("is a file; expected a directory"), "{wrong}");
    fs::write(root.join(".dockerignore"), "ok\n[a\n").expect("written");
    let wrong = text(root, &there);
    assert!(wrong.contains(".dockerignore`, line 2, `[a`: "), "{wrong}");
}

#[tokio::test]
async fn a_file_that_changes_or_goes_is_named() {
    for (change, words) in
        [("shrink", "the last 4000000 are gone"), ("grow", "it grew"), ("remove", "No such file")]
    {
        let directory = directory(&[("Dockerfile", ""), ("big", "")]);
        let path = directory.path().join("big");
        fs::write(&path, vec![1; 6_000_000]).expect("written");
        let plan = plan(&directory);
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("open");
        match change {
            "shrink" => file.set_len(2_000_000).expect("shorter"),
            "grow" => file.write_all(b"x").expect("longer"),
            _ => fs::remove_file(&path).expect("gone"),
        }
        let error = tar_of(plan).await.map(|tar| tar.len()).expect_err("the tar would be wrong");
        assert!(error.contains("/big`") && error.contains(words), "{change}: {error}");
        assert!(error.contains("list it in .dockerignore"), "{change}: {error}");
    }
}

/// Root reads everything; so the walk runs as nobody, in a process of its own.
#[test]
fn an_unreadable_file_is_named() {
    if let Some(directory) = child_argument("UNREADABLE") {
        let plan = read(&directory, &directory.join("Dockerfile")).expect("names can be read");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        println!(
            "said: {}",
            runtime.block_on(tar_of(plan)).map(|tar| tar.len()).expect_err("it may not be read")
        );
        return;
    }
    let directory = directory(&[("Dockerfile", ""), ("key", "secret")]);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::set_permissions(directory.path().join("key"), fs::Permissions::from_mode(0o000)).expect("mode");
    let shown = run_again(
        concat!(module_path!(), "::an_unreadable_file_is_named"),
        "UNREADABLE",
        directory.path(),
        true,
    );
    assert!(shown.contains("said: cannot read `") && shown.contains("/key`"), "{shown}");
    assert!(shown.contains("Permission denied"), "{shown}");
}

/// Likewise: what an ignore file that nobody reads names would be in the image.
// case A2; broken by: `ignore_file` passes over every fault
#[test]
fn an_unreadable_ignore_file_is_named() {
    if let Some(directory) = child_argument("UNREADABLE_IGNORE_FILE") {
        let read = read(&directory, &directory.join("Dockerfile"));
        println!("said: {}", read.map(|_| ()).expect_err("it may not be read"));
        return;
    }
    let directory = directory(&[("Dockerfile", ""), (".dockerignore", "secret\n"), ("secret", "")]);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let ignore = directory.path().join(".dockerignore");
    fs::set_permissions(ignore, fs::Permissions::from_mode(0o000)).expect("mode");
    let shown = run_again(
        concat!(module_path!(), "::an_unreadable_ignore_file_is_named"),
        "UNREADABLE_IGNORE_FILE",
        directory.path(),
        true,
    );
    assert!(shown.contains("/.dockerignore` may not be read"), "{shown}");
}

/// The figure is of a process that does nothing else: about 1 GiB of context, and its high-water mark.
#[test]
fn a_gigabyte_of_context_needs_little_memory() {
    if let Some(directory) = child_argument("GIGABYTE") {
        let plan = Arc::new(read(&directory, &directory.join("Dockerfile")).expect("a plan"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let bytes = runtime.block_on(async {
            let mut stream = plan.stream();
            // Some work, in which a reader that does not wait for its taker would get far ahead.
            std::hint::black_box(Digest::of(&vec![0; 16 * 1024 * 1024]));
            let mut bytes = 0;
            while let Some(chunk) = stream.next().await {
                bytes += chunk.expect("a chunk").len();
            }
            bytes
        });
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("a high-water mark");
        println!("{peak}\nbytes: {bytes}");
        return;
    }
    let directory = directory(&[("Dockerfile", "")]);
    let big = fs::File::create(directory.path().join("big")).expect("a file");
    big.set_len(1 << 30).expect("a sparse gigabyte");
    let shown = run_again(
        concat!(module_path!(), "::a_gigabyte_of_context_needs_little_memory"),
        "GIGABYTE",
        directory.path(),
        false,
    );
    let number = |key: &str| -> u64 {
        let line =
            shown.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key} {shown}"));
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    assert!(number("bytes:") > 1 << 30, "{shown}");
    assert!(number("VmHWM:") < 64 * 1024, "{shown}");
}

#[expect(clippy::disallowed_methods, reason = "it tells a child process of this program what to do")]
pub fn child_argument(purpose: &str) -> Option<PathBuf> {
    std::env::var_os(format!("AUTOTAG_TEST_{purpose}")).map(PathBuf::from)
}

/// Runs one test of this program again, by its `module_path!()` and name, in a process of its own; gives what it
/// printed.
pub fn run_again(test: &str, purpose: &str, directory: &Path, as_nobody: bool) -> String {
    let program = std::env::current_exe().expect("this program");
    let mut command = if as_nobody {
        // The program may stand where nobody may look: a copy beside the context does not.
        let copy = directory.with_extension("program");
        fs::copy(&program, &copy).expect("a copy");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        command
    } else {
        Command::new(program)
    };
    let (_, test) = test.split_once("::").expect("a path begins with the crate's name");
    command.args(["--exact", test, "--nocapture"]).env(format!("AUTOTAG_TEST_{purpose}"), directory);
    let output = command.output().expect("the child runs");
    let _ = fs::remove_file(directory.with_extension("program"));
    let printed =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("test result: ok. 1 passed"), "{test}: {printed}");
    printed
}

const TREE: &[&str] = &[
    "a.txt",
    "b.md",
    "README.md",
    ".env",
    ".git/config",
    "src/main.rs",
    "src/lib/a.rs",
    "src/lib/a.rs.bak",
    "src/lib/deep/b.rs",
    "node_modules/x/index.js",
    "node_modules/.bin/y",
    "docs/README.md",
    "docs/a b.txt",
    "target/debug/app",
    "target/keep",
    "test/[x]",
    "test/é.txt",
    "test/ab",
    "test/a/b",
    "empty/",
];

/// One ignore file each. Where Docker's clients of 2020 and of today differ (an exception with a wildcard
/// before its last part, an exception for a directory that was not ignored), there is no one truth to
/// compare with, so those are left to the table of `image::ignore`, which follows today's.
const IGNORE_FILES: &[&str] = &[
    "",
    "*",
    "**",
    "*.md\n!README.md",
    "**/*.md\n!docs/README.md",
    "node_modules\n.git\ntarget\n!target/keep",
    "/src/lib/\n./docs//\ntest/../.env",
    "src/**/*.rs",
    "src/lib/**",
    "**/a.rs*\n# comment\n # no comment",
    "*\n!src\nsrc/lib/*.bak",
    "test/[[]x]\ntest/?.txt",
    "test/\\[x\\]\ntest/[^a]*",
    "docs/a b.txt\n\t.env  ",
    "empty\nDockerfile\n.dockerignore",
    "**/b*\n!src/lib/**",
    "\u{feff}*.txt\r\n!a.txt\r\n",
    "*/*/index.js\n**/y\n.*",
];

/// The real client filters, BuildKit copies what it got, and both file sets must be one.
#[test]
fn docker_itself_sends_the_same() {
    for ignore in IGNORE_FILES {
        let mut files: Vec<(&str, &str)> = TREE.iter().map(|name| (*name, "")).collect();
        files.extend([("Dockerfile", "FROM scratch\nCOPY . /\n"), (".dockerignore", *ignore)]);
        let directory = directory(&files);
        let copied = tempfile::tempdir().expect("a temporary directory");
        // By its path: the first `docker` of PATH may be a client without BuildKit.
        let output = Command::new("/usr/bin/docker")
            .args(["build", "--quiet", "--output"])
            .args([copied.path(), directory.path()])
            .env("DOCKER_BUILDKIT", "1")
            .output()
            .expect("Docker's client at /usr/bin/docker");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs = files_below(copied.path());
        let plan = plan(&directory);
        let ours: BTreeSet<String> = plan
            .entries()
            .iter()
            .filter(|entry| matches!(entry.kind, EntryKind::File(_)) || entry.path.as_ref() == b"empty")
            .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
            // Ours has to be in the tar even where it is ignored; Docker's client has another way.
            .filter(|name| name != "Dockerfile" || plan.ignored_by(name).is_none())
            .collect();
        assert_eq!(ours, theirs, "under {ignore:?}");
    }
}

/// All files, and the directory that is empty on purpose.
fn files_below(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            if path.is_dir() {
                directories.push(path);
            }
            if !root.join(&name).is_dir() || name == "empty" {
                found.insert(name);
            }
        }
    }
    found
}

#[test]
fn one_tree_gives_one_tar() {
    let order_of = |directory: &TempDir| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let tar = runtime.block_on(tar_of(plan(directory))).expect("a tar");
        let mut entries = BTreeMap::new();
        for entry in tar::Archive::new(tar.as_slice()).entries().expect("a tar") {
            let entry = entry.expect("an entry");
            entries.insert(entry.raw_header_position(), entry.path_bytes().into_owned());
        }
        entries.into_values().collect::<Vec<_>>()
    };
    let files = [("Dockerfile", ""), ("z", "1"), ("m/b", "2"), ("m/a", "3"), ("m.txt", "4")];
    let mut reversed = files;
    reversed.reverse();
    let expected: Vec<Vec<u8>> =
        ["Dockerfile", "m", "m/a", "m/b", "m.txt", "z"].map(|name| name.as_bytes().to_vec()).into();
    for files in [files, reversed] {
        assert_eq!(order_of(&directory(&files)), expected);
    }
}
