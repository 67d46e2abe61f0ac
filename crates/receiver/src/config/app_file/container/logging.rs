//! `logging`: which of Docker's log drivers keeps the container's output, and how much of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key, secret};
use crate::config::app_file::words;
use autotag_model::reference::ParseError;

/// What the owner says of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Logging {
    /// The driver; none: Docker's own default.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

const LOGGING: &[Spec] = &[
    key("driver", "a log driver", "local"),
    secret("options", "`name: value`, or a list of `name=value`", "{max-size: 10m, max-file: \"3\"}"),
];

/// What Docker's two drivers that keep files know (20.10 and later). Docker itself refuses others only when it
/// makes the container.
const OF_FILES: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];

pub(crate) fn logging(reader: &mut Reader, fields: &mut Fields) -> Logging {
    let Some((node, _)) = fields.take("logging") else { return Logging::default() };
    let mut fields = reader.fields(node, LOGGING, &[]);
    let driver = fields.one(reader, "driver", words::name);
    let options = match fields.take("options") {
        Some((node, spec)) => reader.pairs(node, &spec, |name, value| option(driver.as_deref(), name, value)),
        None => BTreeMap::new(),
    };
    Logging { driver, options }
}

fn option(driver: Option<&str>, name: &str, value: &str) -> Result<(String, String), ParseError> {
    let malformed = |expected: String| Err(ParseError(expected));
    let local = driver == Some("local");
    let files = local || driver == Some("json-file");
    if files && !OF_FILES.contains(&name) {
        let known = OF_FILES[..8].join("`, `");
        return malformed(format!("an option of this driver: `{known}`"));
    }
    if name.is_empty() || name.chars().chain(value.chars()).any(char::is_control) {
        return malformed("an option's name and its value in one line".to_owned());
    }
    let size = |text: &str| {
        if text == "-1" {
            // As Docker documents it; only the one driver can do it.
            return !local;
        }
        let digits = text.trim_end_matches(['b', 'B']);
        let digits = digits.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match name {
        "max-size" if files && !size(value) => malformed(
            "a size as `max-size`, such as `10m`; with `json-file` also `\"-1\"` for a log without a limit"
                .to_owned(),
        ),
        "max-file" if files && value.parse::<u32>().ok().is_none_or(|files| files == 0) => {
            malformed("a number from 1 as `max-file`".to_owned())
        }
        _ => Ok((name.to_owned(), value.to_owned())),
    }
}
