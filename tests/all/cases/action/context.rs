//! What is built, and from where: ignore files, links, checkouts.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use autotag_build_context::workspace::{Workspace, open_as_planned};
use autotag_deploy::ports::Builder as _;

use crate::action::build::Built;
use crate::action::context::directory;
use crate::action::docker_build::context::odd;
use crate::action::docker_build::image::{holds, names};
use crate::action::docker_build::{Images, Log, engine, request};

/// A Dockerfile that copies everything, and a file that must not be in the image.
fn with_a_secret() -> Built {
    let built = Built::new();
    built.file("Dockerfile", "FROM scratch\nCOPY . /srv/\n");
    built.file("secret.env", "PASSWORD=hunter2\n");
    built
}

/// A run that ends so, in one annotation with all of these; nothing is published.
#[track_caller]
fn fails(built: &Built, inputs: &[(&str, &str)], code: i32, words: &[&str]) -> String {
    let run = built.project.workflow.push(&built.project.merge("one"));
    let run = inputs.iter().fold(run, |run, (name, value)| run.with(name, value)).finish().failed(code);
    let annotation = run.annotations("error")[0].to_owned();
    for word in words {
        assert!(annotation.contains(word), "{word:?} is missing in {annotation}");
    }
    built.assert_untouched();
    run.raw
}

// case A2; broken by: a fault of its text is taken for an empty file
pub fn an_ignore_file_that_is_no_utf_8_is_an_error() {
    let text = "# secrets\r\nsecret.env\r\n";
    let utf_16 = |mark: &str, encode: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("{mark}{text}").encode_utf16().flat_map(encode).collect()
    };
    for (name, content, line) in [
        (".dockerignore", utf_16("\u{feff}", u16::to_le_bytes), "line 1"),
        (".dockerignore", utf_16("\u{feff}", u16::to_be_bytes), "line 1"),
        (".dockerignore", utf_16("", u16::to_le_bytes), "line 1"),
        (".dockerignore", utf_16("", u16::to_be_bytes), "line 1"),
        (".dockerignore", b"node_modules\nsecret.env\n\xE4.txt\n".to_vec(), "line 3"),
        (".dockerignore", b"node_modules\nsecret.env\0\n".to_vec(), "line 2"),
        ("Dockerfile.dockerignore", utf_16("\u{feff}", u16::to_le_bytes), "line 1"),
    ] {
        let built = with_a_secret();
        fs::write(built.project.workflow.workspace().join(name), content).expect("an ignore file");
        fails(&built, &[], 5, &[name, line, "expected "]);
    }
}

// case A2; broken by: `ignore_file` passes over every fault
pub fn an_ignore_file_that_cannot_be_read_is_an_error() {
    for name in [".dockerignore", "Dockerfile.dockerignore"] {
        let built = with_a_secret();
        let path = built.project.workflow.workspace().join(name);
        fs::create_dir(&path).expect("a directory");
        fails(&built, &[], 5, &[name, "is a directory"]);
        fs::remove_dir(&path).expect("gone");
        symlink("not-there", &path).expect("a link");
        fails(&built, &[], 5, &[name, "is a link to `not-there`"]);
        fs::remove_file(&path).expect("gone");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        fails(&built, &[], 2, &[name, "is a named pipe"]);
    }
}

// case X6; broken by: `Workspace::holds` and `is_made_by_the_kernel` let everything through
pub fn a_link_to_the_jobs_environment_is_refused() {
    let built = with_a_secret();
    let workspace = built.project.workflow.workspace();
    for name in ["Dockerfile", "docker/Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
        let path = workspace.join(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("a directory");
        let _ = fs::remove_file(&path);
        symlink("/proc/self/environ", &path).expect("a link");
        let file = if name.ends_with("ignore") { "safe.Dockerfile" } else { name };
        built.file("safe.Dockerfile", "FROM scratch\nCOPY . /srv/\n");
        let inputs = [("file", file), ("registry-username", "bot"), ("registry-password", "s3cret-Word")];
        let inputs = if name == "Dockerfile.dockerignore" { &inputs[1..] } else { &inputs[..] };
        if name == "Dockerfile.dockerignore" {
            let _ = fs::remove_file(workspace.join(".dockerignore"));
            let _ = fs::remove_file(workspace.join("Dockerfile"));
            built.file("Dockerfile", "FROM scratch\nCOPY . /srv/\n");
        }
        let log = fails(&built, inputs, 2, &["/proc/", "outside of the workspace"]);
        // The masks themselves, which the runner takes out of the log, are the only place.
        let shown: String = log.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
        assert!(!shown.to_lowercase().contains("s3cret-word"), "{name}: {log}");
        assert!(log.contains("::add-mask::S3CRET-WORD\n"), "{log}");
    }
}

// case X6; broken by: `Workspace::holds` lets everything through
pub fn what_leads_out_of_the_workspace_is_refused() {
    let built = with_a_secret();
    let workspace = built.project.workflow.workspace();
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("Dockerfile"), "FROM scratch\nCOPY . /srv/\n").expect("a file");
    symlink(outside.path(), workspace.join("ctx")).expect("a link");
    let at = outside.path().to_string_lossy().into_owned();
    fails(&built, &[("context", "ctx")], 2, &["input `context`", "outside of the workspace"]);
    fails(&built, &[("context", &at)], 2, &["input `context`", "outside of the workspace"]);
    fails(&built, &[("context", "..")], 2, &["input `context`", "outside of the workspace"]);
    fails(&built, &[("context", "/proc/self/cwd")], 2, &["input `context`"]);
    fails(&built, &[("file", "ctx/Dockerfile")], 2, &["input `file`", "outside of the workspace"]);
    fails(&built, &[("file", &format!("{at}/Dockerfile"))], 2, &["input `file`", "outside of the workspace"]);
    fails(&built, &[("file", "/dev/zero")], 2, &["input `file`", "outside of the workspace"]);
    // Opened, it would be waited for without end.
    assert!(Command::new("mkfifo").arg(workspace.join("pipe")).status().expect("mkfifo").success());
    fails(&built, &[("file", "pipe")], 2, &["input `file`", "is a named pipe"]);
}

// case X6; broken by: `plan` names what a link leads to in place of what it says
pub fn links_inside_of_the_context_are_sent_as_links() {
    let built = Built::new();
    let workspace = built.project.workflow.workspace();
    fs::create_dir_all(workspace.join("real/docker")).expect("a directory");
    symlink("real", workspace.join("ctx")).expect("a link");
    fs::write(workspace.join("Dockerfile"), "FROM scratch\nCOPY . /srv/\n").expect("a file");
    symlink("../../Dockerfile", workspace.join("real/docker/Dockerfile")).expect("a link");
    symlink("/etc/passwd", workspace.join("real/passwd")).expect("a link");
    let run = built.project.workflow.push(&built.project.merge("one"));
    let run = run.with("context", "ctx").with("file", "ctx/docker/Dockerfile").finish();
    run.ended("released");
    let [built] = built.leftovers.images().try_into().expect("one image");
    let held = holds(&built.parse().expect("an id"), "srv");
    let links = ["docker/Dockerfile", "passwd"].map(|name| (held[name].0, held[name].4.as_str()));
    assert_eq!(links, [(b'2', "../../Dockerfile"), (b'2', "/etc/passwd")]);
}

// case A10; broken by: `head::of` looks at the directory itself alone
pub fn a_checkout_below_the_workspace_must_have_the_runs_commit() {
    let built = Built::new();
    let workspace = built.project.workflow.workspace();
    let (commit, older) = (built.project.merge("one"), built.project.merge("two"));
    fs::create_dir_all(workspace.join("code/part")).expect("a directory");
    fs::write(workspace.join("code/part/Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").expect("a file");
    let git = |at: &str, text: String| {
        fs::create_dir_all(workspace.join(at).parent().expect("inside")).expect("a directory");
        fs::write(workspace.join(at), text).expect("a file");
    };
    let run = |context: &str, file: &str| {
        let run = built.project.workflow.push(&commit).with("context", context);
        let run = if file.is_empty() { run } else { run.with("file", file) };
        run.finish()
    };
    git("code/.git/HEAD", format!("{older}\n"));
    for (context, file) in
        [("code", "code/part/Dockerfile"), ("code/part", ""), (".", "code/part/Dockerfile")]
    {
        let run = run(context, file).failed(2);
        let annotation = run.annotations("error")[0];
        assert!(annotation.contains(older.as_str()) && annotation.contains("`code` has commit"), "{run}");
        built.assert_untouched();
    }
    // As a worktree has it: a file that names another directory, and refs that are packed elsewhere.
    fs::remove_dir_all(workspace.join("code/.git")).expect("gone");
    git("code/.git", "gitdir: ../store/worktrees/app\n".to_owned());
    git("store/worktrees/app/HEAD", "ref: refs/heads/main\n".to_owned());
    git("store/worktrees/app/commondir", "../..\n".to_owned());
    git("store/packed-refs", format!("# pack-refs with: peeled\n{older} refs/heads/main\n"));
    assert!(run("code/part", "").failed(2).annotations("error")[0].contains(older.as_str()));
    built.assert_untouched();
    git("store/packed-refs", format!("{commit} refs/heads/main\n"));
    run("code/part", "").ended("released");
}

/// Root reads everything, so this only counts where the tests run as somebody else;
/// `action::context::an_unreadable_ignore_file_is_named` does it as nobody, and there the break was seen.
// case A2; broken by: `ignore_file` passes over every fault
pub fn an_ignore_file_that_may_not_be_read_is_an_error() {
    let built = with_a_secret();
    let path = built.project.workflow.workspace().join(".dockerignore");
    fs::write(&path, "secret.env\n").expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("a mode");
    if fs::read(&path).is_err() {
        fails(&built, &[], 5, &[".dockerignore", "may not be read"]);
    }
}

// case X6; broken by: opened without `O_NONBLOCK`, it waits for ever
pub fn a_file_that_was_exchanged_for_a_pipe_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = fs::canonicalize(directory.path()).expect("there").join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    assert!(open_as_planned(&pipe).expect("it opens at once").is_none());
}

/// What a build of this context with this Dockerfile copies by `COPY . /srv/`, by each of the ways to send it.
async fn copied(files: &[(&str, &str)], context: &str, dockerfile: &str) -> Vec<String> {
    const ALL: &str = "FROM scratch\nCOPY . /srv/\n";
    let (directory, mut images) = (directory(&[files, &[(dockerfile, ALL)]].concat()), Images::default());
    let mut request = request(&directory.path().join(context));
    request.workspace = Workspace::at(directory.path());
    request.dockerfile = directory.path().join(dockerfile);
    let mut build = async || {
        let image = engine().await.build(&request, &mut Log::default()).await.expect("it builds");
        images.0.push(image.clone());
        names(&image, "srv")
    };
    let copied = build().await;
    fs::write(odd(&request.context), "").expect("a file");
    let mut as_archive = build().await;
    as_archive.retain(|name| !name.starts_with("odd"));
    assert_eq!(as_archive, copied);
    copied
}

// case A5; broken by: the Dockerfile is kept whatever the ignore file says
pub async fn an_ignored_dockerfile_is_built_from_and_never_copied() {
    let ignore = (".dockerignore", "Dockerfile*\n");
    let files = [ignore, ("a", ""), ("Dockerfile.old", "")];
    assert_eq!(copied(&files, "", "Dockerfile").await, [".dockerignore", "a"]);
    // The directory that it lies in is there for others alone.
    let ignore = (".dockerignore", "docker\n!docker/keep\n");
    let files = [ignore, ("docker/keep", ""), ("docker/x", "")];
    assert_eq!(copied(&files, "", "docker/Dockerfile").await, [".dockerignore", "docker", "docker/keep"]);
    let files = [(".dockerignore", "docker\n"), ("a", "")];
    assert_eq!(copied(&files, "", "docker/Dockerfile").await, [".dockerignore", "a"]);
    // What nobody ignores is copied.
    assert_eq!(copied(&[("a", "")], "", "Dockerfile").await, ["Dockerfile", "a"]);
}

// case A5; broken by: an ignore file is kept whatever it says
pub async fn an_ignored_ignore_file_is_never_copied() {
    let files = [(".dockerignore", ".dockerignore\nsecret\n"), ("a", ""), ("secret", "")];
    assert_eq!(copied(&files, "", "Dockerfile").await, ["Dockerfile", "a"]);
    let own = ("app.Dockerfile.dockerignore", "*.dockerignore\napp.Dockerfile\nsecret\n");
    let files = [own, (".dockerignore", "a\n"), ("a", ""), ("secret", "")];
    assert_eq!(copied(&files, "", "app.Dockerfile").await, ["a"]);
}

// case A5; broken by: one from outside is put into the context
pub async fn a_dockerfile_outside_of_the_context_is_never_copied() {
    let files = [("context/a", ""), ("context/secret", ""), ("context/.dockerignore", "secret\n")];
    assert_eq!(copied(&files, "context", "docker/Dockerfile").await, [".dockerignore", "a"]);
    let own = ("docker/Dockerfile.dockerignore", "a\n.dockerignore\n");
    assert_eq!(copied(&[&files[..], &[own]].concat(), "context", "docker/Dockerfile").await, ["secret"]);
}
