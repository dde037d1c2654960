//! Which suites run in which guest: image, kernels and parameters.
//!
//! Emulation is slow, so a suite is here for what differs between kernels, or for what only a machine that systemd has
//! started can show; how much of its work it does here is set accordingly.

use std::fmt;

/// What is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Image {
    /// A few programs in memory: boots in seconds.
    Small,
    /// Debian, with systemd as the first process.
    Debian,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Debian => "debian",
        })
    }
}

/// A suite of `tests/suites` in one image.
#[derive(Debug)]
pub struct Guest {
    /// The suite.
    pub name: &'static str,
    /// Where it runs.
    pub image: Image,
    /// What the kernel's command line has for it; suites with the same share a boot.
    pub parameter: &'static str,
    /// The kernels that it runs on.
    pub kernels: &'static [&'static str],
    /// The tests whose names contain this.
    pub tests: &'static str,
    /// Those among the kernels on which it runs in `cargo xtask test` too.
    pub in_tests: &'static [&'static str],
    /// The tests that run there, in the same way.
    pub part: &'static str,
    /// After so many seconds it hangs.
    pub seconds: u64,
    /// The fraction of its work that it does there: what is a million natively takes too long emulated.
    pub scale: f64,
}

impl Guest {
    /// Does it run in `cargo xtask test`?
    #[cfg(test)]
    pub fn is_in_tests(&self) -> bool {
        !self.in_tests.is_empty()
    }
}

/// All kernels.
const ALL: &[&str] = &["5.10", "6.1", "6.12", "newest"];
/// Where hooks differ. What 6.12 has, one of these has too; there the agent's choice among hooks is tested (`tiers`), and
/// daemons are.
const HOOKS: &[&str] = &["5.10", "6.1", "newest"];
/// What `cargo xtask test` boots: the first has tables and hooks of its own, the last has all that there is.
const ENDS: &[&str] = &["5.10", "newest"];
/// The agent differs where the kernel side does: the oldest, which has no task storage, and the first long-term one
/// that is whole.
const AGENT: &[&str] = &["5.10", "6.1"];
/// The oldest alone.
const OLDEST: &[&str] = &["5.10"];
/// The newest alone: for what needs a machine that systemd has started, whatever its kernel.
const NEWEST: &[&str] = &["newest"];

const fn small(name: &'static str) -> Guest {
    Guest {
        name,
        image: Image::Small,
        parameter: "",
        kernels: HOOKS,
        tests: "",
        in_tests: &[],
        part: "",
        seconds: 900,
        scale: 1.0,
    }
}

/// In the small image; among all tests, these of its tests on these kernels.
const fn in_tests(
    kernels: &'static [&'static str],
    name: &'static str,
    part: &'static str,
) -> Guest {
    Guest {
        in_tests: kernels,
        part,
        ..small(name)
    }
}

const fn debian(name: &'static str, kernels: &'static [&'static str]) -> Guest {
    Guest {
        image: Image::Debian,
        kernels,
        ..small(name)
    }
}

/// The parameter of the kernel with which the package is installed before systemd starts: `guest/init`.
pub const INSTALLED: &str = "harden.installed";

/// All of them, in the order in which they run.
pub const GUESTS: &[Guest] = &[
    // On the newest kernel `tiers` does the same work by each tier.
    in_tests(OLDEST, "paths", "every_act_has_its_fact"),
    in_tests(OLDEST, "files", ""),
    in_tests(ENDS, "path_calls", ""),
    small("exec"),
    in_tests(ENDS, "namespaces", "one_path_in_two_namespaces"),
    in_tests(ENDS, "capabilities", "it_is_told_in_which_call"),
    // The small image has no pkill, and no systemd.
    Guest {
        tests: "_told",
        ..in_tests(OLDEST, "signals", "whatever_the_call")
    },
    in_tests(OLDEST, "cgroups", "moved_in_it_is_observed"),
    in_tests(ENDS, "io_uring", ""),
    // Filters of threads and of other conventions, and audit_seccomp where the kernel has it as a hook.
    in_tests(ENDS, "denials", "which_call"),
    small("pinning"),
    // The steps of the writer are the same on all kernels.
    Guest {
        kernels: AGENT,
        tests: "kill",
        scale: 0.2,
        seconds: 1800,
        ..small("survival")
    },
    // The oldest has tables of its own, the newest skips programs, which `preemption` counts.
    Guest {
        kernels: ENDS,
        scale: 0.02,
        ..small("losses")
    },
    // Minutes emulated; the hooks on calls and on tasks are the same on those between.
    Guest {
        kernels: ENDS,
        ..in_tests(ENDS, "syscalls", "every_way_to_make_a_task")
    },
    // Where a kernel knows it, it seldom stops a program then; otherwise it is taken for the default.
    Guest {
        parameter: "preempt=lazy",
        kernels: &["6.1", "6.12", "newest"],
        in_tests: NEWEST,
        ..small("tiers")
    },
    Guest {
        parameter: "preempt=full",
        kernels: &["6.12", "newest"],
        in_tests: NEWEST,
        scale: 0.015,
        ..small("preemption")
    },
    debian("pipeline", ALL),
    // One of the two on each kernel but the newest: minutes emulated, and kernels differ little in what they do.
    debian("nginx", &["5.10"]),
    debian("redis", &["6.1", "6.12"]),
    // The same: what a filter has to allow is the filter's, not the kernel's.
    debian("secondary_calls", NEWEST),
    debian("nothing_stays_behind", NEWEST),
    // The kernel's records reach a journal only on a machine that systemd has started.
    Guest {
        in_tests: NEWEST,
        part: "the_unit_is_known",
        ..debian("audit", &["6.1", "newest"])
    },
    // What it asks, it asks systemd.
    debian("units", &["6.12"]),
    debian("systemd", &["6.12"]),
    // What the kernel side reports of units; the rest is the agent's own, and takes minutes emulated.
    Guest {
        tests: "units::",
        seconds: 1800,
        scale: 0.05,
        ..debian("agent", AGENT)
    },
    debian("agent_faults", AGENT),
    // What a unit may take of the tables is counted by the kernel side, and the oldest has no task storage for it.
    Guest {
        tests: "a_flood_of_names",
        ..debian("neighbours", ENDS)
    },
    Guest {
        seconds: 1200,
        ..debian("drop_in", &["6.1"])
    },
    // What needs the unified control groups, which a container may lack.
    Guest {
        tests: "by_control_groups",
        ..debian("directives", &["6.1"])
    },
    // The same boot for all, and in this order: what was there from the start is looked at first.
    Guest {
        parameter: INSTALLED,
        in_tests: NEWEST,
        ..debian("boot", HOOKS)
    },
    // An agent of its own, beside the one that is installed.
    Guest {
        parameter: INSTALLED,
        in_tests: NEWEST,
        ..debian("agent_roles", HOOKS)
    },
    Guest {
        parameter: INSTALLED,
        in_tests: NEWEST,
        ..debian("story", NEWEST)
    },
    Guest {
        parameter: INSTALLED,
        in_tests: NEWEST,
        part: "it_runs_with_what_it_needs",
        seconds: 1800,
        ..debian("service", HOOKS)
    },
];

/// Which suites are wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Those of `cargo xtask test`.
    Tests,
    /// All.
    Matrix,
    /// This one.
    Suite(&'a str),
    /// None: what `harden doctor` says is all.
    Doctor,
}

impl Wanted<'_> {
    fn has(self, guest: &Guest, kernel: &str) -> bool {
        let kernels = match self {
            Self::Tests => guest.in_tests,
            Self::Matrix => guest.kernels,
            Self::Suite(name) if name == guest.name => guest.kernels,
            Self::Suite(_) | Self::Doctor => &[],
        };
        kernels.contains(&kernel)
    }

    /// Which tests of a suite.
    fn part(self, guest: &Guest) -> &'static str {
        match self {
            Self::Tests => guest.part,
            Self::Matrix | Self::Doctor => guest.tests,
            Self::Suite(_) => "",
        }
    }

    /// Does `harden doctor` say what the kernel can do? It loads every hook alone, which takes long emulated.
    fn has_doctor(self) -> bool {
        matches!(self, Self::Matrix | Self::Doctor)
    }
}

/// Suites that one boot serves.
#[derive(Debug)]
pub struct Boot {
    /// What is booted.
    pub image: Image,
    /// What the kernel's command line has besides.
    pub parameter: &'static str,
    /// What runs there, and which of its tests: those whose names contain this.
    pub guests: Vec<(&'static Guest, &'static str)>,
    /// Whether `harden doctor` speaks first: once for each kernel.
    pub doctor: bool,
}

impl Boot {
    /// Whether the package comes along.
    pub fn is_installed(&self) -> bool {
        self.parameter == INSTALLED
    }
}

/// The boots that a kernel needs for what is wanted; with `harden doctor` in the first of all, if it is to speak.
pub fn boots(kernel: &str, wanted: Wanted) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    if wanted.has_doctor() {
        boots.push(Boot {
            image: Image::Small,
            parameter: "",
            guests: Vec::new(),
            doctor: true,
        });
    }
    for guest in GUESTS.iter().filter(|guest| wanted.has(guest, kernel)) {
        let guest = (guest, wanted.part(guest));
        let same = boots
            .iter_mut()
            .find(|boot| boot.image == guest.0.image && boot.parameter == guest.0.parameter);
        match same {
            Some(boot) => boot.guests.push(guest),
            None => boots.push(Boot {
                image: guest.0.image,
                parameter: guest.0.parameter,
                guests: vec![guest],
                doctor: false,
            }),
        }
    }
    boots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_of_one_image_share_a_boot() {
        for boot in boots("6.1", Wanted::Matrix) {
            for (guest, _) in boot.guests {
                assert_eq!(guest.image, boot.image);
                assert_eq!(guest.parameter, boot.parameter);
            }
        }
    }

    #[test]
    fn doctor_speaks_once_for_each_kernel_of_the_matrix() {
        let boots = boots("6.1", Wanted::Matrix);
        assert!(boots.len() > 1);
        let speaks = boots.iter().filter(|boot| boot.doctor);
        assert_eq!(speaks.count(), 1);
        let boots = super::boots("5.10", Wanted::Tests);
        assert!(boots.iter().all(|boot| !boot.doctor));
    }

    #[test]
    fn one_suite_alone() {
        let boots = boots("6.1", Wanted::Suite("paths"));
        assert_eq!(boots.len(), 1);
        assert_eq!(boots[0].guests.len(), 1);
        assert!(!boots[0].doctor);
    }

    #[test]
    fn doctor_takes_one_boot_and_no_suite() {
        let boots = boots("6.1", Wanted::Doctor);
        assert_eq!(boots.len(), 1);
        assert_eq!(boots[0].image, Image::Small);
        assert!(boots[0].guests.is_empty());
    }

    #[test]
    fn tests_boot_the_oldest_kernel_and_the_newest_alone() {
        for guest in GUESTS {
            assert!(guest.in_tests.iter().all(|kernel| ENDS.contains(kernel)));
            assert!(
                guest
                    .in_tests
                    .iter()
                    .all(|kernel| guest.kernels.contains(kernel))
            );
        }
        assert!(!boots("newest", Wanted::Tests).is_empty());
        assert!(boots("6.1", Wanted::Tests).is_empty());
    }
}
