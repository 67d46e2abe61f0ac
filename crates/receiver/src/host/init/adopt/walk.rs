//! An object of Docker's answer, of which each field is taken once; what nobody took is told by its name.

use serde_json::{Map, Value};

/// The fields that nobody has taken yet.
pub(super) struct UntakenFields {
    /// How it is called: `HostConfig`.
    name: String,
    fields: Map<String, Value>,
}

impl UntakenFields {
    /// Of an object; of anything else: none.
    pub(super) fn of(name: impl Into<String>, value: Value) -> Self {
        let fields = match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { name: name.into(), fields }
    }

    pub(super) fn take(&mut self, field: &str) -> Value {
        self.fields.remove(field).unwrap_or_default()
    }

    /// Empty where it is missing or no text.
    pub(super) fn text(&mut self, field: &str) -> String {
        text(self.take(field))
    }

    /// 0 where it is missing or no number.
    pub(super) fn number(&mut self, field: &str) -> i64 {
        self.take(field).as_i64().unwrap_or(0)
    }

    pub(super) fn flag(&mut self, field: &str) -> bool {
        self.take(field).as_bool().unwrap_or(false)
    }

    /// `None` where it is missing or `null`.
    pub(super) fn texts(&mut self, field: &str) -> Option<Vec<String>> {
        match self.take(field) {
            Value::Array(items) => Some(items.into_iter().map(text).collect()),
            _ => None,
        }
    }

    pub(super) fn list(&mut self, field: &str) -> Vec<Value> {
        match self.take(field) {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    }

    /// In the order of their names.
    pub(super) fn map(&mut self, field: &str) -> Vec<(String, Value)> {
        match self.take(field) {
            Value::Object(map) => {
                let mut entries: Vec<(String, Value)> = map.into_iter().collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                entries
            }
            _ => Vec::new(),
        }
    }

    /// These say nothing about how a container is made.
    pub(super) fn ignore(&mut self, fields: &[&str]) {
        for field in fields {
            self.fields.remove(*field);
        }
    }

    /// What is left and says something: neither nothing nor one of the values that Docker has there by itself.
    /// By name alone, since a value may be secret.
    pub(super) fn rest(self, usual: &[(&str, &[&str])]) -> Vec<String> {
        let says = |(field, value): &(String, Value)| {
            let usual = usual.iter().filter(|(name, _)| name == field).flat_map(|(_, values)| *values);
            !is_nothing(value) && !usual.into_iter().any(|usual| *usual == text(value.clone()))
        };
        let name = &self.name;
        let mut left: Vec<String> =
            self.fields.into_iter().filter(says).map(|(field, _)| format!("`{name}.{field}`")).collect();
        left.sort();
        left
    }
}

/// A text as it is, anything else as JSON.
pub(super) fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Go writes what was never set as any of these.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(map) => map.values().all(is_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_nobody_read_are_reported_unless_empty() {
        let mut fields = UntakenFields::of(
            "HostConfig",
            json!({
                "Memory": 5, "Unknown": {"A": [0, ""]}, "New": {"A": [0, "x"]}, "Runtime": "runc", "PidMode": "host",
                "Size": [0, 0], "Null": null, "Off": false, "On": true,
            }),
        );
        assert_eq!(fields.number("Memory"), 5);
        assert_eq!(
            fields.rest(&[("Runtime", &["runc"]), ("PidMode", &["private"])]),
            ["`HostConfig.New`", "`HostConfig.On`", "`HostConfig.PidMode`"]
        );
    }
}
