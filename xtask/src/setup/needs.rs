//! What has to be on the machine, as data.

/// The release of bpf-linker that the kernel programs are built with.
pub const BPF_LINKER: &str = "0.10.3";
/// The release of cargo-deb that the package is made with.
pub const CARGO_DEB: &str = "3.8.0";
/// The LLVM releases whose bitcode that bpf-linker can be built to read.
pub const LLVM: std::ops::RangeInclusive<u32> = 20..=22;
/// The oldest Rust that compiles the kernel programs' dependencies.
pub const OLDEST_RUST: (u32, u32) = (1, 87);
/// The toolchain that rustup is asked for: fixed, because a nightly moves on to LLVM releases that
/// bpf-linker cannot read yet.
pub const RUSTUP_TOOLCHAIN: &str = "1.95.0";

/// Something that `setup` can be asked to provide beyond the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only what the build needs.
    Build,
    /// What the build needs and what makes the package.
    Package,
    /// What the build needs and what the demonstration runs.
    Demo,
    /// All of it, and what the tests run, the virtual machines among it.
    Tests,
}

impl Scope {
    /// Is a package made?
    pub fn packages(self) -> bool {
        match self {
            Self::Build | Self::Demo => false,
            Self::Package | Self::Tests => true,
        }
    }
}

/// A program that tests or the demonstration run.
#[derive(Debug)]
pub struct Need {
    /// The Debian packages that provide it, best first.
    pub packages: &'static [&'static str],
    /// How to tell on other distributions that it is there; empty where one cannot.
    pub program: &'static str,
    /// What it is for.
    pub why: &'static str,
    demo: bool,
}

impl Need {
    /// Is it needed for this?
    pub fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Build | Scope::Package => false,
            Scope::Demo => self.demo,
            Scope::Tests => true,
        }
    }
}

const fn need(
    packages: &'static [&'static str],
    program: &'static str,
    why: &'static str,
    demo: bool,
) -> Need {
    Need {
        packages,
        program,
        why,
        demo,
    }
}

/// Everything that tests run, the demonstration's programs among it.
pub const PROGRAMS: &[Need] = &[
    need(
        &["firejail"],
        "firejail",
        "runs programs under the written profiles",
        true,
    ),
    need(&["python3"], "python3", "a program to record", true),
    need(
        &["busybox-static"],
        "busybox",
        "a statically linked program to record",
        false,
    ),
    need(
        &["curl"],
        "curl",
        "a client for the recorded servers",
        false,
    ),
    need(&["gcc"], "gcc", "compiles test programs", false),
    #[cfg(target_arch = "x86_64")]
    need(
        &["gcc-multilib"],
        "",
        "compiles 32-bit and x32 test programs",
        false,
    ),
    need(&["make"], "make", "a program to record", false),
    need(
        &["nginx-light", "nginx"],
        "nginx",
        "a daemon to record",
        false,
    ),
    need(
        &["libnginx-mod-http-perl"],
        "",
        "has a daemon make calls that the kernel does not have",
        false,
    ),
    need(
        &["redis-server"],
        "redis-server",
        "a daemon to record",
        false,
    ),
    need(
        &["redis-tools"],
        "redis-cli",
        "a client for the recorded redis",
        false,
    ),
    need(
        &["libcap2-bin"],
        "setcap",
        "gives a program file capabilities",
        false,
    ),
    need(
        &["runc"],
        "runc",
        "runs containers under the written lists of calls",
        false,
    ),
    need(
        &["strace"],
        "strace",
        "an independent witness of the calls made",
        false,
    ),
    need(&["valgrind"], "valgrind", "counts instructions", false),
    need(
        &["mmdebstrap"],
        "mmdebstrap",
        "makes the root file system of virtual machines and containers",
        false,
    ),
    need(
        &["systemd-container"],
        "systemd-nspawn",
        "boots a systemd for the suites that need one",
        false,
    ),
    need(
        &["debian-archive-keyring"],
        "",
        "checks what the virtual machines are made of",
        false,
    ),
    need(&["xz-utils"], "xz", "unpacks kernel modules", false),
];
