//! Where things are: the one place that knows the paths of the checkout.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The root of the checkout.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// What xtask itself makes lives here, wherever cargo is told to put its own output.
fn output() -> PathBuf {
    root().join("target")
}

/// The kernel objects, where the build script of harden-agent finds them.
pub fn objects() -> PathBuf {
    output().join("bpf")
}

/// Cargo's directory for the kernel programs.
pub fn ebpf_target() -> PathBuf {
    output().join("bpf-build")
}

/// Tools that are installed for this checkout only.
pub fn tools() -> PathBuf {
    output().join("tools")
}

/// What the demonstration leaves behind.
pub fn demo() -> PathBuf {
    output().join("demo")
}

/// Cargo's directory for what libFuzzer runs, and what that finds.
pub fn fuzz() -> PathBuf {
    output().join("fuzz")
}

/// The programs that the tests run, built from `tests/programs`.
pub fn test_programs() -> PathBuf {
    output().join("test-programs")
}

/// The package, and what goes into it beside the program.
pub fn package() -> PathBuf {
    output().join("package")
}

/// Kernels, images and results of the virtual machines.
pub fn vm() -> PathBuf {
    output().join("vm")
}

/// The table that the daemons came to, for the documentation.
pub fn daemons() -> PathBuf {
    output().join("daemons.md")
}

/// The figures that the benchmark came to, for the documentation.
pub fn performance() -> PathBuf {
    output().join("performance.md")
}

/// Where tests that cannot run leave their names and reasons.
pub fn skipped() -> PathBuf {
    output().join("skipped-tests")
}

/// The package of the kernel programs, a workspace of its own.
pub fn ebpf() -> PathBuf {
    root().join("harden-ebpf")
}

/// Where each part of the tests leaves what it printed.
pub fn test_logs() -> PathBuf {
    output().join("test-logs")
}

/// How long each part of the tests took when it ran last.
pub fn test_times() -> PathBuf {
    output().join("test-times.json")
}

/// How `harden` is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quickly: for tests and the demonstration.
    Dev,
    /// For use.
    Release,
}

/// The program that a build leaves behind.
pub fn harden(profile: Profile) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(output, |dir| root().join(dir));
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    target.join(directory).join("harden")
}
