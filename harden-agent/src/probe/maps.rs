//! The maps that user space needs, and what they have to look like.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, MapType},
};
use harden_common::{
    CgroupRecord, Counts, Loss, Observed, Returned, ShareRecord, SlotKey, SlotRecord,
};

use super::{
    error::{ProbeError, missing},
    sizes::Sizes,
};

/// What a map has to be, for this build's programs and sizes.
pub(super) struct Layout {
    /// Its name in the object.
    pub name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: fn(&Sizes) -> u32,
}

/// Every map that user space reads or writes. The others belong to the programs alone, which hold them.
pub(super) const LAYOUTS: [Layout; 11] = [
    Layout {
        name: "SLOTS",
        kind: MapType::Array,
        key: size_of::<u32>(),
        value: size_of::<SlotRecord>(),
        entries: |sizes| sizes.slots,
    },
    Layout {
        name: "SLOT_OF",
        kind: MapType::Hash,
        key: size_of::<SlotKey>(),
        value: size_of::<u32>(),
        entries: |sizes| sizes.slots,
    },
    Layout {
        name: "FREE_SLOTS",
        kind: MapType::Queue,
        key: 0,
        value: size_of::<u32>(),
        entries: |sizes| sizes.slots,
    },
    Layout {
        name: "CGROUPS",
        kind: MapType::Hash,
        key: size_of::<u64>(),
        value: size_of::<Observed>(),
        entries: |sizes| sizes.cgroups,
    },
    Layout {
        name: "SHARES",
        kind: MapType::Hash,
        key: size_of::<u64>(),
        value: size_of::<ShareRecord>(),
        entries: Sizes::payers,
    },
    Layout {
        name: "RETURNED",
        kind: MapType::Hash,
        key: size_of::<u64>(),
        value: size_of::<Returned>(),
        entries: Sizes::payers,
    },
    Layout {
        name: "CGROUP_PATHS",
        kind: MapType::Hash,
        key: size_of::<u64>(),
        value: size_of::<CgroupRecord>(),
        entries: |sizes| sizes.cgroup_paths,
    },
    Layout {
        name: "GENERATION",
        kind: MapType::Array,
        key: size_of::<u32>(),
        value: size_of::<u32>(),
        entries: |_| 1,
    },
    Layout {
        name: "COUNTS",
        kind: MapType::PerCpuArray,
        key: size_of::<u32>(),
        value: size_of::<Counts>(),
        entries: |sizes| sizes.counted_slots.max(1),
    },
    Layout {
        name: "LOSSES",
        kind: MapType::PerCpuArray,
        key: size_of::<u32>(),
        value: size_of::<u64>(),
        entries: |_| 2 * Loss::COUNT,
    },
    Layout {
        name: "EVENTS",
        kind: MapType::RingBuf,
        key: 0,
        value: 0,
        entries: |sizes| sizes.ring,
    },
];

impl Layout {
    /// `data` as the map that it is expected to be.
    ///
    /// # Errors
    /// It is another.
    pub(super) fn check(&self, data: MapData, sizes: &Sizes) -> anyhow::Result<Map> {
        let info = data.info()?;
        let found = (
            info.map_type()?,
            info.key_size() as usize,
            info.value_size() as usize,
            info.max_entries(),
        );
        let expected = (self.kind, self.key, self.value, (self.entries)(sizes));
        ensure!(
            found == expected,
            "the map {} is {found:?}, and not {expected:?}",
            self.name
        );
        Map::from_map_data(data).with_context(|| format!("the map {}", self.name))
    }
}

/// The maps, by name.
#[derive(Default)]
pub(super) struct Maps(BTreeMap<&'static str, Map>);

impl Maps {
    /// Those of programs that were just loaded. They stay open: programs that are loaded later still have
    /// the numbers of their descriptors in them.
    ///
    /// # Errors
    /// [`ProbeError`] if the object lacks one.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let maps = LAYOUTS.iter().map(|layout| {
            let map = ebpf.take_map(layout.name);
            Ok((layout.name, map.ok_or_else(|| missing(layout.name))?))
        });
        maps.collect::<Result<_, _>>().map(Self)
    }

    /// Adds one that was found.
    pub(super) fn insert(&mut self, name: &'static str, map: Map) {
        self.0.insert(name, map);
    }

    /// The map `name`, to read.
    ///
    /// # Errors
    /// [`ProbeError`] if it was taken.
    pub(super) fn get(&self, name: &'static str) -> Result<&Map, ProbeError> {
        self.0.get(name).ok_or_else(|| missing(name))
    }

    /// The same, to write.
    ///
    /// # Errors
    /// As [`Maps::get`].
    pub(super) fn get_mut(&mut self, name: &'static str) -> Result<&mut Map, ProbeError> {
        self.0.get_mut(name).ok_or_else(|| missing(name))
    }

    /// Takes one out.
    ///
    /// # Errors
    /// As [`Maps::get`].
    pub(super) fn take(&mut self, name: &'static str) -> Result<Map, ProbeError> {
        self.0.remove(name).ok_or_else(|| missing(name))
    }

    /// All that are there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Map)> {
        self.0.iter().map(|(name, map)| (*name, map))
    }
}

/// What is not there needs neither to be changed nor to be taken away.
pub(super) fn unless_absent(done: Result<(), MapError>) -> Result<(), MapError> {
    match done {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => other,
    }
}
