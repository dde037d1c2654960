//! The values of options about what is decided and written, with what `--help` says of each.

use clap::{ValueEnum, builder::PossibleValue};

use crate::{
    policy::{Id, Mode, Paths, Widen},
    profile::Start,
    render::{report, yocto},
};

/// Every value of a type is offered, or hidden: one that is neither does not compile.
macro_rules! values {
    ($type:ty { $($value:ident => $help:literal,)+ } $(hidden { $($hidden:ident),+ })?) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$value),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                let help = match self {
                    $(Self::$value => $help,)+
                    $($(Self::$hidden => return None,)+)?
                };
                Some(PossibleValue::new(self.name()).help(help))
            }
        }
    };
}

values!(Mode {
    Whitelist => "Allow only what was seen (allowlist)",
    Default => "Refuse what Firejail refuses by default, except what was seen",
    Blacklist => "Refuse, by name, what Firejail 0.9.72 refuses by default and was not seen (denylist)",
});

values!(Widen {
    None => "Add only the implicit system calls",
    Libc => "Also add the calls that another version of the C library makes instead",
    Kernel => "Also add the calls that it makes on another kernel or architecture",
} hidden { Exact });

values!(Paths {
    Exact => "Never",
    Normal => "If a name contains a number, an identifier, a version or something similar",
    Broad => "In all of the program's own directories below /etc, /srv, /usr/share, /var and similar ones",
});

values!(Start {
    Shell => "`firejail --profile=FILE -- PROGRAM`: Firejail runs it through bash",
    Direct => "`firejail --profile=FILE PROGRAM`: no shell is needed, and none is allowed",
});

values!(yocto::Syntax {
    Colon => "`do_install:append`: since Yocto 3.4 (Honister), and in the later releases of 3.1 (Dunfell)",
    Underscore => "`do_install_append`: in earlier releases",
});

values!(report::Syntax {
    Markdown => "Markdown, as code forges show it",
    Text => "Plain text",
});

values!(Id {
    NoRun => "The observation contains no runs",
    LostEvents => "Events were lost",
    SkippedProgram => "The kernel skipped one of harden's BPF programs",
    NoHook => "Some run had no hook for a kind of fact",
    FailedRun => "Runs ended with an error",
    SeveralMachines => "The runs are from different machines",
    IoUring => "Requests submitted to `io_uring` pass no filter",
    SecondaryCalls => "32-bit or x32 calls were made",
    SysMounts => "Something mounted below /sys was used",
    EmptiedDirectory => "A directory that Firejail always empties was used",
    HiddenPath => "A path that Firejail always hides was used",
    Tunable => "A kernel setting was written",
    NoCapabilityRule => "There is no rule for capabilities",
    RootOverride => "Firejail takes capabilities away from root by default",
    NoSyscallRule => "There is no rule for system calls",
    DirectStart => "The program must be started without a double dash",
    LoginShell => "Firejail would start the program through an unknown shell",
    InexpressiblePath => "A path that was used cannot be written in a line",
    FewTests => "There are too few tests for an allowlist",
    Incomplete => "Another such test would still make new calls",
    ForeignMachine => "The recording is from another architecture, kernel or C library",
    NestedSandbox => "The program makes sandboxes of its own",
    EtcFirejail => "Firejail hides /etc/firejail from a Firejail inside it",
    FileCapabilities => "Firejail takes file capabilities away from an ordinary user whose calls it filters",
    AlreadyFiltered => "The program was already confined during the recording",
    NoFileCapabilities => "A program is on a file system that holds no file capabilities",
    LoginSessions => "The program's login sessions are other units",
    PinnedFile => "A rule keeps a file that another program may replace",
    EtcCopy => "Files in /etc are copies that never change",
    MadeDirectory => "The program makes a directory that a rule needs at the start",
    Launcher => "The program runs jobs on behalf of others",
    Mounts => "The program mounts for others, or watches mounts",
    OtherRoot => "Some programs ran in another root directory",
    LeftCgroup => "Some processes left the recorded cgroup",
    StartedElsewhere => "The program makes a service start programs",
    SetIdPrograms => "Set-id programs that it runs do not get their privileges",
    FoldedNames => "A directory that programs share is in the place of names in it",
    MixedUnits => "Several units share the record",
    OtherProcesses => "The program looks at other processes, signals them, or takes their numbers from PID files",
});
