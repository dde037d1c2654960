//! What the kernel programs say of themselves, for those who look for a fault in them. No observation needs it.

use std::path::Path;

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use tracing::level_filters::LevelFilter;

use super::{maps::LAYOUTS, objects::HASH_OBJECT};

/// Their ring buffer, as aya-log names it.
pub(super) const MAP: &str = "AYA_LOGS";

/// Passes on what they say, with its level, to those who listen to this process.
pub type KernelLog = EbpfLogger<&'static dyn log::Log>;

/// A level in aya-log's numbers. It is a constant of the programs: those that an earlier process loaded at
/// another one are loaded again.
pub(super) fn number(level: LevelFilter) -> u8 {
    let levels = [
        LevelFilter::OFF,
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
        LevelFilter::TRACE,
    ];
    (0..)
        .zip(levels)
        .find(|(_, known)| *known == level)
        .map_or(0, |(number, _)| number)
}

/// What the programs of `ebpf` say up to `level`.
pub(super) fn of(ebpf: &mut Ebpf, level: LevelFilter) -> Option<KernelLog> {
    heard(level, || Ok(EbpfLogger::init(ebpf)?))
}

/// What those say up to `level` whose ring buffer is pinned at `map`.
pub(super) fn pinned(map: &Path, level: LevelFilter) -> Option<KernelLog> {
    heard(level, || open(map))
}

fn open(map: &Path) -> anyhow::Result<KernelLog> {
    // aya-log takes its map out of an object and from nowhere else. So it is given one in which every other map
    // has one entry, and which is gone at once.
    let mut loader = EbpfLoader::new();
    for name in LAYOUTS
        .iter()
        .map(|layout| layout.name)
        .chain(["ONCE", "TASKS"])
    {
        if name != "EVENTS" {
            loader.map_max_entries(name, 1);
        }
    }
    loader.map_pin_path(MAP, map);
    Ok(EbpfLogger::init(&mut loader.load(HASH_OBJECT)?)?)
}

/// Where they say nothing there is no buffer to be mapped either.
fn heard(
    level: LevelFilter,
    open: impl FnOnce() -> anyhow::Result<KernelLog>,
) -> Option<KernelLog> {
    if level == LevelFilter::OFF {
        return None;
    }
    open()
        .inspect_err(|error| {
            tracing::warn!("what the kernel programs say is not heard: {error:#}");
        })
        .ok()
}
