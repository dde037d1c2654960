//! A place to pin in, a cgroup to observe, and what the kernel side has of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    mem::offset_of,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{MapData, RingBuf},
    programs::ProgramInfo,
};
use harden_agent::probe::Probe;
use harden_common::{Header, PathEvent, PathOperation, SlotKey, SlotRecord, kind};
use harden_tests::{Scratch, as_patient, cgroup_tree};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use syscalls::Sysno;

/// A BPF file system of the test's own: gone with all that is pinned in it when dropped.
pub(super) struct Pins(Scratch);

impl Pins {
    pub(super) fn mount() -> Result<Self> {
        let directory = Scratch::new(Path::new("/run"))?;
        mount(
            Some("bpf"),
            directory.path(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("mount -t bpf")?;
        Ok(Self(directory))
    }

    /// Where an agent pins.
    pub(super) fn dir(&self) -> PathBuf {
        self.0.path().join("harden")
    }

    /// What is there.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// The one version that is pinned.
    pub(super) fn version(&self) -> Result<PathBuf> {
        let names = self.names()?;
        ensure!(names.len() == 1, "{names:?}");
        Ok(self.dir().join(&names[0]))
    }

    /// The numbers that the kernel gave to the programs.
    pub(super) fn programs(&self) -> Result<BTreeMap<PathBuf, u32>> {
        let mut programs = BTreeMap::new();
        for entry in fs::read_dir(self.version()?.join("programs"))? {
            let path = entry?.path();
            let id = ProgramInfo::from_pin(&path)?.id();
            programs.insert(path, id);
        }
        Ok(programs)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// A cgroup that is removed when dropped, with those below it.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    pub(super) fn create(name: &str) -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let path = cgroup_tree()?
            .join(own.context("no cgroup")?)
            .join(format!("harden-test-{name}-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// One below.
    pub(super) fn child(&self, name: &str) -> Result<Self> {
        let path = self.0.join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.0)?.ino())
    }

    /// A shell that enters the cgroup and then begins `command`, as systemd's child does.
    pub(super) fn command(&self, command: &[&str]) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell
            .args([
                "-c",
                "echo $$ > \"$1/cgroup.procs\" || exit; shift; exec \"$@\"",
                "sh",
            ])
            .arg(&self.0)
            .args(command)
            .current_dir("/")
            .env_remove("LD_LIBRARY_PATH");
        shell
    }

    /// Runs a command there that ends by itself, and returns its number.
    pub(super) fn run(&self, command: &[&str]) -> Result<u32> {
        let mut child = self.command(command).stdout(Stdio::null()).spawn()?;
        ensure!(child.wait()?.success(), "{command:?}");
        Ok(child.id())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended may still be in it.
        let deadline = Instant::now() + as_patient(Duration::from_secs(2));
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What the ring buffer had.
#[derive(Default)]
pub(super) struct Events(pub(super) Vec<Vec<u8>>);

impl Events {
    pub(super) fn take(ring: &mut RingBuf<MapData>) -> Self {
        let mut items = Vec::new();
        while let Some(item) = ring.next() {
            items.push(item.to_vec());
        }
        Self(items)
    }

    /// The slots of events of this kind about `name`.
    pub(super) fn slots(&self, kind: u32, name: &str) -> Vec<u32> {
        let events = self.0.iter().filter(|item| {
            let mut names = item.windows(name.len());
            number(item, offset_of!(Header, kind)) == kind
                && names.any(|bytes| bytes == name.as_bytes())
        });
        events
            .map(|item| number(item, offset_of!(Header, slot)))
            .collect()
    }

    /// The slots in which a file was opened, as often as it is told.
    pub(super) fn opened(&self, name: &str) -> Vec<u32> {
        let opens = self.0.iter().filter(|item| {
            number(item, offset_of!(PathEvent, operation)) == PathOperation::Open as u32
        });
        Self(opens.cloned().collect()).slots(kind::PATH, name)
    }

    pub(super) fn has(&self, kind: u32, name: &str) -> bool {
        !self.slots(kind, name).is_empty()
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().map_or(0, u32::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().map_or(0, u64::from_ne_bytes)
}

/// A slot in use.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) cgroup: u64,
    pub(super) inode: u64,
    pub(super) run: u64,
    pub(super) command: u32,
    pub(super) calls: BTreeSet<usize>,
}

impl Slot {
    pub(super) fn read(probe: &Probe, number: u32) -> Result<Self> {
        let (record, _) = probe.slot(number)?;
        let key = offset_of!(SlotRecord, key);
        let facts = record[offset_of!(SlotRecord, facts)..].iter().take(512);
        Ok(Self {
            number,
            cgroup: word(&record, key + offset_of!(SlotKey, cgroup)),
            inode: word(&record, key + offset_of!(SlotKey, executable)),
            run: word(&record, key + offset_of!(SlotKey, run)),
            command: self::number(&record, key + offset_of!(SlotKey, command)),
            calls: (0..)
                .zip(facts)
                .filter(|(_, byte)| **byte != 0)
                .map(|(call, _)| call)
                .collect(),
        })
    }

    pub(super) fn made(&self, call: Sysno) -> bool {
        self.calls.contains(&(call as usize))
    }
}

/// All slots of a cgroup.
pub(super) fn slots(probe: &Probe, cgroup: u64) -> Result<Vec<Slot>> {
    let slots = probe.slots()?.into_iter();
    let slots = slots.map(|slot| Slot::read(probe, slot));
    let mut slots = slots.collect::<Result<Vec<_>>>()?;
    slots.retain(|slot| slot.cgroup == cgroup);
    Ok(slots)
}

pub(super) fn inode(program: &str) -> Result<u64> {
    Ok(fs::metadata(program)?.ino())
}
