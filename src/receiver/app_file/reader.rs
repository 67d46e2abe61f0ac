//! From what the file says to what it means: takes fields by name, and notes each fault where it stands.

use std::collections::BTreeMap;

use super::fault::{Fault, Faults, TOLD, nearest};
use super::tree::{Key, Node, Position, Value, place_of};
use crate::image::reference::Malformed;

/// A key that a map may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// What is expected of its value, in words.
    pub(super) expected: &'static str,
    /// A value that would do.
    pub(super) example: &'static str,
    /// Whether values must not be shown: a password may stand there.
    pub(super) secret: bool,
}

/// A key without secrets.
pub(super) const fn key(name: &'static str, expected: &'static str, example: &'static str) -> Spec {
    Spec { name, expected, example, secret: false }
}

/// A key whose values are never shown.
pub(super) const fn secret(name: &'static str, expected: &'static str, example: &'static str) -> Spec {
    Spec { name, expected, example, secret: true }
}

struct Noted {
    position: Option<Position>,
    fault: Fault,
}

/// Collects faults.
#[derive(Default)]
pub(super) struct Reader {
    noted: Vec<Noted>,
}

impl Reader {
    /// A fault of a value.
    pub(super) fn fault(&mut self, node: &Node, spec: &Spec, expected: impl Into<String>) {
        let found = match &node.value {
            _ if spec.secret => None,
            Value::Null => Some("nothing".to_owned()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::Text(text) => Some(text.clone()),
            Value::List(_) => Some("a list".to_owned()),
            Value::Map(_) => Some("a map".to_owned()),
        };
        self.note(Some(node.position.clone()), &node.name, expected, found, spec.example);
    }

    /// A fault of something that is not there.
    pub(super) fn missing(&mut self, spec: &Spec, expected: impl Into<String>) {
        let example = format!("{}: {}", spec.name, spec.example);
        self.note(None, spec.name, expected, None, &example);
    }

    fn note(
        &mut self,
        position: Option<Position>,
        key: &str,
        expected: impl Into<String>,
        found: Option<String>,
        example: &str,
    ) {
        let (key, expected, example) = (key.to_owned(), expected.into(), example.to_owned());
        let fault = Fault { place: super::tree::Place::default(), key, expected, found, example };
        self.noted.push(Noted { position, fault });
    }

    /// All that was noted, with places; `None` where nothing was.
    pub(super) fn faults(mut self, text: &str) -> Option<Faults> {
        // Positions have the order of the text. A place costs another reading of the file, so only those
        // are looked for that will be told.
        self.noted
            .sort_by(|a, b| (a.position.is_none(), &a.position).cmp(&(b.position.is_none(), &b.position)));
        let faults: Vec<Fault> = self
            .noted
            .into_iter()
            .enumerate()
            .map(|(index, Noted { position, fault })| match position.filter(|_| index < TOLD) {
                Some(position) => Fault { place: place_of(text, &position), ..fault },
                None => fault,
            })
            .collect();
        (!faults.is_empty()).then_some(Faults(faults))
    }

    /// The fields of a map. Unknown and doubled ones are faults.
    ///
    /// `explained` names keys that are known elsewhere and mean nothing here, with what to do instead.
    pub(super) fn fields(
        &mut self,
        node: Node,
        specs: &'static [Spec],
        explained: &[(&str, &str)],
    ) -> Fields {
        let mut values = BTreeMap::new();
        let Value::Map(entries) = node.value else {
            let spec = key("", "", "");
            self.fault(&node, &spec, format!("a map with {}", names(specs)));
            return Fields { specs, values };
        };
        for (key, value) in entries {
            match specs.iter().find(|spec| spec.name == key.text) {
                None => self.unknown(&key, &value.name, specs, explained),
                Some(spec) if values.contains_key(spec.name) => self.doubled(&key, &value.name),
                Some(spec) => {
                    values.insert(spec.name, value);
                }
            }
        }
        Fields { specs, values }
    }

    fn unknown(&mut self, key: &Key, name: &str, specs: &[Spec], explained: &[(&str, &str)]) {
        let expected = if let Some((_, why)) = explained.iter().find(|(known, _)| *known == key.text) {
            format!("another key: {why}")
        } else if let Some(meant) = nearest(&key.text, specs.iter().map(|spec| spec.name)) {
            format!("a known key: did you mean `{meant}`?")
        } else {
            format!("a known key: {}", names(specs))
        };
        self.note(Some(key.position.clone()), name, expected, None, "");
    }

    pub(super) fn doubled(&mut self, key: &Key, name: &str) {
        self.note(Some(key.position.clone()), name, "each key once", None, "");
    }

    /// A text or number, as it is written.
    pub(super) fn text<'n>(&mut self, node: &'n Node, spec: &Spec) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.fault(node, spec, spec.expected);
                None
            }
        }
    }

    /// A text or number that something is read from.
    pub(super) fn parse<T>(
        &mut self,
        node: &Node,
        spec: &Spec,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Option<T> {
        match parse(self.text(node, spec)?) {
            Ok(value) => Some(value),
            Err(Malformed(expected)) => {
                let expected = if expected.is_empty() { spec.expected.to_owned() } else { expected };
                self.fault(node, spec, expected);
                None
            }
        }
    }

    /// A list, or one item in place of a list.
    pub(super) fn items(node: Node) -> Vec<Node> {
        match node.value {
            Value::List(items) => items,
            _ => vec![node],
        }
    }

    /// `KEY: value` or `- KEY=value`, each key once; `read` judges both.
    pub(super) fn pairs<K: Ord, V>(
        &mut self,
        node: Node,
        spec: &Spec,
        read: impl Fn(&str, &str) -> Result<(K, V), Malformed>,
    ) -> BTreeMap<K, V> {
        let mut pairs = BTreeMap::new();
        let mut given: Vec<(Option<Key>, Node, String, String)> = Vec::new();
        match node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    match &value.value {
                        Value::Text(text) | Value::Number(text) => {
                            let (text, name) = (text.clone(), key.text.clone());
                            given.push((Some(key), value, name, text));
                        }
                        Value::Bool(_) => self.fault(&value, spec, "a text: put it in quotes"),
                        Value::Null => self.fault(&value, spec, "a value, `\"\"` for an empty one"),
                        Value::List(_) | Value::Map(_) => self.fault(&value, spec, spec.expected),
                    }
                }
            }
            Value::List(items) => {
                for item in items {
                    match self.text(&item, spec).and_then(|text| text.split_once('=')) {
                        Some((key, value)) => {
                            let (key, value) = (key.to_owned(), value.to_owned());
                            given.push((None, item, key, value));
                        }
                        None if matches!(item.value, Value::Text(_) | Value::Number(_)) => {
                            self.fault(&item, spec, "`KEY=VALUE`");
                        }
                        None => {}
                    }
                }
            }
            _ => self.fault(&node, spec, spec.expected),
        }
        for (key, node, name, value) in given {
            match read(&name, &value) {
                Err(Malformed(expected)) => self.fault(&node, spec, expected),
                Ok((known, value)) => {
                    if pairs.insert(known, value).is_some() {
                        let key = key.unwrap_or(Key { position: node.position.clone(), text: name.clone() });
                        self.doubled(&key, &format!("{}.{name}", spec.name));
                    }
                }
            }
        }
        pairs
    }
}

fn names(specs: &[Spec]) -> String {
    specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ")
}

/// The fields of one map.
pub(super) struct Fields {
    specs: &'static [Spec],
    values: BTreeMap<&'static str, Node>,
}

impl Fields {
    /// What is known of a key.
    pub(super) fn spec(&self, name: &'static str) -> Spec {
        let unknown = key(name, "", "");
        self.specs.iter().find(|spec| spec.name == name).copied().unwrap_or(unknown)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.values.get(name)
    }

    pub(super) fn take(&mut self, name: &'static str) -> Option<(Node, Spec)> {
        let spec = self.spec(name);
        self.values.remove(name).map(|node| (node, spec))
    }

    /// One value that something is read from.
    pub(super) fn one<T>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Option<T> {
        let (node, spec) = self.take(name)?;
        reader.parse(&node, &spec, parse)
    }

    /// One or several values.
    pub(super) fn many<T>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Vec<T> {
        let Some((node, spec)) = self.take(name) else { return Vec::new() };
        Reader::items(node).iter().filter_map(|item| reader.parse(item, &spec, &parse)).collect()
    }

    /// `true` or `false`; false where it is not said.
    pub(super) fn flag(&mut self, reader: &mut Reader, name: &'static str) -> bool {
        match self.take(name) {
            None => false,
            Some((Node { value: Value::Bool(value), .. }, _)) => value,
            Some((node, spec)) => {
                reader.fault(&node, &spec, "`true` or `false`, without quotes");
                false
            }
        }
    }
}
