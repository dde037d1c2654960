//! Maps of few keys in a file: as the larger ones. By itself `litemap` writes a list of pairs where its keys are no strings.

use litemap::LiteMap;
use serde::{Serialize, Serializer};

/// A map of maps, written as such.
pub(super) fn maps<S, K, L, V>(
    maps: &LiteMap<K, LiteMap<L, V>>,
    serializer: S,
) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    K: Serialize,
    L: Serialize,
    V: Serialize,
{
    serializer.collect_map(maps.iter().map(|(key, map)| (key, Map(map))))
}

struct Map<'a, K, V>(&'a LiteMap<K, V>);

impl<K: Serialize, V: Serialize> Serialize for Map<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}
