//! Which suites run in which image.

/// What is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Image {
    /// A few programs in memory: boots in seconds.
    Small,
    /// Debian, with systemd as the first process.
    Debian,
}

/// A test target of the package `harden-tests`, in one image.
#[derive(Debug)]
pub struct Suite {
    /// The test target.
    pub name: &'static str,
    /// Where it runs.
    pub image: Image,
    /// What the kernel's command line has for it; suites with the same share a boot.
    pub parameter: &'static str,
    /// The kernels that it runs on; all, where none is named.
    pub kernels: &'static [&'static str],
    /// After so many seconds it hangs.
    pub seconds: u64,
    /// The fraction of its work that it does there: what is a million natively takes too long emulated.
    pub scale: &'static str,
    /// It runs only where it is asked for by its name: emulated it takes a quarter of an hour and more.
    pub by_name: bool,
}

/// Where hooks differ. What 6.12 has, one of these has too; there the agent's choice among hooks is tested (`tiers`), and
/// daemons are.
const HOOKS: &[&str] = &["5.10", "6.1", "newest"];

const fn small(name: &'static str) -> Suite {
    Suite {
        name,
        image: Image::Small,
        parameter: "",
        kernels: HOOKS,
        seconds: 900,
        scale: "1",
        by_name: false,
    }
}

const fn debian(name: &'static str) -> Suite {
    Suite {
        image: Image::Debian,
        kernels: &[],
        ..small(name)
    }
}

/// No suite: boots the small image and keeps what `harden doctor` says.
pub const DOCTOR: &str = "doctor";

/// The agent differs where the kernel side does: the oldest, which has no task storage, and the first long-term one
/// that is whole.
const AGENT: &[&str] = &["5.10", "6.1"];

/// The parameter of the kernel with which the package is installed before systemd starts: `guest/init`.
pub const INSTALLED: &str = "harden.installed";

/// All of them, in the order in which they run.
pub const SUITES: &[Suite] = &[
    small("paths"),
    small("path_calls"),
    small("files"),
    small("exec"),
    small("namespaces"),
    small("capabilities"),
    small("cgroups"),
    Suite {
        by_name: true,
        ..small("pinning")
    },
    Suite {
        kernels: AGENT,
        scale: "0.2",
        seconds: 1800,
        by_name: true,
        ..small("survival")
    },
    small("io_uring"),
    // The oldest has tables of its own, the newest skips programs, which `preemption` counts; else it takes minutes and
    // differs in nothing.
    Suite {
        kernels: &["5.10"],
        scale: "0.02",
        ..small("losses")
    },
    Suite {
        kernels: &["newest"],
        scale: "0.02",
        by_name: true,
        ..small("losses")
    },
    // Minutes emulated; the hooks on calls and on tasks are the same on those between.
    Suite {
        kernels: &["5.10", "newest"],
        ..small("syscalls")
    },
    // Where a kernel knows it, it seldom stops a program then; otherwise it is taken for the default.
    Suite {
        parameter: "preempt=lazy",
        kernels: &["6.1", "6.12", "newest"],
        ..small("tiers")
    },
    Suite {
        parameter: "preempt=full",
        kernels: &["6.12", "newest"],
        scale: "0.05",
        ..small("preemption")
    },
    debian("pipeline"),
    // One of the two on each kernel but the newest: minutes emulated, and kernels differ little in what they do.
    Suite {
        kernels: &["5.10"],
        ..debian("nginx")
    },
    Suite {
        kernels: &["6.1", "6.12"],
        ..debian("redis")
    },
    // The same: what a filter has to allow is the filter's, not the kernel's.
    Suite {
        kernels: &["newest"],
        ..debian("secondary_calls")
    },
    Suite {
        kernels: &["newest"],
        ..debian("nothing_stays_behind")
    },
    // What it asks, it asks systemd.
    Suite {
        kernels: &["6.12"],
        ..debian("units")
    },
    Suite {
        by_name: true,
        ..debian("systemd")
    },
    // Ten minutes emulated. On the oldest kernel always, on the other when it is asked for.
    Suite {
        kernels: &["5.10"],
        seconds: 1800,
        scale: "0.05",
        ..debian("agent")
    },
    Suite {
        kernels: &["6.1"],
        seconds: 1800,
        scale: "0.05",
        by_name: true,
        ..debian("agent")
    },
    Suite {
        kernels: AGENT,
        by_name: true,
        ..debian("agent_faults")
    },
    Suite {
        kernels: &["6.1"],
        ..debian("agent_roles")
    },
    Suite {
        kernels: &["5.10"],
        by_name: true,
        ..debian("agent_roles")
    },
    Suite {
        kernels: &["6.1"],
        seconds: 1200,
        by_name: true,
        ..debian("drop_in")
    },
    // What needs the unified control groups, which a container may lack.
    Suite {
        kernels: &["6.1"],
        by_name: true,
        ..debian("directives")
    },
    // The same boot for both, and in this order: what was there from the start is looked at first.
    Suite {
        parameter: INSTALLED,
        kernels: AGENT,
        ..debian("boot")
    },
    Suite {
        parameter: INSTALLED,
        kernels: AGENT,
        seconds: 1800,
        by_name: true,
        ..debian("service")
    },
];

/// Suites that one boot serves.
#[derive(Debug)]
pub struct Boot {
    /// What is booted.
    pub image: Image,
    /// What the kernel's command line has besides.
    pub parameter: &'static str,
    /// What runs there.
    pub suites: Vec<&'static Suite>,
    /// Whether `harden doctor` says first what the kernel can do: it loads every hook alone, which takes a
    /// while emulated, so once for each kernel, and not where one suite is wanted.
    pub doctor: bool,
}

impl Boot {
    /// Whether the package comes along.
    pub fn is_installed(&self) -> bool {
        self.parameter == INSTALLED
    }
}

/// The boots that a kernel needs, for all suites or for one; with `harden doctor` in the first of all, if wanted.
pub fn boots(kernel: &str, only: Option<&str>, doctor: bool) -> Vec<Boot> {
    if only == Some(DOCTOR) {
        return vec![Boot {
            image: Image::Small,
            parameter: "",
            suites: Vec::new(),
            doctor: true,
        }];
    }
    let mut boots: Vec<Boot> = Vec::new();
    let wanted = SUITES
        .iter()
        .filter(|suite| suite.kernels.is_empty() || suite.kernels.contains(&kernel))
        .filter(|suite| only.map_or(!suite.by_name, |name| name == suite.name));
    for suite in wanted {
        let same = boots
            .iter_mut()
            .find(|boot| boot.image == suite.image && boot.parameter == suite.parameter);
        match same {
            Some(boot) => boot.suites.push(suite),
            None => boots.push(Boot {
                image: suite.image,
                parameter: suite.parameter,
                suites: vec![suite],
                doctor: doctor && only.is_none() && boots.is_empty(),
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
        for boot in boots("6.1", None, true) {
            for suite in boot.suites {
                assert_eq!(suite.image, boot.image);
                assert_eq!(suite.parameter, boot.parameter);
            }
        }
    }

    #[test]
    fn doctor_speaks_once_for_each_kernel() {
        let boots = boots("6.1", None, true);
        assert!(boots.len() > 1);
        let speaks = boots.iter().filter(|boot| boot.doctor);
        assert_eq!(speaks.count(), 1);
        let boots = super::boots("6.1", None, false);
        assert!(boots.iter().all(|boot| !boot.doctor));
    }

    #[test]
    fn one_suite_alone() {
        let boots = boots("6.1", Some("paths"), true);
        assert_eq!(boots.len(), 1);
        assert_eq!(boots[0].suites.len(), 1);
        assert!(!boots[0].doctor);
    }

    #[test]
    fn doctor_takes_one_boot_and_no_suite() {
        let boots = boots("6.1", Some(DOCTOR), true);
        assert_eq!(boots.len(), 1);
        assert_eq!(boots[0].image, Image::Small);
        assert!(boots[0].suites.is_empty());
    }
}
