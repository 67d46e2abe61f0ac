//! Answers of a newer receiver: what this version does not know is kept by its name or left out, never an error.
//!
//! Requests are read strictly, so that nothing is done in part. Answers are read the other way round: a receiver may
//! be newer than the action that asks it, and what it says more must not cost the action what it understands.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer as _, MapAccess,
    VariantAccess, Visitor,
};
use serde::{Deserialize, Serialize};

/// So many letters of an unknown name are kept: none of ours is as long.
const NAME_LETTERS: usize = 64;

/// A name out of a list that a later version may extend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Open<T> {
    /// One that this version knows.
    Known(T),
    /// One of a later version.
    Unknown(Name),
}

/// A name that this version does not know. It is the other side's, and is shown to people: what stands in no name of
/// ours is `?`, so that it can be printed anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Name(String);

impl Name {
    /// As far as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        let harmless = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let shown = name.chars().take(NAME_LETTERS);
        Self(shown.map(|letter| if harmless(letter) { letter } else { '?' }).collect())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Copy> Open<T> {
    /// What it is, where this version knows it.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }
}

impl<T> From<T> for Open<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: PartialEq> PartialEq<T> for Open<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(value) if value == other)
    }
}

/// An enumeration whose kind is an object's one field, such as `{"log": {...}}`.
pub(crate) trait Tagged<'de>: Sized {
    /// The names of the kinds that this version knows.
    const NAMES: &'static [&'static str];

    /// One of these kinds.
    fn known<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;

    /// Any other.
    fn unknown(name: Name) -> Self;
}

/// Reads one, whatever stands beside it.
pub(crate) fn tagged<'de, T: Tagged<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_map(OneOf(PhantomData))
}

struct OneOf<T>(PhantomData<T>);

impl<'de, T: Tagged<'de>> Visitor<'de> for OneOf<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose only field is its kind")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let (mut found, mut other) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            if T::NAMES.contains(&name.as_str()) {
                if found.is_some() {
                    return Err(A::Error::custom("two kinds at once"));
                }
                found = Some(map.next_value_seed(Content { name: &name, kind: PhantomData })?);
            } else {
                map.next_value::<IgnoredAny>()?;
                other.get_or_insert(name);
            }
        }
        let unknown = || other.map(|name| T::unknown(name.into()));
        found.or_else(unknown).ok_or_else(|| A::Error::custom("an object without a kind"))
    }
}

/// What stands under a known name.
struct Content<'a, T> {
    name: &'a str,
    kind: PhantomData<T>,
}

impl<'de, T: Tagged<'de>> DeserializeSeed<'de> for Content<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, content: D) -> Result<T, D::Error> {
        T::known(One { name: self.name, content })
    }
}

/// A name and its content as serde's derived code wants them.
struct One<'a, D> {
    name: &'a str,
    content: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for One<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> EnumAccess<'de> for One<'_, D> {
    type Error = D::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), D::Error> {
        let name: StrDeserializer<'_, D::Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de, D: Deserializer<'de>> VariantAccess<'de> for One<'_, D> {
    type Error = D::Error;

    fn unit_variant(self) -> Result<(), D::Error> {
        IgnoredAny::deserialize(self.content).map(|_| ())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, D::Error> {
        seed.deserialize(self.content)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.content.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        // A list would be taken for the fields in their order.
        self.content.deserialize_struct("", fields, Fields(visitor))
    }
}

/// An object and nothing else.
struct Fields<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Fields<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

/// Writes a kind that is not known as it would have come: an object of that name, with nothing in it.
pub(crate) fn write_unknown<S: serde::Serializer>(name: &Name, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map([(name.as_str(), serde_json::Map::new())])
}

#[cfg(test)]
mod tests;
