//! `gpus`: `all`, a number, or Compose's list of requests.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::app_file::reading::quantity::number;
use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key};
use crate::config::app_file::syntax::tree::{Node, Value};
use crate::config::app_file::words;
use autotag_model::reference::ParseError;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Which driver of Docker's; none: one that can.
    pub driver: Option<String>,
    /// How many; -1: all.
    pub count: i64,
    /// Or these.
    pub device_ids: Vec<String>,
    /// What they have to be able to do.
    pub capabilities: BTreeSet<String>,
}

const GPU: &[Spec] = &[
    key("driver", "a driver", "nvidia"),
    key("count", "a number, or `all`", "1"),
    key("device_ids", "a list of ids", "[\"0\"]"),
    key("capabilities", "a list of capabilities", "[gpu]"),
];
const ABSENT: &[(&str, &str)] = &[("options", "Compose has it, the app file does not")];

pub(crate) fn gpus(reader: &mut Reader, fields: &mut Fields) -> Vec<Gpu> {
    let Some((node, spec)) = fields.take("gpus") else { return Vec::new() };
    if !matches!(node.value, Value::List(_) | Value::Map(_)) {
        return reader.parse(&node, &spec, count).map(of_count).into_iter().collect();
    }
    Reader::items(node).into_iter().filter_map(|item| one(reader, item, &spec)).collect()
}

fn of_count(count: i64) -> Gpu {
    Gpu { driver: None, count, device_ids: Vec::new(), capabilities: BTreeSet::from(["gpu".to_owned()]) }
}

fn count(text: &str) -> Result<i64, ParseError> {
    if text == "all" {
        return Ok(-1);
    }
    number(1, 1024)(text).map(i64::from).map_err(|_| ParseError(String::new()))
}

fn one(reader: &mut Reader, node: Node, spec: &Spec) -> Option<Gpu> {
    let whole = node.clone();
    if !matches!(node.value, Value::Map(_)) {
        reader.fault(&node, spec, spec.expected);
        return None;
    }
    let mut fields = reader.fields(node, GPU, ABSENT);
    if fields.has("count") && fields.has("device_ids") {
        reader.fault(&whole, spec, "either `count` or `device_ids`");
    }
    let mut gpu = of_count(fields.one(reader, "count", count).unwrap_or(-1));
    gpu.driver = fields.one(reader, "driver", words::name);
    gpu.device_ids = fields.many(reader, "device_ids", words::word);
    gpu.capabilities.extend(fields.many(reader, "capabilities", words::name));
    Some(gpu)
}
