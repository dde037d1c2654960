//! Reading the runtime's `config.json`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    super::{limits, line::Shape},
    CONFIG,
    condition::Container,
    host::Host,
    mount::Mount,
    reader::Reader,
    seccomp,
};

type Members = Map<String, Value>;

/// The sets of capabilities. All are lists, and what is not there is empty.
const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "permitted",
    "inheritable",
    "ambient",
];

/// Reads all of it.
pub(super) fn read(members: &Members, reader: &mut Reader, host: &Host) {
    let version = members.get(CONFIG).and_then(Value::as_str);
    reader.word(CONFIG, &version.unwrap_or_default());
    let empty = Members::new();
    let object = |name: &str| {
        members
            .get(name)
            .and_then(Value::as_object)
            .unwrap_or(&empty)
    };
    for (name, value) in members {
        match name.as_str() {
            _ if value.is_null() => {}
            CONFIG | "annotations" | "domainname" | "hostname" => {}
            "linux" | "process" | "root" if value.is_object() => {}
            "mounts" => mounts(value, reader, host),
            _ => reader.pass_by_member(name, value, "harden does not judge this member"),
        }
    }
    // runc does not start without.
    let own_names = object("linux").get("namespaces").and_then(Value::as_array);
    let own_names = own_names.is_some_and(|all| all.iter().any(|one| one["type"] == "uts"));
    if let Some(name) = members.get("hostname").filter(|_| !own_names) {
        reader.fail(
            "hostname",
            name,
            "a name needs a namespace of its own (uts)",
        );
    }
    root(object("root"), reader, host);
    process(object("process"), reader);
    let bounding = object("process").get("capabilities");
    let bounding = bounding.and_then(|sets| sets["bounding"].as_array());
    let bounding = bounding.map_or(&[][..], Vec::as_slice).iter();
    let bounding: BTreeSet<String> = bounding
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    linux(
        object("linux"),
        reader,
        &Container {
            host,
            capabilities: Some(&bounding),
        },
    );
}

fn root(members: &Members, reader: &mut Reader, host: &Host) {
    for (name, value) in members {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("path", Value::String(path)) => {
                let whole = host.bundle.as_ref().map(|bundle| bundle.join(path));
                let whole = whole.unwrap_or_else(|| path.into());
                reader.word("root.path", &whole.display());
            }
            ("readonly", Value::Bool(is_read_only)) => reader.word("root.readonly", is_read_only),
            _ => reader.pass_by(
                &json!({ "root": { name: value } }),
                "harden does not judge this member",
            ),
        }
    }
}

fn mounts(value: &Value, reader: &mut Reader, host: &Host) {
    for one in value.as_array().map_or(&[][..], Vec::as_slice) {
        match Mount::parse(one) {
            Ok((_, open)) => {
                reader.word("mounts", one);
                if Mount::source(one).is_some_and(|source| !host.has(source)) {
                    reader.pass_by(
                        one,
                        "the container does not start where the source is missing, as here",
                    );
                }
                if let Some(reason) = open {
                    reader.pass_by(one, reason);
                }
            }
            Err(reason) => reader.pass_by(one, reason),
        }
    }
}

fn process(members: &Members, reader: &mut Reader) {
    for (name, value) in members {
        match (name.as_str(), value) {
            (_, Value::Null)
            | (
                "args" | "commandLine" | "consoleSize" | "cwd" | "env" | "ioPriority"
                | "oomScoreAdj" | "terminal",
                _,
            ) => {}
            ("noNewPrivileges", Value::Bool(is_on)) => reader.word("noNewPrivileges", is_on),
            ("apparmorProfile" | "selinuxLabel", Value::String(profile)) if profile.is_empty() => {}
            ("rlimits", Value::Array(limits)) => {
                for one in limits {
                    rlimit(one, reader);
                }
            }
            ("user", Value::Object(user)) => self::user(user, reader),
            ("capabilities", Value::Object(sets)) => {
                for (name, value) in sets {
                    if !SETS.contains(&name.as_str()) {
                        reader.pass_by_member(name, value, "no set of capabilities");
                    }
                }
            }
            (name, value) => {
                reader.pass_by_member(name, value, "harden does not judge this member");
            }
        }
    }
    let sets = members.get("capabilities");
    for name in SETS {
        let set = sets
            .and_then(|sets| sets.get(name))
            .filter(|set| !set.is_null());
        let none = Value::Array(Vec::new());
        reader.list(name, Shape::List, Some(set.unwrap_or(&none)));
    }
    // capset(2) does not take it.
    let list = |name: &str| -> BTreeSet<&str> {
        let set = sets.and_then(|sets| sets[name].as_array());
        set.map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(Value::as_str)
            .collect()
    };
    let is_part = |name| list(name).is_subset(&list("permitted"));
    if let (Some(sets), false) = (sets, is_part("effective") && is_part("inheritable")) {
        reader.fail(
            "capabilities",
            sets,
            "effective and inheritable have to be parts of permitted",
        );
    }
}

fn user(members: &Members, reader: &mut Reader) {
    let no_owner = 0o700;
    for (name, value) in members {
        match (name.as_str(), value.as_u64()) {
            ("uid", Some(uid)) => reader.word("uid", &uid),
            ("umask", Some(mask)) if mask & no_owner == 0 => {}
            ("gid" | "additionalGids", _) => {}
            _ => reader.pass_by(
                &json!({ "user": { name: value } }),
                "harden does not judge this member",
            ),
        }
    }
}

fn rlimit(value: &Value, reader: &mut Reader) {
    let resource = value["type"]
        .as_str()
        .and_then(|name| name.strip_prefix("RLIMIT_"));
    let soft = value["soft"].as_u64();
    let is_enough = match (resource, soft) {
        (Some(resource), Some(soft)) => limits::is_enough(resource, soft),
        _ => false,
    };
    if !is_enough {
        reader.pass_by(value, limits::LOWER);
    }
}

fn linux(members: &Members, reader: &mut Reader, container: &Container<'_>) {
    for (name, value) in members {
        match (name.as_str(), value) {
            (_, Value::Null) | ("cgroupsPath" | "rootfsPropagation" | "intelRdt", _) => {}
            ("mountLabel", Value::String(label)) if label.is_empty() => {}
            ("uidMappings" | "gidMappings" | "devices", Value::Array(list)) if list.is_empty() => {}
            ("namespaces", Value::Array(list)) => namespaces(list, reader),
            ("maskedPaths", list) => reader.list("maskedPaths", Shape::Each, Some(list)),
            ("readonlyPaths", list) => reader.list("readonlyPaths", Shape::Each, Some(list)),
            ("resources", Value::Object(resources)) => self::resources(resources, reader),
            ("seccomp", Value::Object(members)) => seccomp::read(members, reader, container),
            ("sysctl", Value::Object(sysctl)) => {
                let silent =
                    |name: &String| name.starts_with("net.") || name.starts_with("fs.mqueue.");
                for (name, value) in sysctl.iter().filter(|(name, _)| !silent(name)) {
                    reader.pass_by_member(
                        name,
                        value,
                        "what a setting of the kernel refuses is not judged",
                    );
                }
            }
            (name, value) => {
                reader.pass_by_member(name, value, "harden does not judge this member");
            }
        }
    }
}

fn namespaces(list: &[Value], reader: &mut Reader) {
    for one in list {
        match one["type"].as_str() {
            Some(kind @ ("cgroup" | "ipc" | "mount" | "network" | "pid" | "time" | "uts")) => {
                reader.word("namespaces", &kind);
            }
            _ => reader.pass_by(one, "what is allowed in such a namespace is not judged"),
        }
    }
}

/// Devices are those of the runtime, whatever the list is.
fn resources(members: &Members, reader: &mut Reader) {
    for (name, value) in members {
        let is_silent = match name.as_str() {
            "blockIO" | "cpu" | "network" | "rdma" => true,
            "devices" => devices_are_usual(value),
            "memory" | "pids" => is_unlimited(value),
            _ => false,
        };
        if !is_silent && !value.is_null() {
            reader.pass_by_member(name, value, limits::LOWER);
        }
    }
}

/// All are refused at first, and then some are allowed: the runtime puts its own behind (`AllowedDevices` of runc).
fn devices_are_usual(value: &Value) -> bool {
    let mut rules = value.as_array().map_or(&[][..], Vec::as_slice).iter();
    rules.all(|rule| {
        let is_all = ["type", "major", "minor"]
            .iter()
            .all(|name| match &rule[*name] {
                Value::Null => true,
                Value::String(kind) => kind == "a",
                number => number.as_i64() == Some(-1),
            });
        rule["allow"] == true || is_all
    })
}

fn is_unlimited(value: &Value) -> bool {
    let members = value.as_object();
    members.is_some_and(|members| {
        members.iter().all(|(name, value)| {
            let is_limit = matches!(name.as_str(), "limit" | "swap");
            let is_soft = matches!(
                name.as_str(),
                "reservation" | "swappiness" | "disableOOMKiller" | "useHierarchy"
            );
            is_soft || value.is_null() || is_limit && value.as_i64().is_some_and(|limit| limit <= 0)
        })
    })
}
