//! The properties of a unit → what matters of them.

use std::collections::HashMap;

use zbus::zvariant::{OwnedValue, Value};

/// What systemd knows of a unit. What it does not tell, or this unit's type has not, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The id of its present or last invocation.
    pub invocation: Option<String>,
    /// When that began, nanoseconds of `CLOCK_MONOTONIC`.
    pub started: Option<u64>,
    /// `Type=` of a service: `simple`, `notify`, `oneshot`, …
    pub service_type: Option<String>,
    /// `User=`, as it is written there.
    pub user: Option<String>,
    /// The user that its main process is started as, where that is given.
    pub uid: Option<u32>,
    /// Its main process, if one runs.
    pub main_pid: Option<u32>,
    /// The process of the command before or after it, if one runs.
    pub control_pid: Option<u32>,
    /// The first command of `ExecStart=`, before variables are filled in.
    pub argv: Vec<String>,
    /// Which process last ran which command, in the order of [`Role`]; commands that never ran are not in
    /// it.
    pub roles: Vec<Ran>,
    /// How the last invocation went: `success`, `exit-code`, `signal`, `timeout`, …
    pub result: Option<String>,
    /// How its main process ended, as a shell has it: 128 and the signal's number after a signal.
    pub exit_status: Option<i32>,
    /// The options of the unit that make systemd install a seccomp filter: what that denies, the hooks on
    /// calls do not see.
    pub filters: Vec<&'static str>,
    /// `CapabilityBoundingSet=`, a bit for each capability, where it takes any away.
    pub bounding_set: Option<u64>,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
}

/// What a command is in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `ExecCondition=`
    Condition,
    /// `ExecStartPre=`, and those of sockets
    StartPre,
    /// `ExecStart=`: the service itself
    Start,
    /// `ExecStartPost=`, and those of sockets
    StartPost,
    /// `ExecReload=`
    Reload,
    /// `ExecStop=`, `ExecStopPre=` of sockets
    Stop,
    /// `ExecStopPost=`, and those of sockets
    StopPost,
}

/// A command that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The process that systemd started for it.
    pub pid: u32,
    /// What it is in the unit.
    pub role: Role,
    /// The command, before variables are filled in.
    pub argv: Vec<String>,
}

/// The properties that hold commands.
const COMMANDS: [(&str, Role); 8] = [
    ("ExecCondition", Role::Condition),
    ("ExecStartPre", Role::StartPre),
    ("ExecStart", Role::Start),
    ("ExecStartPost", Role::StartPost),
    ("ExecReload", Role::Reload),
    ("ExecStopPre", Role::Stop),
    ("ExecStop", Role::Stop),
    ("ExecStopPost", Role::StopPost),
];

/// Options that are a filter when they are on (systemd, src/core/execute.c: `context_has_seccomp`).
const SWITCHES: [&str; 10] = [
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictRealtime",
    "RestrictSUIDSGID",
];

/// The flags of clone(2) for namespaces, all but that for time (linux/sched.h): a unit that may use all has
/// no filter.
const NAMESPACES: u64 = 0x7e02_0000;

/// The capabilities of the oldest kernel supported: those that are newer than systemd are never in its
/// set. The newest is `CAP_CHECKPOINT_RESTORE`, 40, since 5.9.
const CAPABILITIES: u64 = (1 << 41) - 1;

impl Description {
    /// Reads what `org.freedesktop.DBus.Properties.GetAll` answered.
    pub(super) fn of(properties: &HashMap<String, OwnedValue>) -> Self {
        let properties = Properties(properties);
        let of_command = |&(name, role): &(&str, Role)| {
            let commands = properties.list(name).iter().filter_map(command);
            let ran = commands.map(move |(pid, argv)| Ran { pid, role, argv });
            ran.collect::<Vec<_>>()
        };
        let mut roles: Vec<Ran> = COMMANDS.iter().flat_map(of_command).collect();
        let first = roles.iter().find(|ran| ran.role == Role::Start);
        let argv = first.map(|ran| ran.argv.clone()).unwrap_or_default();
        roles.retain(|ran| ran.pid != 0);
        Self {
            invocation: properties.id("InvocationID"),
            // Microseconds; 0 where it never was.
            started: properties
                .mask("InactiveExitTimestampMonotonic")
                .filter(|&time| time != 0)
                .map(|time| time.saturating_mul(1000)),
            service_type: properties.text("Type"),
            user: properties.text("User"),
            uid: properties.uid(),
            main_pid: properties.number("MainPID").filter(|&pid| pid != 0),
            control_pid: properties.number("ControlPID").filter(|&pid| pid != 0),
            argv,
            roles,
            result: properties.text("Result"),
            exit_status: properties.exit_status(),
            filters: properties.filters(),
            bounding_set: properties
                .mask("CapabilityBoundingSet")
                .filter(|set| set & CAPABILITIES != CAPABILITIES),
            no_new_privileges: properties.is_on("NoNewPrivileges"),
        }
    }

    /// What process `pid` was started for.
    #[must_use]
    pub fn role(&self, pid: u32) -> Option<Role> {
        let ran = self.roles.iter().find(|ran| ran.pid == pid);
        // A service that forks (`Type=forking`) has a main process that systemd did not start.
        let main = || (self.main_pid == Some(pid)).then_some(Role::Start);
        ran.map(|ran| ran.role).or_else(main)
    }
}

/// Properties by name; each is taken only if it has the type that it should have.
struct Properties<'a>(&'a HashMap<String, OwnedValue>);

impl Properties<'_> {
    fn get(&self, name: &str) -> Option<&Value<'_>> {
        self.0.get(name).map(|value| &**value)
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::Str(text) if !text.is_empty() => Some(text.to_string()),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u32> {
        match self.get(name)? {
            Value::U32(number) => Some(*number),
            _ => None,
        }
    }

    /// `User=`, unless `ExecStart=` has `+` or `!`, with which systemd starts a command as root all the same.
    fn uid(&self) -> Option<u32> {
        let is_root = |command: &Value<'_>| match command {
            // File, arguments, flags, ….
            Value::Structure(command) => match command.fields().get(2) {
                Some(Value::Array(flags)) => flags.iter().any(|flag| {
                    let text = <&str>::try_from(flag);
                    text.is_ok_and(|flag| matches!(flag, "privileged" | "no-setuid"))
                }),
                _ => false,
            },
            _ => false,
        };
        if self.list("ExecStartEx").iter().any(is_root) {
            return Some(0);
        }
        self.number("UID").filter(|&uid| uid != u32::MAX)
    }

    fn mask(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::U64(mask) => Some(*mask),
            _ => None,
        }
    }

    fn is_on(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(on)) => *on,
            // Some switches have become words since: `ProtectHostname=private` in 257.
            Some(Value::Str(word)) => !matches!(word.as_str(), "" | "no"),
            _ => false,
        }
    }

    fn list(&self, name: &str) -> &[Value<'_>] {
        match self.get(name) {
            Some(Value::Array(list)) => list,
            _ => &[],
        }
    }

    fn id(&self, name: &str) -> Option<String> {
        let bytes = self.list(name).iter().map(|value| match value {
            Value::U8(byte) => Some(format!("{byte:02x}")),
            _ => None,
        });
        bytes.collect::<Option<String>>().filter(|id| is_id(id))
    }

    /// `ExecMainCode` is the `si_code` of the SIGCHLD (`CLD_EXITED` 1, `CLD_KILLED` 2, `CLD_DUMPED` 3), 0 while
    /// it has not ended.
    fn exit_status(&self) -> Option<i32> {
        let signed = |name: &str| match self.get(name) {
            Some(Value::I32(number)) => Some(*number),
            _ => None,
        };
        let status = signed("ExecMainStatus")?;
        match signed("ExecMainCode")? {
            1 => Some(status),
            2 | 3 => status.checked_add(128),
            _ => None,
        }
    }

    fn filters(&self) -> Vec<&'static str> {
        // Pairs of 'is an allow list' and a list.
        let lists = ["RestrictAddressFamilies", "SystemCallFilter"];
        let has_list = |name: &&str| match self.get(name) {
            Some(Value::Structure(pair)) => match pair.fields() {
                // An allow list of nothing denies all.
                [Value::Bool(allows), Value::Array(list)] => *allows || !list.is_empty(),
                _ => false,
            },
            _ => false,
        };
        let restricts = |name: &&str| {
            self.mask(name)
                .is_some_and(|allowed| allowed & NAMESPACES != NAMESPACES)
        };
        let lists = lists.into_iter().filter(has_list);
        let switches = SWITCHES.into_iter().filter(|name| self.is_on(name));
        let namespaces = Some("RestrictNamespaces").filter(restricts);
        let architectures =
            Some("SystemCallArchitectures").filter(|name| !self.list(name).is_empty());
        let mut all: Vec<_> = lists
            .chain(switches)
            .chain(namespaces)
            .chain(architectures)
            .collect();
        all.sort_unstable();
        all
    }
}

/// Process and arguments of a command, `(sasbttttuii)`: file, arguments, whether a failure is ignored, four
/// times, process, `si_code`, status (org.freedesktop.systemd1(5)).
fn command(value: &Value<'_>) -> Option<(u32, Vec<String>)> {
    let Value::Structure(command) = value else {
        return None;
    };
    let [
        _file,
        Value::Array(argv),
        _,
        _,
        _,
        _,
        _,
        Value::U32(pid),
        ..,
    ] = command.fields()
    else {
        return None;
    };
    let argv = argv.iter().map(|argument| match argument {
        Value::Str(argument) => Some(argument.to_string()),
        _ => None,
    });
    Some((*pid, argv.collect::<Option<_>>()?))
}

/// 128 bits that are not all 0, which is how systemd says that there are none.
pub(super) fn is_id(id: &str) -> bool {
    let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    id.len() == 32 && id.bytes().all(digit) && id.bytes().any(|byte| byte != b'0')
}
