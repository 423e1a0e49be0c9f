//! The tree that YAML and JSON are read into, without what no one here needs.
//!
//! A tree and not typed structs, because one wrong field must cost one object and not the list of ten thousand it
//! stands in, and because every complaint names its path and line. Texts are borrowed from the input wherever
//! they stand there verbatim, which makes reading cheap and tells where a key was written.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// One node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'t> {
    /// `null`, `~` or nothing at all: the same as absent.
    Null,
    Bool(bool),
    Int(i64),
    /// A number that is not a whole one of 64 bits.
    Float(f64),
    Text(Cow<'t, str>),
    List(Vec<Value<'t>>),
    Map(Vec<(Cow<'t, str>, Value<'t>)>),
}

impl<'t> Value<'t> {
    /// The value under `key`; `None` also where it is null or this is no map.
    pub(crate) fn get(&self, key: &str) -> Option<&Value<'t>> {
        let Self::Map(entries) = self else {
            return None;
        };
        let (_, value) = entries.iter().find(|(k, _)| k == key)?;
        (*value != Self::Null).then_some(value)
    }

    /// The text under `key`, if it is text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// Reads one document, keeping what [`Spot`] keeps.
#[derive(Clone, Copy)]
pub(crate) struct Document;

impl<'de> DeserializeSeed<'de> for Document {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        Spot::Document.deserialize(deserializer)
    }
}

/// Reads one value and keeps all of it: answers of an API that are no Kubernetes objects.
#[derive(Clone, Copy)]
pub(crate) struct Answer;

impl<'de> DeserializeSeed<'de> for Answer {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        Spot::Whole.deserialize(deserializer)
    }
}

/// Where in a document we are, as far as it matters for what may be skipped. Nine tenths of a pod dump are
/// managed fields, volumes, environment and image lists.
#[derive(Clone, Copy)]
enum Spot {
    Document,
    Metadata,
    /// Only the one that names the pod of a PodENI: others hold whole manifests.
    Annotations,
    /// Who wrote which fields when: only of labels, and whether of a spec, too.
    ManagedFields,
    FieldsWritten,
    FieldsOfMetadata,
    /// That it is there, and nothing of what is in it.
    Presence,
    /// The data of a ConfigMap: only what Terway's has, never that of a Secret.
    Data,
    Spec,
    Container,
    Status,
    ContainerStatus,
    /// Everything counts from here on.
    Whole,
}

impl Spot {
    /// Where `key` leads; `None` when what is there is skipped.
    fn under(self, key: &str) -> Option<Self> {
        let wanted = |wanted: bool, there: Self| wanted.then_some(there);
        match self {
            Self::Document => match key {
                "metadata" => Some(Self::Metadata),
                // Cilium's policies may have several.
                "spec" | "specs" => Some(Self::Spec),
                "status" => Some(Self::Status),
                "data" => Some(Self::Data),
                "items" | "object" => Some(Self::Document),
                _ => wanted(
                    matches!(
                        key,
                        "apiVersion" | "kind" | "type" | "code" | "message"
                            // What a slice has beside a spec.
                            | "addressType" | "endpoints" | "ports"
                    ),
                    Self::Whole,
                ),
            },
            Self::Metadata => match key {
                "managedFields" => Some(Self::ManagedFields),
                "annotations" => Some(Self::Annotations),
                _ => Some(Self::Whole),
            },
            Self::Annotations => wanted(key == crate::terway::binding::POD_UID, Self::Whole),
            Self::ManagedFields => match key {
                "time" => Some(Self::Whole),
                "fieldsV1" => Some(Self::FieldsWritten),
                _ => None,
            },
            Self::FieldsWritten => match key {
                "f:metadata" => Some(Self::FieldsOfMetadata),
                _ => wanted(key == "f:spec", Self::Presence),
            },
            Self::FieldsOfMetadata => wanted(key == "f:labels", Self::Presence),
            Self::Presence => None,
            Self::Data => wanted(crate::terway::DATA_KEYS.contains(&key), Self::Whole),
            Self::Spec => match key {
                "containers" | "initContainers" => Some(Self::Container),
                "template" | "volumes" | "volumeClaimTemplates" | "affinity" | "versions" => None,
                _ => Some(Self::Whole),
            },
            Self::Container => wanted(matches!(key, "ports" | "restartPolicy"), Self::Whole),
            Self::Status => match key {
                "containerStatuses" | "initContainerStatuses" => Some(Self::ContainerStatus),
                "phase" | "podIP" | "podIPs" | "hostIP" | "hostIPs" | "conditions"
                | "addresses" | "loadBalancer" | "networkInterfaces" | "pods" => Some(Self::Whole),
                _ => None,
            },
            Self::ContainerStatus => wanted(matches!(key, "state" | "lastState"), Self::Whole),
            Self::Whole => Some(Self::Whole),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Spot {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Spot {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut entries = Vec::new();
        let mut keys = Keys::default();
        while let Some(Key(key)) = access.next_key()? {
            // YAML is checked by its parser. Of JSON, on which readers disagree, nothing ambiguous is taken either.
            if !keys.is_new(&key, &entries) {
                let shown = shorten(&key);
                return Err(A::Error::custom(format_args!(
                    "the key `{shown}` is there twice"
                )));
            }
            match self.under(&key) {
                Some(spot) => entries.push((key, access.next_value_seed(spot)?)),
                None => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Map(entries))
    }
}

/// A key, borrowed where it stands verbatim in the text.
struct Key<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The keys of one map so far. Most maps are small enough to be searched; big ones get an index.
#[derive(Default)]
struct Keys(HashSet<String>);

impl Keys {
    const SEARCHED_MAX: usize = 16;

    /// Whether `key` is not among `entries`.
    fn is_new(&mut self, key: &str, entries: &[(Cow<'_, str>, Value<'_>)]) -> bool {
        if entries.len() <= Self::SEARCHED_MAX {
            return entries.iter().all(|(earlier, _)| earlier != key);
        }
        if self.0.is_empty() {
            self.0.extend(
                entries
                    .iter()
                    .map(|(earlier, _)| earlier.clone().into_owned()),
            );
        }
        self.0.insert(key.to_owned())
    }
}

/// `text`, or its beginning: what a message may repeat of the input.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    const SHOWN_MAX: usize = 80;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
