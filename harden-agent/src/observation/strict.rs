//! What serde lets pass and a file from elsewhere must not hold: a key twice (the last would win
//! in silence) and a path that is not absolute. Checked while parsing, so that the error knows
//! line and column, and wherever an observation comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::model::{ControlCommand, Executable, File, Run};
use super::schema_1;
use super::seen::Seen;
use super::text::{Text, is_hidden};

/// A map that names no key twice, at any depth.
pub(super) fn unique<'de, D, M>(deserializer: D) -> Result<M, D::Error>
where
    D: Deserializer<'de>,
    M: Strict<'de>,
{
    M::strict(deserializer)
}

/// As [`unique`], and every key is an absolute path.
pub(super) fn by_path<'de, D, V>(deserializer: D) -> Result<BTreeMap<Text, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Strict<'de>,
{
    let entries: Vec<(Absolute, V)> = deserializer.deserialize_map(Unique(PhantomData))?;
    let entries = entries.into_iter();
    Ok(entries.map(|(key, value)| (key.0, value)).collect())
}

/// As [`by_path`], for each command of a unit.
pub(super) fn by_command<'de, D>(
    deserializer: D,
) -> Result<BTreeMap<ControlCommand, BTreeMap<Text, Executable>>, D::Error>
where
    D: Deserializer<'de>,
{
    let map: BTreeMap<ControlCommand, ByPath<Executable>> = unique(deserializer)?;
    Ok(map.into_iter().map(|(key, value)| (key, value.0)).collect())
}

/// A set of absolute paths.
pub(super) fn paths<'de, D>(deserializer: D) -> Result<BTreeSet<Text>, D::Error>
where
    D: Deserializer<'de>,
{
    let set = BTreeSet::<Absolute>::deserialize(deserializer)?;
    Ok(set.into_iter().map(|path| path.0).collect())
}

/// A map of plain words with no key twice. They end up in comments of generated files, so they
/// must not hold a line break.
pub(super) fn labels<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let map: BTreeMap<Label, Label> = unique(deserializer)?;
    Ok(map
        .into_iter()
        .map(|(key, value)| (key.0, value.0))
        .collect())
}

/// A type whose maps, at any depth, name no key twice.
pub(super) trait Strict<'de>: Sized {
    fn strict<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// These are strict already: they hold no map, or ask for [`unique`] in their own definition.
macro_rules! strict_by_itself {
    ($($type:ty)*) => {$(
        impl<'de> Strict<'de> for $type {
            fn strict<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        }
    )*};
}

strict_by_itself!(Run schema_1::Run Executable File Seen Text Label u32 u64);

impl<'de, K, V> Strict<'de> for BTreeMap<K, V>
where
    K: Deserialize<'de> + Serialize + Ord,
    V: Strict<'de>,
{
    fn strict<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = deserializer.deserialize_map(Unique(PhantomData))?;
        Ok(entries.into_iter().collect())
    }
}

/// The entries of such a map, in order.
pub(super) fn entries<'de, D, K, V>(deserializer: D) -> Result<Vec<(K, V)>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Serialize + Ord,
    V: Strict<'de>,
{
    deserializer.deserialize_map(Unique(PhantomData))
}

/// A map whose keys are absolute paths.
struct ByPath<V>(BTreeMap<Text, V>);

impl<'de, V: Strict<'de>> Strict<'de> for ByPath<V> {
    fn strict<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_path(deserializer).map(Self)
    }
}

struct Unique<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for Unique<K, V>
where
    K: Deserialize<'de> + Serialize + Ord,
    V: Strict<'de>,
{
    /// In order.
    type Value = Vec<(K, V)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        // As harden writes them: no key has to be moved, and a map that is made of them has no room left over.
        let mut sorted: Vec<(K, V)> = Vec::new();
        let mut others: BTreeMap<K, V> = BTreeMap::new();
        while let Some(key) = access.next_key()? {
            let is_next = sorted.last().is_none_or(|(last, _)| *last < key);
            let find = || sorted.binary_search_by(|(known, _)| known.cmp(&key));
            if others.contains_key(&key) || !is_next && find().is_ok() {
                let key = serde_json::to_string(&key).unwrap_or_default();
                return Err(A::Error::custom(format!("the key {key} is there twice")));
            }
            let StrictValue(value) = access.next_value()?;
            if is_next {
                sorted.push((key, value));
            } else {
                others.insert(key, value);
            }
        }
        if !others.is_empty() {
            sorted.extend(others);
            sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(sorted)
    }
}

/// Carries [`Strict`] through serde's own trait.
struct StrictValue<V>(V);

impl<'de, V: Strict<'de>> Deserialize<'de> for StrictValue<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        V::strict(deserializer).map(Self)
    }
}

/// A path from the root.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Absolute(Text);

impl<'de> Deserialize<'de> for Absolute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = Text::deserialize(deserializer)?;
        if !path.as_bytes().starts_with(b"/") {
            let message = format!("{path:?} is not an absolute path");
            return Err(D::Error::custom(message));
        }
        if path.as_bytes().contains(&0) {
            let message = format!("{path:?} holds a NUL byte, which no path can");
            return Err(D::Error::custom(message));
        }
        Ok(Self(path))
    }
}

/// Text without anything that a line or a terminal could stumble over.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Label(String);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let label = String::deserialize(deserializer)?;
        if label.chars().any(is_hidden) {
            let message = format!("{label:?} holds a control character");
            return Err(D::Error::custom(message));
        }
        Ok(Self(label))
    }
}
