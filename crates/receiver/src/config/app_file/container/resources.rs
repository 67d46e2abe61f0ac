//! Limits: of memory beside `mem_limit`, of processors beside `cpus`, of processes, and of single processes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;

use crate::config::app_file::reading::quantity;
use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key};
use crate::config::app_file::syntax::tree::{Node, Value};
use autotag_model::reference::ParseError;

/// The limit of a single process, as setrlimit(2) has it; -1: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UlimitEntry {
    /// What applies, and what the process itself can raise.
    pub soft: i64,
    /// How far.
    pub hard: i64,
}

fn malformed<T>(expected: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(expected.into()))
}

/// What Docker takes as names (go-units, `ulimitNameMapping`).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

const ULIMIT: &[Spec] =
    &[key("soft", "a number, -1 for no limit", "20000"), key("hard", "a number, -1 for no limit", "40000")];

pub(crate) fn ulimits(reader: &mut Reader, fields: &mut Fields) -> BTreeMap<String, UlimitEntry> {
    let Some((node, spec)) = fields.take("ulimits") else { return BTreeMap::new() };
    let mut ulimits = BTreeMap::new();
    let Value::Map(entries) = node.value else {
        reader.fault(&node, &spec, spec.expected);
        return ulimits;
    };
    for (key, node) in entries {
        if !ULIMITS.contains(&key.text.as_str()) {
            reader.fault(&node, &spec, format!("one of Linux's limits: `{}`", ULIMITS.join("`, `")));
            continue;
        }
        match ulimits.entry(key.text.clone()) {
            Entry::Occupied(_) => reader.doubled(&key, &node.name),
            Entry::Vacant(place) => {
                if let Some(ulimit) = ulimit(reader, node, &spec) {
                    place.insert(ulimit);
                }
            }
        }
    }
    ulimits
}

fn ulimit(reader: &mut Reader, node: Node, spec: &Spec) -> Option<UlimitEntry> {
    if !matches!(node.value, Value::Map(_)) {
        let both = reader.parse(&node, spec, limit)?;
        return Some(UlimitEntry { soft: both, hard: both });
    }
    let whole = node.clone();
    let mut fields = reader.fields(node, ULIMIT, &[]);
    let both = fields.has("soft") && fields.has("hard");
    let (soft, hard) = (fields.one(reader, "soft", limit), fields.one(reader, "hard", limit));
    let rises = soft.zip(hard).is_none_or(|(soft, hard)| hard == -1 || (soft != -1 && soft <= hard));
    if !both || !rises {
        reader.fault(&whole, spec, "both `soft` and `hard`, the first at most as high as the second");
        return None;
    }
    Some(UlimitEntry { soft: soft?, hard: hard? })
}

fn limit(text: &str) -> Result<i64, ParseError> {
    match text.parse::<i64>() {
        Ok(number) if number >= -1 && !text.starts_with('+') => Ok(number),
        _ => malformed("a number, or -1 for no limit"),
    }
}

/// `mem_reservation` and `memswap_limit`, which mean something beside `mem_limit` only.
pub(crate) fn memory(
    reader: &mut Reader,
    fields: &mut Fields,
    mem_limit: Option<u64>,
) -> (Option<u64>, Option<i64>) {
    let soft = fields.get("mem_reservation").cloned();
    let reservation = fields.one(reader, "mem_reservation", quantity::memory);
    if let (Some(node), Some(soft), Some(hard)) = (soft, reservation, mem_limit)
        && soft > hard
    {
        let spec = fields.spec("mem_reservation");
        reader.fault(&node, &spec, "at most `mem_limit`");
    }
    let given = fields.get("memswap_limit").cloned();
    let swap = fields.one(reader, "memswap_limit", |text| match text {
        "-1" => Ok(-1),
        text => quantity::size(text).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
    });
    if let (Some(node), Some(swap)) = (given, swap) {
        let spec = fields.spec("memswap_limit");
        match mem_limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)) {
            None => reader.fault(&node, &spec, "a `mem_limit` beside it: it is the sum of memory and swap"),
            Some(limit) if swap != -1 && swap < limit => {
                reader.fault(&node, &spec, "at least `mem_limit`, or -1: it is the sum of memory and swap");
            }
            Some(_) => {}
        }
    }
    (reservation, swap)
}

/// `0-2,4`: processors by their numbers.
pub(crate) fn cpuset(text: &str) -> Result<String, ParseError> {
    let number =
        |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let fits = text.split(',').all(|part| match part.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => number(part).is_some(),
    });
    if fits { Ok(text.to_owned()) } else { malformed("") }
}

pub(crate) fn oom_score_adj(text: &str) -> Result<i64, ParseError> {
    match text.parse::<i64>() {
        Ok(score) if (-1000..=1000).contains(&score) && !text.starts_with('+') => Ok(score),
        _ => malformed("a number from -1000 to 1000"),
    }
}

/// The most processes; -1 for no limit.
pub(crate) fn pids(text: &str) -> Result<i64, ParseError> {
    match text {
        "-1" => Ok(-1),
        _ => quantity::number(1, 4_194_304)(text)
            .map(i64::from)
            .map_err(|_| ParseError("a number from 1 to 4194304, or -1 for no limit".to_owned())),
    }
}
