//! Reading a list of calls: `linux.seccomp` of the runtime specification, and the form of Docker and Podman with conditions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    super::{super::oci::RUNTIME, line::Shape},
    condition::{Condition, Container, texts},
    reader::Reader,
};

/// Says nothing of what is allowed.
const REMARKS: [&str; 4] = ["comment", "comments", "defaultErrno", "defaultErrnoRet"];
const ENTRY: [&str; 10] = [
    "action", "args", "comment", "comments", "errno", "errnoRet", "excludes", "includes", "name",
    "names",
];
/// What libseccomp calls architectures (`SCMP_ARCH_…` of config-linux.md, 1.0.2).
const ARCHITECTURES: [&str; 17] = [
    "AARCH64",
    "ARM",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PARISC",
    "PARISC64",
    "PPC",
    "PPC64",
    "PPC64LE",
    "RISCV64",
    "S390",
    "S390X",
    "X32",
];
const OF_INTEL: [&str; 2] = ["X86", "X86_64"];

/// What an action does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Does {
    Allow,
    Refuse,
}

/// The actions of the specification but for those by which another process decides.
const ACTIONS: [(&str, Does); 7] = [
    ("SCMP_ACT_ALLOW", Does::Allow),
    ("SCMP_ACT_LOG", Does::Allow),
    ("SCMP_ACT_ERRNO", Does::Refuse),
    ("SCMP_ACT_KILL", Does::Refuse),
    ("SCMP_ACT_KILL_PROCESS", Does::Refuse),
    ("SCMP_ACT_KILL_THREAD", Does::Refuse),
    ("SCMP_ACT_TRAP", Does::Refuse),
];

pub(super) fn action(name: &str) -> Option<(&'static str, Does)> {
    let mut actions = ACTIONS.iter();
    actions.find(|(one, _)| *one == name).copied()
}

/// The calls of all entries, by what is done to them.
#[derive(Default)]
struct Calls {
    /// Whatever the arguments are.
    whole: BTreeMap<Does, Vec<String>>,
    /// For some arguments.
    partly: Vec<(Does, String, Value)>,
    /// If something holds that is not known.
    open: Vec<String>,
}

/// Why a list without the runtime's own calls is not judged.
pub(super) const STARTS: &str =
    "runc makes these calls before it runs the program, and the list refuses them";

/// Reads the object.
pub(super) fn read(members: &Map<String, Value>, reader: &mut Reader, container: &Container<'_>) {
    let mut calls = Calls::default();
    for (name, value) in members {
        match (name.as_str(), value) {
            (_, Value::Null) | ("defaultAction" | "architectures" | "archMap", _) => {}
            ("flags", Value::Array(flags)) if flags.is_empty() => {}
            ("flags", _) => {
                reader.pass_by_member(name, value, "runc before 1.2 does not start with flags");
            }
            ("syscalls", Value::Array(entries)) => {
                for entry in entries {
                    if let Err(reason) = calls.add(entry, container) {
                        reader.pass_by(entry, reason);
                    }
                }
            }
            (name, _) if REMARKS.contains(&name) => {}
            (name, value) => {
                reader.pass_by_member(name, value, "harden does not judge this member");
            }
        }
    }
    let given = members.get("defaultAction").and_then(Value::as_str);
    let Some((name, default)) = given.and_then(action) else {
        let value = members.get("defaultAction").unwrap_or(&Value::Null);
        return reader.pass_by_member("defaultAction", value, "what it does is not judged");
    };
    reader.word("defaultAction", &name);
    architectures(members, reader, container);
    let missing = missing(&calls, default);
    if !missing.is_empty() {
        reader.pass_by(&json!({ "names": missing }), STARTS);
    }
    calls.write(default, reader);
}

fn is_architecture(name: &str) -> bool {
    let name = name.strip_prefix("SCMP_ARCH_").unwrap_or_default();
    ARCHITECTURES.contains(&name) || OF_INTEL.contains(&name)
}

/// Calls without which the program may not be started, as the runtime makes them under the filter.
fn missing(calls: &Calls, default: Does) -> Vec<&'static str> {
    let named = |does: Does, name: &str| {
        calls
            .whole
            .get(&does)
            .is_some_and(|names| names.iter().any(|one| one == name))
    };
    let in_part = |name: &str| {
        calls.partly.iter().any(|(_, one, _)| one == name)
            || calls.open.iter().any(|one| one == name)
    };
    let mut missing = RUNTIME.to_vec();
    missing.retain(|name| match default {
        Does::Allow => named(Does::Refuse, name),
        Does::Refuse => !named(Does::Allow, name) && !in_part(name),
    });
    missing
}

fn architectures(members: &Map<String, Value>, reader: &mut Reader, container: &Container<'_>) {
    let listed = members.get("architectures").filter(|list| !list.is_null());
    let mut names = listed.and_then(Value::as_array).into_iter().flatten();
    if let Some(unknown) = names.find(|name| !name.as_str().is_some_and(is_architecture)) {
        reader.fail("architectures", unknown, "the runtime does not know it");
    }
    reader.list("architectures", Shape::List, listed);
    let Some(map) = members.get("archMap").filter(|map| !map.is_null()) else {
        return;
    };
    // Of the machine's own architecture; of another, nothing is known.
    let own = container.host.scmp();
    let entries = map.as_array().map_or(&[][..], Vec::as_slice);
    let entry = entries
        .iter()
        .find(|entry| entry["architecture"].as_str() == own);
    match entry.filter(|_| own.is_some()) {
        Some(entry) => {
            let others = entry["subArchitectures"].as_array();
            let others = others.map_or(&[][..], Vec::as_slice).iter().cloned();
            let list: Vec<Value> = std::iter::once(entry["architecture"].clone())
                .chain(others)
                .collect();
            reader.list("architectures", Shape::List, Some(&Value::Array(list)));
        }
        None => reader.pass_by_member(
            "archMap",
            map,
            "the machine's own architecture is not in it",
        ),
    }
}

impl Calls {
    fn add(&mut self, entry: &Value, container: &Container<'_>) -> Result<(), &'static str> {
        let members = entry.as_object().ok_or("no entry of calls")?;
        if members.keys().any(|name| !ENTRY.contains(&name.as_str())) {
            return Err("an entry with such a member is not judged");
        }
        let action = members.get("action").and_then(Value::as_str);
        let action = action.and_then(self::action);
        let (_, does) = action.ok_or("what the action does is not judged")?;
        let names = names(members)?;
        let args = members.get("args").filter(|args| !args.is_null());
        let args = args.map(|args| args.as_array().ok_or("no list of arguments"));
        let args = args.transpose()?.filter(|args| !args.is_empty());
        match Condition::of(members, container) {
            Condition::Fails => {}
            Condition::Strange => return Err("such a condition is not judged"),
            Condition::Open => self.open.extend(names),
            Condition::Holds => match args {
                None => self.whole.entry(does).or_default().extend(names),
                Some(args) => {
                    let args = Value::Array(args.clone());
                    let each = names.into_iter().map(|name| (does, name, args.clone()));
                    self.partly.extend(each);
                }
            },
        }
        Ok(())
    }

    /// A rule for all arguments takes the place of those for some (`db_col_rule_add` of libseccomp). Of two that say something
    /// else, neither is known to hold.
    fn write(mut self, default: Does, reader: &mut Reader) {
        let set = |names: Option<&Vec<String>>| -> BTreeSet<String> {
            names.into_iter().flatten().cloned().collect()
        };
        let allowed = set(self.whole.get(&Does::Allow));
        let refused = set(self.whole.get(&Does::Refuse));
        let both: BTreeSet<String> = allowed.intersection(&refused).cloned().collect();
        self.open.extend(both.iter().cloned());
        let mut taken = |does: Does| {
            let names = self.whole.remove(&does).unwrap_or_default();
            names.into_iter().filter(|name| !both.contains(name))
        };
        match default {
            Does::Refuse => reader.rules.add("names", Shape::List, taken(Does::Allow)),
            Does::Allow => reader
                .rules
                .add("syscalls", Shape::Each, taken(Does::Refuse)),
        }
        let is_whole = |name: &String| allowed.contains(name) || refused.contains(name);
        // An entry that says what is done anyway changes nothing.
        let partly = self
            .partly
            .iter()
            .filter(|(does, name, _)| *does != default && !is_whole(name));
        let partly =
            partly.map(|(_, name, args)| json!({ "args": args, "names": [name] }).to_string());
        reader.rules.add("args", Shape::Each, partly);
        reader
            .rules
            .add("includes", Shape::Each, self.open.into_iter());
    }
}

/// `name` is what Docker had before `names`.
fn names(members: &Map<String, Value>) -> Result<Vec<String>, &'static str> {
    let mut names: Vec<&str> = Vec::new();
    match members.get("names") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => names = texts(list).ok_or("no names")?,
        Some(_) => return Err("no names"),
    }
    match members.get("name") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if name.is_empty() => {}
        Some(Value::String(name)) => names.push(name),
        Some(_) => return Err("no name"),
    }
    if names.is_empty() {
        return Err("no names");
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}
