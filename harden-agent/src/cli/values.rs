//! The values of options about what is decided and written, with what `--help` says of each.

use clap::{ValueEnum, builder::PossibleValue};

use crate::{
    apply::Backend,
    policy::{Compatibility, Generalisation, Mode},
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
    Allowlist => "Allow only what was seen (allowlist)",
    SandboxDefault => "Refuse what Firejail refuses by default, except what was seen",
    Denylist => "Refuse, by name, what Firejail 0.9.72 refuses by default and was not seen (denylist)",
});

values!(Compatibility {
    None => "Add only the implicit system calls",
    Libc => "Also add the calls that another version of the C library makes instead",
    Kernel => "Also add the calls that it makes on another kernel or architecture",
} hidden { Exact });

values!(Generalisation {
    Exact => "Never",
    Normal => "If a name contains a number, an identifier, a version or something similar",
    Broad => "In all of the program's own directories below /etc, /srv, /usr/share, /var and similar ones",
});

values!(Start {
    Shell => "`firejail --profile=FILE -- PROGRAM`: Firejail runs it through bash",
    Direct => "`firejail --profile=FILE PROGRAM`: no shell is needed, and none is allowed",
});

values!(Backend {
    Systemd => "systemd alone, by a drop-in",
    Firejail => "Firejail, by a profile and a drop-in that starts the unit under it",
});

values!(yocto::Syntax {
    Colon => "`do_install:append`: since Yocto 3.4 (Honister), and in the later releases of 3.1 (Dunfell)",
    Underscore => "`do_install_append`: in earlier releases",
});

values!(report::Syntax {
    Markdown => "Markdown, as code forges show it",
    Text => "Plain text",
});
