//! What the file says: values with their places, before anything is known of what they mean.
//!
//! serde's derived readers stop at the first fault; this tree holds everything, doubled and unknown keys
//! included, so that all faults can be told at once. The YAML library tells places only in errors, so a
//! place is found by reading the file again and failing there ([`place_of`]).

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// The most values that a file may hold, aliases spread out.
const VALUES: usize = 10_000;

/// The most bytes that its texts and the names of its values may have together, aliases spread out: a long
/// text that is named a thousand times would be held a thousand times.
const BYTES: usize = 1024 * 1024;

/// The most brackets that may be open at a time. The library takes 128, but looks at that only after it has
/// gone through the whole file, in a time that grows with the square of the open ones.
const OPEN: usize = 256;

/// The tag of a value whose `$` are text, in front of it: `!literal 'echo $HOME'`.
const LITERAL: &str = "literal";

/// What is said of a file with more than that.
pub(crate) const TOO_MUCH: &str = "too many values";

/// Where a value stands: its position in each list and map on the way. In a map, entry `n` has its key at
/// `2n` and its value at `2n + 1`.
pub(crate) type Position = Vec<usize>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it stands.
    pub(crate) position: Position,
    /// For people: `health.path`, `smoke[0].status`.
    pub(crate) name: String,
    /// What stands in front of it, or of what it is in.
    pub(crate) tag: Tag,
    pub(crate) value: Value,
}

impl Node {
    /// Whether some value has this text in it.
    pub(crate) fn holds(&self, part: &str) -> bool {
        match &self.value {
            Value::Text(text) => text.contains(part),
            Value::List(items) => items.iter().any(|item| item.holds(part)),
            Value::Map(entries) => entries.iter().any(|(_, value)| value.holds(part)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
}

/// A YAML tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tag {
    #[default]
    None,
    /// `!literal`: each `$` is text.
    Literal,
    /// Any other: most likely a text that begins with `!` and lacks its quotes.
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As it is written: `1.10` stays `1.10`.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) position: Position,
    pub(crate) text: String,
}

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Reads the file. The error is the library's own, with its place: this is no YAML.
pub(crate) fn parse(text: &str) -> Result<Node, (Place, String)> {
    if is_too_deep(text) {
        return Err((Place { line: 1, column: 1 }, "too many open brackets".to_owned()));
    }
    let failed = |error: serde_yaml::Error| (place_in(&error), without_place(&error));
    let mut left = Left { values: VALUES, bytes: BYTES };
    let build = Build { position: Vec::new(), name: String::new(), tag: Tag::None, left: &mut left };
    let mut root = build.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(failed)?;
    Fill(&mut root).deserialize(serde_yaml::Deserializer::from_str(text)).map_err(failed)?;
    Ok(root)
}

/// By the brackets alone: those in texts count as well, which no real file has so many of.
fn is_too_deep(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > OPEN
    })
}

/// The place of a value or key.
pub(crate) fn place_of(text: &str, position: &[usize]) -> Place {
    match Find(position).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Err(error) => place_in(&error),
        Ok(()) => Place::default(),
    }
}

fn place_in(error: &serde_yaml::Error) -> Place {
    error.location().map_or(Place { line: 1, column: 1 }, |location| Place {
        line: location.line(),
        column: location.column(),
    })
}

fn without_place(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// First pass: shapes, texts and positions.
struct Build<'a> {
    position: Position,
    name: String,
    tag: Tag,
    left: &'a mut Left,
}

/// How much more the file may hold.
struct Left {
    values: usize,
    bytes: usize,
}

impl Left {
    fn take<E: serde::de::Error>(&mut self, values: usize, bytes: usize) -> Result<(), E> {
        let too_much = || E::custom(TOO_MUCH);
        self.values = self.values.checked_sub(values).ok_or_else(too_much)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(too_much)?;
        Ok(())
    }
}

impl Build<'_> {
    fn child(&mut self, at: usize, name: String) -> Build<'_> {
        let mut position = self.position.clone();
        position.push(at);
        Build { position, name, tag: self.tag, left: self.left }
    }

    fn node(self, value: Value) -> Node {
        Node { position: self.position, name: self.name, tag: self.tag, value }
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        self.left.take(1, self.name.len())?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, number, list or map")
    }

    /// The library's form of a tagged value.
    fn visit_enum<A: EnumAccess<'de>>(mut self, tagged: A) -> Result<Node, A::Error> {
        let (name, value) = tagged.variant_seed(KeyText)?;
        self.tag = match self.tag {
            Tag::None | Tag::Literal if name == LITERAL => Tag::Literal,
            _ => Tag::Unknown,
        };
        value.newtype_variant_seed(self)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    /// The library's word for an empty file.
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Value::Bool(value)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(self.node(Value::Number(String::new())))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(self.node(Value::Number(String::new())))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(self.node(Value::Number(String::new())))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(self.node(Value::Number(String::new())))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(self.node(Value::Number(String::new())))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        self.left.take(0, value.len())?;
        Ok(self.node(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        loop {
            let name = format!("{}[{}]", self.name, list.len());
            let Some(item) = items.next_element_seed(self.child(list.len(), name))? else { break };
            list.push(item);
        }
        Ok(self.node(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(text) = entries.next_key_seed(KeyText)? {
            self.left.take(0, text.len())?;
            let at = 2 * map.len();
            let name = if self.name.is_empty() { text.clone() } else { format!("{}.{text}", self.name) };
            let key = Key { position: [self.position.as_slice(), &[at]].concat(), text };
            let value = entries.next_value_seed(self.child(at + 1, name))?;
            map.push((key, value));
        }
        Ok(self.node(Value::Map(map)))
    }
}

/// A key as it is written: `1` and `true` are names here.
struct KeyText;

impl<'de> DeserializeSeed<'de> for KeyText {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain key")
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

/// Second pass: the numbers as they are written.
struct Fill<'a>(&'a mut Node);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match &mut self.0.value {
            Value::Number(text) => {
                *text = KeyText.deserialize(from)?;
                Ok(())
            }
            Value::List(_) => from.deserialize_seq(self),
            Value::Map(_) => from.deserialize_map(self),
            Value::Null | Value::Bool(_) | Value::Text(_) => {
                from.deserialize_ignored_any(IgnoredAny).map(drop)
            }
        }
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was there at first")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if let Value::List(list) = &mut self.0.value {
            for item in list {
                items.next_element_seed(Fill(item))?;
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if let Value::Map(map) = &mut self.0.value {
            for (_, value) in map {
                entries.next_key::<IgnoredAny>()?;
                entries.next_value_seed(Fill(value))?;
            }
        }
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Fails exactly at a position.
struct Find<'a>(&'a [usize]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another place")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((at, rest)) = self.0.split_first() else { return Err(A::Error::custom("here")) };
        for _ in 0..*at {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Find(rest)).map(drop)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((at, rest)) = self.0.split_first() else { return Err(A::Error::custom("here")) };
        for _ in 0..at / 2 {
            entries.next_entry::<IgnoredAny, IgnoredAny>()?;
        }
        if at % 2 == 0 {
            return entries.next_key_seed(Find(rest)).map(drop);
        }
        entries.next_key::<IgnoredAny>()?;
        entries.next_value_seed(Find(rest))
    }
}
