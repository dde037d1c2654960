//! Of which unit a process was, and what else is known of that unit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::agent::control::{AgentError, ClientError};
use crate::audit::{Event, Events, Finding, Findings, Joined, Joint, Known, Seen, Times};
use crate::audit::{FIELDS, unit_of_process};
use crate::cli::ask::Ask;
use crate::collect::unit;
use crate::machine::{logs, proc, services};
use crate::observation::{Observation, Text};
use crate::profile;

/// What tells units and their programs.
pub(super) struct Sources<'a> {
    /// Whether processes and units are this machine's.
    pub(super) is_here: bool,
    /// Those that were named.
    pub(super) observations: &'a [Observation],
    /// The agent.
    pub(super) ask: &'a Ask,
    /// The directory of overrides.
    pub(super) overrides: &'a Path,
}

/// Findings with what is known of their units.
#[derive(Default)]
pub(super) struct Units {
    pub(super) findings: Findings,
    pub(super) known: BTreeMap<Text, Known>,
    /// What could not be asked.
    pub(super) remarks: Vec<String>,
}

/// Entries of the journal that are further away are not taken for the same process: numbers are given again.
const NEAR: SignedDuration = SignedDuration::from_hours(24);

/// Nor are those further away than this that do not say what the process ran.
const AT_THE_END: SignedDuration = SignedDuration::from_secs(10);

/// So many processes are asked for at once; the command line has to have room for them.
const AT_ONCE: usize = 500;

impl Sources<'_> {
    pub(super) fn units(&self, events: &Events) -> Result<Units> {
        let mut units = Units::default();
        let mut seen = Lives::new();
        let mut loaded = BTreeMap::new();
        if self.is_here && !events.is_empty() {
            seen = lives(events, &mut units.remarks);
            loaded = services::loaded();
        }
        let mut commands: BTreeMap<&Text, Vec<&str>> = BTreeMap::new();
        for (name, service) in &loaded {
            for program in &service.programs {
                commands.entry(program).or_default().push(name);
            }
        }
        units.findings = Findings::new(events, |event, times| {
            self.joined(event, times, &seen, &commands)
        });
        self.know(&mut units)?;
        Ok(units)
    }

    fn joined(
        &self,
        event: &Event,
        times: &Times,
        seen: &Lives,
        commands: &BTreeMap<&Text, Vec<&str>>,
    ) -> Option<Joined> {
        let joined = |unit: Text, how| Some(Joined { unit, how });
        if let Some(unit) = times.cgroup.as_ref().and_then(of_cgroup) {
            return joined(unit, Joint::Record);
        }
        if let Some(unit) = of_entries(event, times, seen) {
            return joined(unit, Joint::Journal);
        }
        if self.is_here
            && let Some(unit) = of_running(event, times)
        {
            return joined(unit, Joint::Running);
        }
        let program = event.present()?;
        if let Some(observation) = self.observations.iter().find(|one| has(one, &program)) {
            return joined(observation.name.clone(), Joint::Observation);
        }
        match commands.get(&program).map(Vec::as_slice) {
            Some([unit]) => joined(Text::from(unit), Joint::Command),
            _ => None,
        }
    }

    /// Asks what is known of the units that have findings.
    fn know(&self, units: &mut Units) -> Result<()> {
        let names = units
            .findings
            .0
            .iter()
            .filter_map(|finding| finding.joined.as_ref());
        let names: BTreeSet<Text> = names.map(|joined| joined.unit.clone()).collect();
        let own = |name: &Text| str::from_utf8(name.as_bytes()).ok().map(str::to_owned);
        let system: Vec<String> = names.iter().filter_map(own).collect();
        let system = system.iter().map(String::as_str);
        let system = system.filter(|name| name.ends_with(".service") && !name.starts_with('/'));
        let mut services = if self.is_here {
            services::of(&system.collect())
        } else {
            BTreeMap::new()
        };
        for name in names {
            let service = own(&name).and_then(|name| services.remove(&name));
            let service = service.unwrap_or_default();
            let mut known = Known {
                programs: service.programs,
                logs_calls: service.logs_calls,
                overrides: profile::overrides(self.overrides, &name)?,
            };
            let observed = self.observations.iter().filter(|one| one.name == name);
            known.programs.extend(observed.flat_map(programs));
            if self.is_here {
                known
                    .programs
                    .extend(self.of_agent(&name, &mut units.remarks));
            }
            units.known.insert(name, known);
        }
        Ok(())
    }

    /// The programs that the agent has seen in a unit; none where it does not know it.
    fn of_agent(&self, unit: &Text, remarks: &mut Vec<String>) -> BTreeSet<Text> {
        let found = match self.ask.observations(std::slice::from_ref(unit)) {
            Ok(found) => found,
            Err(error) => {
                let is_unknown = matches!(
                    error.downcast_ref(),
                    Some(ClientError::Refused(AgentError::UnitNotFound { .. }))
                );
                // Behind the first line there is what to do about it, and nobody has to.
                let error = format!("{error:#}");
                let error = error.lines().next().unwrap_or_default();
                let remark = format!("the agent was not asked for the programs of units: {error}");
                if !is_unknown && !remarks.contains(&remark) {
                    remarks.push(remark);
                }
                return BTreeSet::new();
            }
        };
        let read = |json: &String| crate::observation::from_json(json.as_bytes()).ok();
        let observations: Vec<Observation> = found.iter().filter_map(read).collect();
        observations.iter().flat_map(programs).collect()
    }
}

impl Units {
    pub(super) fn known(&self, finding: &Finding) -> Option<&Known> {
        self.known.get(&finding.joined.as_ref()?.unit)
    }
}

fn of_cgroup(path: &Text) -> Option<Text> {
    let unit = unit::unit(path.as_bytes())?;
    Some(Text::from(unit.to_string()))
}

/// Processes that the journal has entries of, with the times of the first and the last: number, program, boot and unit.
type Lives = BTreeMap<(u32, Option<Text>, Text, Text), (Timestamp, Timestamp)>;

fn add(lives: &mut Lives, seen: Seen) {
    let key = (seen.pid, seen.executable, seen.boot, seen.unit);
    let life = lives.entry(key).or_insert((seen.time, seen.time));
    *life = (life.0.min(seen.time), life.1.max(seen.time));
}

/// What the journal has of the processes, under their own names.
fn lives(events: &Events, remarks: &mut Vec<String>) -> Lives {
    let mut lives = Lives::new();
    let first = events.values().filter_map(|times| times.first).min();
    let last = events.values().filter_map(|times| times.last).max();
    let from = first.and_then(|first| first.checked_sub(NEAR).ok());
    let to = last.and_then(|last| last.checked_add(NEAR).ok());
    let Some(period) = from.zip(to) else {
        return lives;
    };
    let pids = events.keys().filter_map(|event| event.process.pid);
    let pids: BTreeSet<u32> = pids.collect();
    let pids: Vec<u32> = pids.into_iter().collect();
    for some in pids.chunks(AT_ONCE) {
        let fields = ["_PID", "COREDUMP_PID"].into_iter();
        let one = |field| some.iter().map(move |pid| format!("{field}={pid}"));
        let matches: Vec<String> = fields.flat_map(one).collect();
        let read = logs::entries(period, &matches, &FIELDS, |line| {
            if let Some(seen) = unit_of_process(line) {
                add(&mut lives, seen);
            }
        });
        if let Err(error) = read {
            remarks.push(format!("the journal cannot be asked for units: {error}"));
            break;
        }
    }
    lives
}

/// By the entries of the same process that are nearest in time.
fn of_entries(event: &Event, times: &Times, lives: &Lives) -> Option<Text> {
    let (pid, last, program) = (event.process.pid?, times.last?, event.present()?);
    let is_same_boot = |boot: &Text| event.process.boot.as_ref().is_none_or(|own| own == boot);
    let distance = |life: &(Timestamp, Timestamp)| {
        let before = life.0.duration_since(last);
        before
            .max(last.duration_since(life.1))
            .max(SignedDuration::ZERO)
    };
    let start = (pid, None, Text::default(), Text::default());
    let own = lives.range(start..);
    let own = own.take_while(|((number, ..), _)| *number == pid);
    let own = own.filter(|((_, executable, boot, _), life)| {
        let limit = match executable {
            Some(executable) if *executable == program => NEAR,
            Some(_) => return false,
            None => AT_THE_END,
        };
        is_same_boot(boot) && distance(life) <= limit
    });
    let ((.., unit), _) = own.min_by_key(|(_, life)| distance(life))?;
    Some(unit.clone())
}

/// By the process, if it is still the same one.
fn of_running(event: &Event, times: &Times) -> Option<Text> {
    // What the clock of the kernel's log and that of processes may differ by: both are counted in ticks.
    const SLACK: SignedDuration = SignedDuration::from_millis(20);
    use std::os::unix::ffi::OsStrExt as _;
    let (pid, first): (u32, Timestamp) = (event.process.pid?, times.first?);
    let path = proc::executable(pid)?;
    let is_same = Text::from(path.as_os_str().as_bytes()) == *event.process.executable.as_ref()?;
    let started = proc::started(pid)?;
    (is_same && started <= first.checked_add(SLACK).ok()?)
        .then(|| of_cgroup(&proc::cgroup(pid)?))?
}

fn programs(observation: &Observation) -> impl Iterator<Item = Text> {
    let runs = observation.runs.values();
    runs.flat_map(|run| run.executables.keys()).cloned()
}

fn has(observation: &Observation, program: &Text) -> bool {
    let mut runs = observation.runs.values();
    runs.any(|run| run.executables.contains_key(program))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Intake, Piece, Taken};

    #[test]
    fn the_nearest_life_of_a_number_is_the_process() {
        let line = b"type=SECCOMP msg=audit(100000.000:4): pid=7 comm=\"a\" exe=\"/a\" arch=c000003e syscall=1 code=0x0";
        let mut intake = Intake::new(None);
        intake.piece(&mut Taken::default(), Piece::line(line));
        let events = intake.finish();
        let (event, times) = events.first_key_value().unwrap();
        let of = |entries: &[(u32, &str, &str, i64)]| {
            let mut lives = Lives::new();
            for (pid, executable, unit, second) in entries {
                let seen = Seen {
                    pid: *pid,
                    executable: (!executable.is_empty()).then(|| Text::from(executable)),
                    unit: Text::from(unit),
                    time: Timestamp::from_second(*second).unwrap(),
                    boot: Text::from("b"),
                };
                add(&mut lives, seen);
            }
            of_entries(event, times, &lives).map(|unit| unit.to_string())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(7, "/a", "x", 99_000)]).as_deref(), Some("x"));
        let several = [
            (7, "/a", "x", 90_000),
            (7, "/a", "y", 50_000),
            (7, "/a", "y", 110_000),
            (7, "/b", "z", 100_000),
            (8, "/a", "z", 100_000),
        ];
        assert_eq!(of(&several).as_deref(), Some("y"));
        assert_eq!(of(&[(7, "", "x", 99_995)]).as_deref(), Some("x"));
        assert_eq!(of(&[(7, "", "x", 99_000)]), None);
        // Another process had the number days ago.
        assert_eq!(of(&[(7, "/a", "x", 1)]), None);
    }
}
