//! From what the file says to what it means: takes fields by name, and notes each fault where it stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::app_file::elsewhere::{Elsewhere, instead};
use crate::config::app_file::syntax::fault::{Fault, Faults, TOLD, nearest};
use crate::config::app_file::syntax::tree::{Key, Node, Position, Tag, Value, place_of};
use crate::config::app_file::values::dollar;
use crate::config::app_file::values::quotes::in_place_of_nothing;
use autotag_model::reference::ParseError;

/// A key that a map may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// What is expected of its value, in words.
    pub(crate) expected: &'static str,
    /// A value that would do.
    pub(crate) example: &'static str,
    /// Whether values must not be shown: a password may stand there.
    pub(crate) secret: bool,
}

/// A key without secrets.
pub(crate) const fn key(name: &'static str, expected: &'static str, example: &'static str) -> Spec {
    Spec { name, expected, example, secret: false }
}

/// A key whose values are never shown.
pub(crate) const fn secret(name: &'static str, expected: &'static str, example: &'static str) -> Spec {
    Spec { name, expected, example, secret: true }
}

struct Noted {
    position: Option<Position>,
    fault: Fault,
    about: About,
}

/// What the text around it may add to a fault.
#[derive(Debug, Clone, Copy)]
enum About {
    /// Nothing.
    Value,
    /// There is no value.
    Nothing,
    /// None of these keys.
    Unknown(&'static [Spec]),
}

/// Collects faults.
#[derive(Default)]
pub(crate) struct Reader {
    noted: Vec<Noted>,
    /// Values with a fault of their spelling: what they mean is not judged on top of it.
    misspelt: BTreeSet<Position>,
    /// Values whose `$` is text here and a variable in Compose.
    pub(crate) dollars: Vec<String>,
}

impl Reader {
    /// A fault of a value.
    pub(crate) fn fault(&mut self, node: &Node, spec: &Spec, expected: impl Into<String>) {
        if self.misspelt.contains(&node.position) {
            return;
        }
        let found = match &node.value {
            _ if spec.secret => None,
            Value::Null => Some("nothing".to_owned()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::Text(text) => Some(text.clone()),
            Value::List(_) => Some("a list".to_owned()),
            Value::Map(_) => Some("a map".to_owned()),
        };
        self.note(Some(node.position.clone()), &node.name, expected, found, spec.example);
        if node.value == Value::Null {
            self.about(About::Nothing);
        }
    }

    /// Of the last fault.
    fn about(&mut self, about: About) {
        if let Some(last) = self.noted.last_mut() {
            last.about = about;
        }
    }

    /// Notes the texts in which a `$` or a tag may stand for something else than itself.
    pub(crate) fn judge_spelling(&mut self, fields: &Fields, prose: &[&str]) {
        for (name, node) in &fields.values {
            self.judge_node(node, prose.contains(name));
        }
    }

    fn judge_node(&mut self, node: &Node, prose: bool) {
        let unknown_tag = node.tag == Tag::Unknown;
        match &node.value {
            _ if unknown_tag => {
                let expected = "a text that begins with `!` in quotes";
                self.misspelt(node, expected.to_owned(), "\"!...\"");
            }
            Value::Text(text) if node.tag == Tag::None => match dollar::judge(text, prose) {
                dollar::DollarSigns::Text => {}
                dollar::DollarSigns::Name => self.dollars.push(node.name.clone()),
                dollar::DollarSigns::Compose(expected) => {
                    self.misspelt(node, expected.to_owned(), dollar::EXAMPLE);
                }
            },
            Value::List(items) => items.iter().for_each(|item| self.judge_node(item, prose)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| self.judge_node(value, prose)),
            Value::Text(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    /// The value is not shown: what it means, and whether it is secret, is not known yet.
    fn misspelt(&mut self, node: &Node, expected: String, example: &str) {
        self.note(Some(node.position.clone()), &node.name, expected, None, example);
        self.misspelt.insert(node.position.clone());
    }

    /// A fault of something that is not there.
    pub(crate) fn missing(&mut self, spec: &Spec, expected: impl Into<String>) {
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
        let fault = Fault {
            place: crate::config::app_file::syntax::tree::Place::default(),
            key,
            expected,
            found,
            example,
        };
        self.noted.push(Noted { position, fault, about: About::Value });
    }

    /// All that was noted, with places; `None` where nothing was.
    pub(crate) fn faults(mut self, text: &str) -> Option<Faults> {
        // Positions have the order of the text. A place costs another reading of the file, so only those
        // are looked for that will be told.
        self.noted
            .sort_by(|a, b| (a.position.is_none(), &a.position).cmp(&(b.position.is_none(), &b.position)));
        let mut listed: Vec<*const Spec> = Vec::new();
        let mut faults = Vec::with_capacity(self.noted.len());
        for (index, Noted { position, mut fault, about }) in self.noted.into_iter().enumerate() {
            if let Some(position) = position.filter(|_| index < TOLD) {
                fault.place = place_of(text, &position);
            }
            match about {
                About::Nothing if index < TOLD => {
                    if let Some(expected) = in_place_of_nothing(text, fault.place) {
                        expected.clone_into(&mut fault.expected);
                    }
                }
                // The first fault of a kind lists the keys.
                About::Unknown(specs) if !listed.contains(&specs.as_ptr()) => {
                    listed.push(specs.as_ptr());
                    fault.expected = format!("{}: {}", fault.expected, names(specs));
                }
                About::Value | About::Nothing | About::Unknown(_) => {}
            }
            faults.push(fault);
        }
        (!faults.is_empty()).then_some(Faults(faults))
    }

    /// The fields of a map. Unknown and doubled ones are faults.
    ///
    /// `explained` names keys that are known elsewhere and mean nothing here, with what to do instead.
    pub(crate) fn fields(&mut self, node: Node, specs: &'static [Spec], explained: &[Elsewhere]) -> Fields {
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

    fn unknown(&mut self, key: &Key, name: &str, specs: &'static [Spec], explained: &[Elsewhere]) {
        let position = Some(key.position.clone());
        if let Some(expected) = instead(&key.text, explained) {
            self.note(position, name, expected, None, "");
        } else if let Some(meant) = nearest(&key.text, specs.iter().map(|spec| spec.name)) {
            self.note(position, name, format!("a known key: did you mean `{meant}`?"), None, "");
        } else {
            self.note(position, name, "a known key", None, "");
            self.about(About::Unknown(specs));
        }
    }

    pub(crate) fn doubled(&mut self, key: &Key, name: &str) {
        self.note(Some(key.position.clone()), name, "each key once", None, "");
    }

    /// A text or number, as it is written.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, spec: &Spec) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Bool(_) => {
                self.fault(node, spec, format!("{}; to be read as a text, put it in quotes", spec.expected));
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.fault(node, spec, spec.expected);
                None
            }
        }
    }

    /// A text or number that something is read from.
    pub(crate) fn parse<T>(
        &mut self,
        node: &Node,
        spec: &Spec,
        parse: impl Fn(&str) -> Result<T, ParseError>,
    ) -> Option<T> {
        match parse(self.text(node, spec)?) {
            Ok(value) => Some(value),
            Err(ParseError(expected)) => {
                let expected = if expected.is_empty() { spec.expected.to_owned() } else { expected };
                self.fault(node, spec, expected);
                None
            }
        }
    }

    /// A list, or one item in place of a list.
    pub(crate) fn items(node: Node) -> Vec<Node> {
        match node.value {
            Value::List(items) => items,
            _ => vec![node],
        }
    }

    /// `KEY: value` or `- KEY=value`, each key once; `read` judges both.
    pub(crate) fn pairs<K: Ord, V>(
        &mut self,
        node: Node,
        spec: &Spec,
        read: impl Fn(&str, &str) -> Result<(K, V), ParseError>,
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
                Err(ParseError(expected)) => self.fault(&node, spec, expected),
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
pub(crate) struct Fields {
    specs: &'static [Spec],
    values: BTreeMap<&'static str, Node>,
}

impl Fields {
    /// What is known of a key.
    pub(crate) fn spec(&self, name: &'static str) -> Spec {
        let unknown = key(name, "", "");
        self.specs.iter().find(|spec| spec.name == name).copied().unwrap_or(unknown)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.values.get(name)
    }

    pub(crate) fn take(&mut self, name: &'static str) -> Option<(Node, Spec)> {
        let spec = self.spec(name);
        self.values.remove(name).map(|node| (node, spec))
    }

    /// One value that something is read from.
    pub(crate) fn one<T>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, ParseError>,
    ) -> Option<T> {
        let (node, spec) = self.take(name)?;
        reader.parse(&node, &spec, parse)
    }

    /// One or several values.
    pub(crate) fn many<T>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, ParseError>,
    ) -> Vec<T> {
        let Some((node, spec)) = self.take(name) else { return Vec::new() };
        Reader::items(node).iter().filter_map(|item| reader.parse(item, &spec, &parse)).collect()
    }

    /// `true` or `false`; false where it is not said.
    pub(crate) fn flag(&mut self, reader: &mut Reader, name: &'static str) -> bool {
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
