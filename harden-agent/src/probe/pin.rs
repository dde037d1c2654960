//! A recording that outlives its process: maps, programs and links pinned in a BPF file system, and
//! adopted by the next process, which loads nothing.
//!
//! All of it lies in `DIR/VERSION/`, where the version identifies the very programs and sizes: what
//! another build or configuration has left is never adopted. The directory gets its name when everything
//! is in it, and loses it before anything is taken out: one that has it is whole.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::Path,
};

use anyhow::{Context as _, ensure};
use aya::{
    maps::{Array, Map, MapData},
    programs::{ProgramInfo, links::FdLink, links::PinnedLink},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    error::{ProbeError, denied},
    handle::Probe,
    kernel_log,
    load::{Loaded, Purpose},
    maps::{LAYOUTS, Maps},
    objects::{HASH_OBJECT, STORAGE_OBJECT},
    programs::Programs,
    sizes::Sizes,
    tiers::Forced,
};

const MAPS: &str = "maps";
const PROGRAMS: &str = "programs";
const LINKS: &str = "links";
/// What no map tells: [`About`] as JSON, in an array of blocks.
const ABOUT: &str = "about";
/// Before the version, in the name of a directory that is not whole. No dot: the file system has none in
/// its names (kernel/bpf/inode.c, `bpf_lookup`).
const PARTIAL: &str = "partial-";
/// Digits of a version.
const DIGITS: usize = 16;
/// Raised when what is pinned is arranged in another way.
const ARRANGEMENT: u32 = 4;

/// Bytes of one block of [`ABOUT`].
const BLOCK: usize = 256;
type Block = [u8; BLOCK];

/// Where a [`Probe`] came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was loaded now: recording starts afresh.
    Loaded {
        /// What was pinned instead and was removed, if anything: its version, and why it could not be
        /// adopted where the version is right.
        replaced: Vec<String>,
    },
    /// An earlier process has loaded it, and it has gone on recording.
    Adopted,
}

/// What is to be known of the programs beside the maps.
#[derive(Serialize, Deserialize)]
struct About {
    /// As [`Probe::identity`] has it.
    identity: String,
    /// As [`Probe::hooks`] has them.
    hooks: BTreeMap<String, String>,
    /// The programs that are attached.
    programs: Vec<String>,
    /// As [`Programs::new`] has it.
    may_skip: bool,
}

impl Probe {
    /// Adopts what is pinned in `dir`, if it is of this build, these sizes and these tiers; else removes
    /// it, and loads and pins new ones. The kernel goes on recording when the probe is dropped, and when the
    /// process is killed, whenever that is.
    ///
    /// # Errors
    /// [`ProbeError`] if `dir` is not on a BPF file system, if there is no privilege, or as
    /// [`Probe::load`].
    pub fn pinned(
        dir: &Path,
        sizes: &Sizes,
        forced: &[Forced],
        purpose: Purpose,
    ) -> Result<(Self, Origin), ProbeError> {
        let failed = |error: anyhow::Error| ProbeError::Pins(dir.to_owned(), error);
        prepare(dir)?;
        let version = version(sizes, forced, purpose);
        let mut replaced = Vec::new();
        for name in versions(dir).map_err(|error| failed(error.into()))? {
            if name != version {
                remove(dir, &name).map_err(|error| failed(error.into()))?;
                if !name.starts_with(PARTIAL) {
                    replaced.push(name);
                }
            }
        }
        let whole = dir.join(&version);
        if whole.exists() {
            match adopt(&whole, sizes, purpose) {
                Ok(mut probe) => {
                    probe.find_unfinished()?;
                    return Ok((probe, Origin::Adopted));
                }
                Err(error) => {
                    if let Some(error) = denied(&error) {
                        return Err(ProbeError::Privilege(error));
                    }
                    remove(dir, &version).map_err(|error| failed(error.into()))?;
                    replaced.push(format!("{version} ({error:#})"));
                }
            }
        }
        let mut loaded = Loaded::load(sizes, forced, purpose)?;
        let partial = dir.join(format!("{PARTIAL}{version}"));
        let pinned = pin(&mut loaded, &partial)
            .and_then(|()| Ok(fs::rename(&partial, &whole)?))
            .map_err(failed);
        if pinned.is_err() {
            // Half of the programs would go on for nobody.
            let _ = fs::remove_dir_all(&partial);
        }
        pinned?;
        drop(loaded);
        let probe = adopt(&whole, sizes, purpose).map_err(failed)?;
        Ok((probe, Origin::Loaded { replaced }))
    }
}

/// Ends the recording that is pinned in `dir`, of whatever version, and leaves the directory empty. Says
/// whether there was one.
///
/// # Errors
/// [`ProbeError`] if something cannot be removed.
pub fn unload(dir: &Path) -> Result<bool, ProbeError> {
    let removed = || -> io::Result<bool> {
        let mut any = false;
        for name in versions(dir)? {
            remove(dir, &name)?;
            any |= !name.starts_with(PARTIAL);
        }
        Ok(any)
    };
    match removed() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map_err(|error| ProbeError::Pins(dir.to_owned(), error.into())),
    }
}

/// The directory, on a BPF file system.
fn prepare(dir: &Path) -> Result<(), ProbeError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    // An existing directory on another file system is the likelier mistake, and the better told.
    let found = rustix::fs::statfs(dir);
    if found.is_ok_and(|system| system.f_type == libc::BPF_FS_MAGIC) {
        return Ok(());
    }
    match made {
        Err(error) if found.is_err() => {
            // The agent's own user may make nothing in /sys/fs/bpf.
            let is_denied = matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            );
            let mut error = anyhow::Error::from(error);
            if is_denied {
                error = error.context(
                    "it is not there and cannot be made; as root: systemd-tmpfiles --create harden.conf",
                );
            }
            Err(ProbeError::Pins(dir.to_owned(), error))
        }
        _ => Err(ProbeError::NotBpffs(dir.to_owned())),
    }
}

/// What the programs and maps depend on.
fn version(sizes: &Sizes, forced: &[Forced], purpose: Purpose) -> String {
    let mut hash = Sha256::new();
    hash.update(STORAGE_OBJECT);
    hash.update(HASH_OBJECT);
    hash.update(format!("{ARRANGEMENT} {sizes:?} {purpose:?}"));
    for forced in forced {
        let hook = forced.hook.map(super::Hook::name);
        hash.update(format!("{}={hook:?}", forced.fact.name()));
    }
    let digest = hash.finalize();
    let start = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
    format!("{start:0DIGITS$x}")
}

/// The directories in `dir` that are ours, whole or not. Others are somebody else's.
fn versions(dir: &Path) -> io::Result<Vec<String>> {
    let is_version = |name: &str| {
        let name = name.strip_prefix(PARTIAL).unwrap_or(name);
        name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut versions = Vec::new();
    for entry in fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string()
            && is_version(&name)
        {
            versions.push(name);
        }
    }
    versions.sort();
    Ok(versions)
}

/// Removes a version. It is no version any more before the first pin goes.
fn remove(dir: &Path, name: &str) -> io::Result<()> {
    let mut path = dir.join(name);
    if !name.starts_with(PARTIAL) {
        let partial = dir.join(format!("{PARTIAL}{name}"));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::rename(&path, &partial)?;
        path = partial;
    }
    fs::remove_dir_all(path)
}

/// Pins everything below `to`.
fn pin(loaded: &mut Loaded, to: &Path) -> anyhow::Result<()> {
    let [maps, programs, links] = [MAPS, PROGRAMS, LINKS].map(|name| to.join(name));
    for directory in [to, &maps, &programs, &links] {
        fs::DirBuilder::new().mode(0o700).create(directory)?;
    }
    let about = About {
        identity: uuid::Uuid::new_v4().to_string(),
        hooks: loaded.hooks(),
        programs: loaded
            .links
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        may_skip: loaded.may_skip,
    };
    for (name, map) in Maps::of(&mut loaded.ebpf)?.iter() {
        map.pin(maps.join(name))?;
    }
    let log = loaded.ebpf.map(kernel_log::MAP);
    let log = log.with_context(|| format!("the map {}", kernel_log::MAP))?;
    log.pin(maps.join(kernel_log::MAP))?;
    write(&about, &to.join(ABOUT))?;
    for (name, link) in std::mem::take(&mut loaded.links) {
        let program = loaded.ebpf.program_mut(name);
        let program = program.with_context(|| format!("the program {name}"))?;
        program.pin(programs.join(name))?;
        link.pin(links.join(name))?;
    }
    Ok(())
}

/// What is pinned in `from`, which is whole.
fn adopt(from: &Path, sizes: &Sizes, purpose: Purpose) -> anyhow::Result<Probe> {
    let mut maps = Maps::default();
    for layout in &LAYOUTS {
        let data = MapData::from_pin(from.join(MAPS).join(layout.name))
            .with_context(|| format!("the map {}", layout.name))?;
        maps.insert(layout.name, layout.check(data, sizes)?);
    }
    let about = read(&from.join(ABOUT)).context(ABOUT)?;
    let mut programs = Programs::new(about.may_skip);
    for name in &about.programs {
        let program = from.join(PROGRAMS).join(name);
        let info =
            ProgramInfo::from_pin(&program).with_context(|| format!("the program {name}"))?;
        let link = PinnedLink::from_pin(from.join(LINKS).join(name))
            .with_context(|| format!("the link {name}"))?;
        let attached = FdLink::from(link).info()?.program_id();
        ensure!(
            attached == info.id(),
            "the link {name} belongs to another program"
        );
        programs.insert(name, object(&program)?);
    }
    Ok(Probe::adopted(
        maps,
        programs,
        about.identity,
        about.hooks,
        kernel_log::pinned(&from.join(MAPS).join(kernel_log::MAP), purpose.log()),
        sizes,
    )?)
}

/// Pins a map that holds `about` as `to`.
fn write(about: &About, to: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_vec(about)?;
    let blocks = text.chunks(BLOCK);
    let mut array: Array<_, Block> = Array::create(u32::try_from(blocks.len())?, 0)?;
    for (index, bytes) in (0..).zip(blocks) {
        let mut block = [b' '; BLOCK];
        block[..bytes.len()].copy_from_slice(bytes);
        array.set(index, block, 0)?;
    }
    Ok(array.pin(to)?)
}

fn read(from: &Path) -> anyhow::Result<About> {
    let map = Map::from_map_data(MapData::from_pin(from)?)?;
    let array: Array<_, Block> = Array::try_from(&map)?;
    let mut text = Vec::new();
    for block in array.iter() {
        text.extend_from_slice(&block?);
    }
    Ok(serde_json::from_slice(&text)?)
}

/// What is pinned at `path`, whatever it is: `BPF_OBJ_GET` (include/uapi/linux/bpf.h). aya opens programs
/// too, and asks for their type information, which takes `CAP_SYS_ADMIN`.
fn object(path: &Path) -> io::Result<OwnedFd> {
    const BPF_OBJ_GET: libc::c_int = 7;
    #[repr(C)]
    struct Attributes {
        path: u64,
        descriptor: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Attributes {
        path: path.as_ptr().addr() as u64,
        descriptor: 0,
        flags: 0,
    };
    // SAFETY: the attributes are those of this command, and both they and the path outlive the call.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    let descriptor = i32::try_from(descriptor).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::{DIGITS, Purpose, version};
    use crate::probe::Sizes;

    #[test]
    fn a_version_stands_for_sizes_and_tiers() {
        let sizes = Sizes::default();
        let other = Sizes {
            once: sizes.once + 1,
            ..sizes
        };
        let forced = ["lookups=none".parse().unwrap()];
        let versions = [
            version(&sizes, &[], Purpose::AGENT),
            version(&other, &[], Purpose::AGENT),
            version(&sizes, &forced, Purpose::AGENT),
        ];
        assert_eq!(versions[0], version(&sizes, &[], Purpose::AGENT));
        assert!(versions.iter().all(|version| version.len() == DIGITS));
        assert!(versions[0] != versions[1] && versions[0] != versions[2]);
    }
}
