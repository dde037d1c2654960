//! What has to be on the machine, as data.

/// The release of bpf-linker that the kernel programs are built with.
pub const BPF_LINKER: &str = "0.10.3";
/// The release of cargo-deb that the package is made with.
pub const CARGO_DEB: &str = "3.8.0";
/// The release of shh, which the benchmark compares with.
pub const SHH: &str = "2026.3.8";
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
    /// What the build needs, and the programs and tools that the benchmark runs.
    Bench,
}

impl Scope {
    /// Is a package made?
    pub fn packages(self) -> bool {
        match self {
            Self::Build | Self::Demo | Self::Bench => false,
            Self::Package | Self::Tests => true,
        }
    }
}

/// A program that tests, the demonstration or the benchmark run.
#[derive(Debug)]
pub struct Need {
    /// The Debian packages that provide it, best first.
    pub packages: &'static [&'static str],
    /// How to tell on other distributions that it is there; empty where one cannot.
    pub program: &'static str,
    /// What it is for.
    pub why: &'static str,
    scopes: &'static [Scope],
}

impl Need {
    /// Is it needed for this?
    pub fn is_in(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

const fn need(
    packages: &'static [&'static str],
    program: &'static str,
    why: &'static str,
    scopes: &'static [Scope],
) -> Need {
    Need {
        packages,
        program,
        why,
        scopes,
    }
}

const TESTS: &[Scope] = &[Scope::Tests];
const DEMO_AND_TESTS: &[Scope] = &[Scope::Demo, Scope::Tests];
const TESTS_AND_BENCH: &[Scope] = &[Scope::Tests, Scope::Bench];
const BENCH: &[Scope] = &[Scope::Bench];

/// Everything that tests, the demonstration and the benchmark run.
pub const PROGRAMS: &[Need] = &[
    need(
        &["firejail"],
        "firejail",
        "runs programs under the written profiles",
        DEMO_AND_TESTS,
    ),
    need(
        &["python3"],
        "python3",
        "a program to record",
        DEMO_AND_TESTS,
    ),
    need(
        &["busybox-static"],
        "busybox",
        "a statically linked program to record",
        TESTS,
    ),
    need(
        &["curl"],
        "curl",
        "a client for the recorded servers",
        TESTS,
    ),
    need(&["gcc"], "gcc", "compiles test programs", TESTS_AND_BENCH),
    #[cfg(target_arch = "x86_64")]
    need(
        &["gcc-multilib"],
        "",
        "compiles 32-bit and x32 test programs",
        TESTS_AND_BENCH,
    ),
    need(&["g++"], "g++", "compiles libFuzzer", TESTS),
    need(&["make"], "make", "a program to record", TESTS),
    need(
        &["nginx-light", "nginx"],
        "nginx",
        "a daemon to record",
        TESTS_AND_BENCH,
    ),
    need(
        &["libnginx-mod-http-perl"],
        "",
        "has a daemon make calls that the kernel does not have",
        TESTS,
    ),
    need(
        &["redis-server"],
        "redis-server",
        "a daemon to record",
        TESTS_AND_BENCH,
    ),
    need(
        &["redis-tools"],
        "redis-cli",
        "a client for the recorded redis",
        TESTS_AND_BENCH,
    ),
    need(
        &["libcap2-bin"],
        "setcap",
        "gives a program file capabilities",
        TESTS,
    ),
    need(
        &["runc"],
        "runc",
        "runs containers under the written lists of calls",
        TESTS,
    ),
    need(
        &["strace"],
        "strace",
        "an independent witness of the calls made",
        TESTS_AND_BENCH,
    ),
    need(&["valgrind"], "valgrind", "counts instructions", TESTS),
    need(
        &["mmdebstrap"],
        "mmdebstrap",
        "makes the root file system of virtual machines and containers",
        TESTS,
    ),
    need(
        &["systemd-container"],
        "systemd-nspawn",
        "boots a systemd for the suites that need one",
        TESTS,
    ),
    need(
        &["debian-archive-keyring"],
        "",
        "checks what the virtual machines are made of",
        TESTS,
    ),
    need(&["xz-utils"], "xz", "unpacks kernel modules", TESTS),
    need(&["wrk"], "wrk", "loads nginx", BENCH),
    need(&["linux-perf"], "perf", "a tool to compare with", BENCH),
    need(&["bpftrace"], "bpftrace", "a tool to compare with", BENCH),
];
