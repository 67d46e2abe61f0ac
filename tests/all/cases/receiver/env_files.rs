//! Environment files as they are found, read by Compose itself and by the receiver.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use autotag_receiver::config::app_file::values::env_file;
use serde_json::Value;

type Variables = BTreeMap<String, String>;

/// Compose's own reading of the project in a directory.
pub fn compose(directory: &Path) -> Output {
    Command::new("docker-compose")
        .args(["--project-name", "kinds", "--file", "compose.yaml", "config", "--format", "json"])
        .current_dir(directory)
        // Nothing else of this process: Compose takes variables from there.
        .env_clear()
        .env("HOME", directory)
        .env("PATH", testkit::processes::act::path())
        .output()
        .expect("`docker-compose` is on PATH: scripts/test puts it there by scripts/parts/requirements-compose.txt")
}

/// What Compose makes of a file; its words where it refuses it.
fn composes(directory: &Path, bytes: &[u8]) -> Result<Variables, String> {
    std::fs::write(directory.join("file.env"), bytes).expect("the file");
    let output = compose(directory);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(words);
    }
    let project: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let Some(environment) = project["services"]["app"]["environment"].as_object() else {
        return Ok(Variables::new());
    };
    let read = environment.iter().filter_map(|(name, value)| {
        // Written to be read by Compose again.
        Some((name.clone(), value.as_str()?.replace("$$", "$")))
    });
    Ok(read.collect())
}

fn ours(bytes: &[u8]) -> Result<Variables, String> {
    let text = env_file::text_of(bytes.to_vec()).map_err(|fault| fault.to_string())?;
    match env_file::parse(&text) {
        Ok(read) => {
            Ok(read.into_iter().map(|(name, value)| (name.to_string(), value.reveal().to_owned())).collect())
        }
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// Both read the same, or both refuse.
const EQUAL: &[&str] = &[
    "",
    "\n\n",
    "# nothing but a comment",
    "A=1",
    "A=1\nB=2\n",
    "\n\nA=1\n\n# b\n  # c\nB=2",
    "A=",
    "A=\nB=",
    "A=\"\"\nB=''",
    "A = 1",
    "  A=1",
    "\tA=1",
    "A=1   ",
    "A=1\t",
    "A =  1  2  ",
    "A: 1",
    "A: \"1\"",
    "A:",
    "export A=1",
    "export   A=1",
    "export\tA=\"1\"",
    "export=1",
    "exported=1",
    "\u{feff}A=1",
    "\u{feff}# a comment\nA=1",
    "\u{feff}",
    "A=1\r\nB=2\r\n",
    "A=\"1\"\r\nB='2'\r\n",
    "A=\r\nB=1\r\n",
    "COLOR=#ff0000",
    "PASSWORD=#secret",
    "A=a#b",
    "A=a # b",
    "A=a  # b # c",
    "A=a #b",
    "A=a\t#b",
    "A=a\t # b",
    "A=\"a # b\" # c",
    "A='a # b' # c",
    "A=\"a\"#c",
    "#A=1\nB=2",
    "A=it's",
    "A=a\"b\"c",
    "A=a'b'c",
    "A='it\\'s'",
    "A=\"say \\\"hi\\\"\"",
    "A='say \"hi\"'",
    "A=\"it's\"",
    "A='a\\nb'",
    "A=\"a\\nb\\tc\\rd\"",
    "A=\"\\a\\b\\f\\v\"",
    "A=\"a\\\\b\"",
    "A='a\\\\b'",
    "A=\"a\\xb\\q\"",
    "A=a\\nb",
    "A=C:\\Users\\me",
    "A='C:\\Users\\me'",
    "A=\"C:\\\\Users\\\\me\"",
    "ESCAPED=\"a\\$b\"",
    "A=\"\\${B}\"",
    "A=\"\\\\\\$B\"",
    "A='$B ${C} $$'",
    "A=5$",
    "A=a$ b",
    "A=^x$|^y$",
    "A=$1",
    "A=\"$(date)\"",
    "A=a$$b",
    "A=$$",
    "A=\"$$A\"",
    "A=$2y$10$",
    "APP_NAME=Shop\nMAIL_FROM_NAME=\"${APP_NAME}\"",
    "A=1\nB=$A",
    "A=1\nB=x${A}y$A",
    "A=1\nB=\"$A-${A}\"",
    "A=1\nB='$A'",
    "A=${B:-b}",
    "A=${B-b}",
    "A=${B:-}",
    "A=\nB=${A:-b}\nC=${A-c}\nD=${A:+d}\nE=${A+e}",
    "A=1\nB=${A:-b}\nC=${A-c}\nD=${A:+d}\nE=${A+e}\nF=${A:?f}\nG=${A?g}",
    "A=x${B:+b}y${B+b}z",
    "A=1\nB=${C:-$A}",
    "A=1\nB=${C:-${A}}",
    "A=${B:-${C:-c}}d",
    "A=${B:-{c}}d",
    "A=${B:-a b}",
    "A=\"${B:-b}\" # c",
    "HOST=db\nURL=postgres://u:p@${HOST}:5432/x",
    "A='$x'\nB=$A",
    "A=${}",
    "A=${1}",
    "A=${B",
    "A=\"${B\"",
    "A=${B:?not set}",
    "A=${B?not set}",
    "KEY=\"-----BEGIN\nabc\n-----END\"",
    "KEY='-----BEGIN\nabc\n-----END'\nA=1",
    "A=\"1\n\n# no comment\nB=2\"",
    "A='1\r\n2'",
    "A=\"\n\"",
    "A='",
    "A=\"1\nB=2",
    "A='C:\\dir\\'",
    "A={\"a\": [1, 2]}",
    "A='{\"a\": \"b\"}'",
    "A=<xml a=\"b\">",
    "A=b=c==",
    "A=a;b&c|d",
    "A=`date`",
    "A=~",
    "A=*",
    "A=\u{e4}\u{20ac}\u{1f600}",
    "A=\u{a0}1\u{a0}",
    "discovery.type=single-node",
    "xpack.security.enabled=false\nlogger.org-x=INFO",
    "A-B=1",
    "my.list[0]=a\nmy.list[1]=b",
    "_A=1\n__=2",
    "a=1\nA=2",
    "A1=1",
    "A B=1",
    "A+B=1",
    "A/B=1",
    "$A=1",
    "'A'=1",
    "\"A\"=1",
    "set A=1",
    "A='a' 'b'=",
    "A=1 B=2",
    "Logging__LogLevel__Default=Debug",
];

/// What the receiver refuses and Compose takes; with a part of what is said, and the reason.
const INTENDED: &[(&str, &str, &str)] = &[
    ("A", "from the shell", "there is no shell to take it from: the variable would be missing in silence"),
    ("export A", "from the shell", "the same"),
    ("A=1\nB", "from the shell", "the same, for a secret's second line without quotes"),
    (
        "A=$B",
        "to be set",
        "a blank in the place of a variable that nobody sets, most often in a password with a `$`",
    ),
    ("A=pa$word", "to be set", "the same"),
    ("A=a$b\nB=1", "to be set", "the same"),
    ("just some words", "several lines", "a variable without a name"),
    ("A=\"pa$word\"", "to be set", "the same"),
    ("A=x${B}y", "`${B}` to be set", "the same"),
    ("A=a\\$b", "to be set", "the same: without quotes a backslash is itself"),
    ("A=$B\nB=1", "to be set", "the same: what stands below is not known yet"),
    ("A=1\nA=2", "each variable once", "one of the two is lost in silence"),
    ("A='1'\nB=2\nA=3", "each variable once", "the same"),
    (
        "A= # none yet",
        "a line of its own",
        "Compose takes the comment for the value, other programs take none",
    ),
    ("A=  #x", "a line of its own", "the same"),
    ("A=\"1\" B=2", "after the closing quote", "Compose reads a second variable there"),
    ("A='1'2=3", "after the closing quote", "the same"),
    ("1A=1", "a letter or `_` first", "most programs cannot read such a name"),
    (".A=1", "a letter or `_` first", "the same"),
    ("-A=1", "a letter or `_` first", "the same"),
    ("\u{c4}=1", "a variable's name", "the same"),
    ("=1", "the name is missing", "a variable without a name"),
    ("export =1", "the name is missing", "the same"),
    ("A:B=1", "cannot hold a `:`", "Compose reads the name `A` and the value `B=1`"),
    ("URL:http://x", "cannot hold a `:`", "a `:` without space is as often a part of a name"),
    ("A\tB=1", "without white space", "a name with a tab in it"),
    ("A=1\rB=2", "carriage return", "Compose reads one line, and one variable"),
    ("A=\"\\0101\"", "no `\\0`", "some octal numbers lose a digit in Compose"),
    ("A=\"\\0\"", "no `\\0`", "the same"),
    ("A=a\0b", "without NUL", "no program can be started with it"),
];

// case S3; broken by: the comment that the value `#ff0000` was taken for; `\$` left as it is in double quotes.
pub fn are_read_as_compose_reads_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let project = "services: {app: {image: none, env_file: file.env}}\n";
    std::fs::write(directory.path().join("compose.yaml"), project).expect("the project");
    let mut wrong = Vec::new();
    for text in EQUAL {
        let (compose, own) = (composes(directory.path(), text.as_bytes()), ours(text.as_bytes()));
        let same = match (&compose, &own) {
            (Ok(compose), Ok(own)) => compose == own,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!("{text:?}: Compose {compose:?}, the receiver {own:?}"));
        }
    }
    for (text, printed, why) in INTENDED {
        let (compose, own) = (composes(directory.path(), text.as_bytes()), ours(text.as_bytes()));
        let differs = compose.is_ok() && own.as_ref().is_err_and(|own| own.contains(printed));
        if !differs {
            wrong.push(format!("{text:?} ({why}): Compose {compose:?}, the receiver {own:?}"));
        }
    }
    assert!(EQUAL.len() + INTENDED.len() > 84 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Texts that are none, and long ones.
// case S3; broken by: text by `from_utf8_lossy`
pub fn that_are_binary_are_reported_with_their_line() {
    for (bytes, printed) in
        [(&b"A=1\nB=\xe4\n"[..], "line 2, column 1: "), (b"\xff\xfeA\0=\x001\0", "UTF-16")]
    {
        let reported = ours(bytes).expect_err("no text");
        assert!(reported.contains(printed), "{reported}");
    }
    let long = (0..20_000).fold(String::new(), |text, number| text + "A" + &number.to_string() + "=\"1\"\n");
    assert_eq!(ours(long.as_bytes()).map(|read| read.len()), Ok(20_000));
    let huge = format!("A={}\n", "x".repeat(128 * 1024));
    assert!(ours(huge.as_bytes()).expect_err("too long for Linux").contains("128 KiB"));
}
