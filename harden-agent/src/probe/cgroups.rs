//! Which cgroups are observed, in which run, and where they are in the tree.

use std::{collections::BTreeMap, io, mem::offset_of, time::Instant};

use aya::maps::{HashMap, MapError};
use harden_common::{ALL_PAYERS, CGROUP_PATH_MAX, CgroupRecord, OBSERVED_RUN, Observed};

use super::{Probe, ProbeError, handle::grace_period, maps::unless_absent};

/// Flags of `bpf_map_update_elem` (include/uapi/linux/bpf.h): whether the key is there or not, and only where it is.
const BPF_ANY: u64 = 0;
const BPF_EXIST: u64 = 2;

/// A [`CgroupRecord`] as it lies in the map.
type Record = [u8; size_of::<CgroupRecord>()];

/// Where a cgroup is, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// Its parent's id.
    pub parent: u64,
    /// When it was made, in nanoseconds of `CLOCK_MONOTONIC`; 0 if that was before anybody looked.
    pub born: u64,
    /// Its path, relative to the cgroup root.
    pub path: Vec<u8>,
}

/// A cgroup that is to be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Its id.
    pub cgroup: u64,
    /// The number of its run.
    pub run: u64,
    /// The id of the cgroup whose share of the kernel side's tables it uses: that above it at
    /// [`harden_common::PAYER_LEVEL`].
    pub payer: u64,
}

impl Probe {
    /// Observes the cgroup with id `cgroup` in run number `run`, from the moment this returns, with a share of its own.
    /// What is born below it is observed too, in the run that is its parent's then.
    ///
    /// # Errors
    /// [`ProbeError`] if the table of cgroups is full.
    pub fn observe(&mut self, cgroup: u64, run: u64) -> Result<(), ProbeError> {
        let payer = cgroup;
        self.observe_all(&[Observe { cgroup, run, payer }])
    }

    /// The same for several cgroups, each as it says. One that is removed meanwhile stays in the table: a caller that cannot
    /// rule that out looks whether they are still there afterwards.
    ///
    /// # Errors
    /// [`ProbeError`] if the table of cgroups is full; some of them may be observed then.
    pub fn observe_all(&mut self, cgroups: &[Observe]) -> Result<(), ProbeError> {
        self.write(cgroups, BPF_ANY)
    }

    /// Has cgroups that are observed go on in the run with this number: all calls that begin after this returns
    /// belong to these runs, and a call in progress to that in which it began. One that is not observed, as it has
    /// been removed, is left alone.
    ///
    /// # Errors
    /// [`ProbeError`] if the table of cgroups cannot be written.
    pub fn set_runs(&mut self, runs: &[(u64, u64)]) -> Result<(), ProbeError> {
        let cgroups: HashMap<_, u64, Observed> = HashMap::try_from(self.maps.get("CGROUPS")?)?;
        let known = runs.iter().filter_map(|&(cgroup, run)| {
            let [_, payer] = cgroups.get(&cgroup, 0).ok()?;
            Some(Observe { cgroup, run, payer })
        });
        let known: Vec<Observe> = known.collect();
        self.write(&known, BPF_EXIST)
    }

    fn write(&mut self, wanted: &[Observe], flags: u64) -> Result<(), ProbeError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut cgroups: HashMap<_, u64, Observed> =
            HashMap::try_from(self.maps.get_mut("CGROUPS")?)?;
        let mut written = Ok(());
        for &Observe { cgroup, run, payer } in wanted {
            let before = cgroups.get(&cgroup, 0).ok();
            if before.is_some_and(|[before, _]| before != run) {
                self.begun.insert(cgroup, Instant::now());
            }
            written = unless_absent(cgroups.insert(cgroup, [run, payer], flags));
            if written.is_err() {
                break;
            }
        }
        self.raise_generation()?;
        // Programs that had read the old number have ended after a grace period.
        grace_period()?;
        Ok(written?)
    }

    /// Has cgroups observed no more; those below them stay as they are. What was recorded of them is
    /// there until their slots are retired, and so are their paths.
    ///
    /// # Errors
    /// [`ProbeError`] if the table cannot be written.
    pub fn unobserve(&mut self, cgroups: &[u64]) -> Result<(), ProbeError> {
        if cgroups.is_empty() {
            return Ok(());
        }
        let mut observed: HashMap<_, u64, Observed> =
            HashMap::try_from(self.maps.get_mut("CGROUPS")?)?;
        for cgroup in cgroups {
            unless_absent(observed.remove(cgroup))?;
            self.begun.remove(cgroup);
        }
        self.raise_generation()?;
        grace_period()
    }

    /// The observed cgroups, each with the number of its run.
    ///
    /// # Errors
    /// [`ProbeError`] if the table cannot be read.
    pub fn observed(&self) -> Result<BTreeMap<u64, u64>, ProbeError> {
        let cgroups: HashMap<_, u64, Observed> = HashMap::try_from(self.maps.get("CGROUPS")?)?;
        let runs = cgroups.iter().map(|entry| {
            let (cgroup, observed) = entry?;
            Ok((cgroup, observed[OBSERVED_RUN]))
        });
        runs.collect::<Result<_, MapError>>().map_err(Into::into)
    }

    /// Where the cgroups are, or were: of all whose birth was seen, and that were named with
    /// [`Probe::name_cgroup`], until they are forgotten.
    ///
    /// # Errors
    /// [`ProbeError`] if the table cannot be read.
    pub fn cgroup_paths(&self) -> Result<BTreeMap<u64, CgroupPath>, ProbeError> {
        let paths: HashMap<_, u64, Record> = HashMap::try_from(self.maps.get("CGROUP_PATHS")?)?;
        let paths = paths.iter().map(|entry| {
            let (cgroup, record) = entry?;
            Ok((cgroup, parse(&record)))
        });
        paths.collect::<Result<_, MapError>>().map_err(Into::into)
    }

    /// Where one cgroup is, or was, if that is known.
    ///
    /// # Errors
    /// [`ProbeError`] if the table cannot be read.
    pub fn cgroup_path(&self, cgroup: u64) -> Result<Option<CgroupPath>, ProbeError> {
        let paths: HashMap<_, u64, Record> = HashMap::try_from(self.maps.get("CGROUP_PATHS")?)?;
        match paths.get(&cgroup, 0) {
            Ok(record) => Ok(Some(parse(&record))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many paths are kept of cgroups below each payer; those of the payers themselves are under
    /// [`harden_common::ALL_PAYERS`].
    pub(super) fn names_held(&self) -> Result<BTreeMap<u64, u64>, ProbeError> {
        let paths: HashMap<_, u64, Record> = HashMap::try_from(self.maps.get("CGROUP_PATHS")?)?;
        let mut held = BTreeMap::new();
        for entry in &paths {
            let (cgroup, record) = entry?;
            let payer = word(&record, offset_of!(CgroupRecord, payer));
            let payer = if payer == cgroup { ALL_PAYERS } else { payer };
            *held.entry(payer).or_default() += 1;
        }
        Ok(held)
    }

    /// Says where a cgroup is whose birth nobody saw; leaves one alone whose birth was seen.
    ///
    /// # Errors
    /// [`ProbeError`] if the table is full, or the path longer than it has room for.
    pub fn name_cgroup(&mut self, cgroup: u64, parent: u64, path: &[u8]) -> Result<(), ProbeError> {
        if path.len() > CGROUP_PATH_MAX {
            let error = io::Error::from_raw_os_error(libc::ENAMETOOLONG);
            return Err(ProbeError::System("the path of a cgroup", error));
        }
        if self.cgroup_path(cgroup)?.is_some() {
            return Ok(());
        }
        let mut paths: HashMap<_, u64, Record> =
            HashMap::try_from(self.maps.get_mut("CGROUP_PATHS")?)?;
        Ok(paths.insert(cgroup, record(parent, path), 0)?)
    }

    /// Forgets where a cgroup was.
    ///
    /// # Errors
    /// [`ProbeError`] if the table cannot be written.
    pub fn forget_cgroup(&mut self, cgroup: u64) -> Result<(), ProbeError> {
        self.has_forgotten = true;
        let mut paths: HashMap<_, u64, Record> =
            HashMap::try_from(self.maps.get_mut("CGROUP_PATHS")?)?;
        Ok(unless_absent(paths.remove(&cgroup))?)
    }
}

fn record(parent: u64, path: &[u8]) -> Record {
    let mut record = [0; size_of::<CgroupRecord>()];
    let length = u32::try_from(path.len()).unwrap_or(0);
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(offset_of!(CgroupRecord, parent), &parent.to_ne_bytes());
    put(offset_of!(CgroupRecord, path_length), &length.to_ne_bytes());
    put(offset_of!(CgroupRecord, path), path);
    record
}

fn word(record: &Record, at: usize) -> u64 {
    let bytes = record.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().map_or(0, u64::from_ne_bytes)
}

fn parse(record: &Record) -> CgroupPath {
    let length = offset_of!(CgroupRecord, path_length);
    let length = record[length..].first_chunk().copied();
    let length = length.map_or(0, u32::from_ne_bytes) as usize;
    let path = &record[offset_of!(CgroupRecord, path)..];
    CgroupPath {
        parent: word(record, offset_of!(CgroupRecord, parent)),
        born: word(record, offset_of!(CgroupRecord, born)),
        path: path[..length.min(path.len())].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for path in [
            &b""[..],
            b"/system.slice/x.service",
            &[b'/'; CGROUP_PATH_MAX],
        ] {
            let expected = CgroupPath {
                parent: 7,
                born: 0,
                path: path.to_vec(),
            };
            assert_eq!(parse(&record(7, path)), expected);
        }
    }

    #[test]
    fn a_length_beyond_the_record_is_no_panic() {
        let mut bytes = record(1, b"/a");
        let length = offset_of!(CgroupRecord, path_length);
        bytes[length..length + 4].fill(0xff);
        assert_eq!(parse(&bytes).path.len(), CGROUP_PATH_MAX);
    }
}
