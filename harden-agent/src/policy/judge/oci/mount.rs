//! An element of `mounts`: what is shown where, and with which options.

use std::str::FromStr as _;

use serde_json::Value;

/// A mount, as a line has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) at: Vec<u8>,
    pub(super) shows: Shows,
    pub(super) is_read_only: bool,
    pub(super) is_noexec: bool,
    pub(super) is_nodev: bool,
}

/// What is found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// Nothing, until the program makes it.
    Nothing,
    /// What the runtime makes in a `tmpfs` on /dev.
    Devices,
    /// What the kernel has there.
    Kernel,
    /// What the recording had there too.
    Same,
    /// The file does not say.
    Unknown,
}

/// File systems of the kernel's, where they always are.
const KERNEL: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devpts", "/dev/pts"),
    ("cgroup", "/sys/fs/cgroup"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("mqueue", "/dev/mqueue"),
];

/// Options that refuse nothing by themselves (`parseMountOptions` in libcontainer/specconv of runc).
const SILENT: [&str; 31] = [
    "acl",
    "async",
    "atime",
    "bind",
    "defaults",
    "diratime",
    "dirsync",
    "exec",
    "dev",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "newinstance",
    "noatime",
    "nodiratime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "rbind",
    "relatime",
    "rprivate",
    "rshared",
    "rslave",
    "shared",
    "slave",
    "strictatime",
    "suid",
    "sync",
];
/// The same with a value.
const VALUES: [&str; 4] = ["gid=5", "mode=0620", "mode=1777", "ptmxmode=0666"];
/// Of a directory in which only root may make files, as in /dev.
const OF_ROOT: [&str; 2] = ["mode=0755", "mode=755"];
/// The usual sizes of a /dev, which are enough.
const SIZE: &str = "size=65536k";

impl Mount {
    /// The mount, and what is not judged of it.
    pub(super) fn parse(value: &Value) -> Result<(Self, Option<&'static str>), &'static str> {
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        let at = text("destination");
        if !at.starts_with('/') || at.split('/').any(|part| part == "..") {
            return Err("where it is mounted is not judged");
        }
        let at = format!(
            "/{}",
            at.split('/')
                .filter(|part| !matches!(*part, "" | "."))
                .collect::<Vec<_>>()
                .join("/")
        );
        if at == "/" {
            return Err("what is mounted over everything is not judged");
        }
        let members = value.as_object().ok_or("no mount")?;
        let known = ["destination", "options", "source", "type"];
        let is_known = members.keys().all(|name| known.contains(&name.as_str()));
        let options = match &value["options"] {
            Value::Null => Vec::new(),
            Value::Array(list) => super::condition::texts(list).ok_or("no options")?,
            _ => return Err("no options"),
        };
        let mut mount = Self {
            shows: shows(text("type"), text("source"), &at, &options),
            at: at.into_bytes(),
            is_read_only: false,
            is_noexec: false,
            is_nodev: false,
        };
        let mut open = (!is_known).then_some("a mount with such a member is not judged");
        for option in options {
            // Of two that contradict each other, the last one holds.
            match option {
                "ro" => mount.is_read_only = true,
                "rw" => mount.is_read_only = false,
                "noexec" => mount.is_noexec = true,
                "exec" => mount.is_noexec = false,
                "nodev" => mount.is_nodev = true,
                "dev" => mount.is_nodev = false,
                _ if SILENT.contains(&option) || VALUES.contains(&option) => {}
                SIZE if mount.at.starts_with(b"/dev") => {}
                _ if mount.at == b"/dev" && OF_ROOT.contains(&option) => {}
                _ => open = Some("a mount with such an option is not judged"),
            }
        }
        if mount.shows == Shows::Unknown && !is_bind(text("type"), &options_of(value)) {
            open = Some("what such a mount shows is not judged");
        }
        Ok((mount, open))
    }

    /// What has to be there for a bind mount.
    pub(super) fn source(value: &Value) -> Option<&str> {
        let kind = value["type"].as_str().unwrap_or_default();
        is_bind(kind, &options_of(value)).then(|| value["source"].as_str().unwrap_or_default())
    }
}

fn options_of(value: &Value) -> Vec<&str> {
    let options = value["options"].as_array().map_or(&[][..], Vec::as_slice);
    options.iter().filter_map(Value::as_str).collect()
}

fn is_bind(kind: &str, options: &[&str]) -> bool {
    kind == "bind" || options.iter().any(|one| matches!(*one, "bind" | "rbind"))
}

fn shows(kind: &str, source: &str, at: &str, options: &[&str]) -> Shows {
    if is_bind(kind, options) {
        return if source.trim_end_matches('/') == at {
            Shows::Same
        } else {
            Shows::Unknown
        };
    }
    match kind {
        "tmpfs" if options.contains(&"tmpcopyup") => Shows::Unknown,
        "tmpfs" if at == "/dev" => Shows::Devices,
        "tmpfs" => Shows::Nothing,
        _ if KERNEL.contains(&(kind, at)) => Shows::Kernel,
        _ => Shows::Unknown,
    }
}

/// What a line of `mounts` says.
pub(super) fn of_line(text: &str) -> Option<Mount> {
    let value = Value::from_str(text).ok()?;
    Some(Mount::parse(&value).ok()?.0)
}
