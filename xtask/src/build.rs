//! `cargo xtask build`: the kernel programs, then the program `harden` with them inside.

mod strip;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    process, programs,
    setup::{self, Scope, Toolchain},
    vm,
    workspace::{self, Profile},
};

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub struct Args {
    /// Build `harden` without optimisation; the kernel programs are always optimised
    #[arg(long)]
    debug: bool,
    /// Also build the small programs that the end-to-end suites run, and make the system that they boot
    #[arg(long)]
    tests: bool,
}

/// The kernel objects: file and the features it is built with. Kernels without task storage refuse an
/// object that has such a map, so they have one of their own.
const OBJECTS: [(&str, &[&str]); 2] = [
    ("harden.bpf.o", &[]),
    ("harden-hash.bpf.o", &["--features", "task-hash"]),
];

/// `cargo xtask build`
pub fn main(args: &Args) -> Result<()> {
    let scope = if args.tests {
        Scope::Tests
    } else {
        Scope::Build
    };
    let profile = if args.debug {
        Profile::Dev
    } else {
        Profile::Release
    };
    let harden = build(&setup::provide(scope)?, profile)?;
    if args.tests {
        programs::build()?;
        vm::image()?;
    }
    println!("built {}", harden.display());
    Ok(())
}

/// Builds the kernel programs and `harden`, and says where it is.
pub fn build(toolchain: &Toolchain, profile: Profile) -> Result<PathBuf> {
    kernel_programs(toolchain)?;
    let mut cargo = process::cargo();
    cargo.arg("build");
    match profile {
        // Tests are built for the workspace: cargo gives a dependency the features that all packages in question want,
        // and would build it again for one package alone.
        Profile::Dev => cargo.args(["--workspace", "--bin", "harden"]),
        Profile::Release => cargo.args(["--package", "harden-agent", "--release"]),
    };
    process::run(&mut cargo)?;
    Ok(workspace::harden(profile))
}

/// Builds all that tests are made of. The kernel programs have to be there.
pub fn everything() -> Result<()> {
    let mut cargo = process::cargo();
    process::run(cargo.args(["test", "--workspace", "--no-run"]))
}

/// Builds the kernel programs.
pub fn kernel_programs(toolchain: &Toolchain) -> Result<()> {
    build_objects(toolchain).context("could not build the kernel programs")
}

fn build_objects(toolchain: &Toolchain) -> Result<()> {
    let built = workspace::ebpf_target().join("bpfel-unknown-none/release/harden");
    for (name, features) in OBJECTS {
        let mut cargo = toolchain.cargo()?;
        process::run(
            cargo
                .args(["build", "--release", "--locked"])
                .args(features),
        )?;
        let object =
            fs::read(&built).with_context(|| format!("could not read {}", built.display()))?;
        write_if_different(
            &strip::without_debugging(&object)?,
            &workspace::objects().join(name),
        )?;
    }
    Ok(())
}

/// Leaves an equal file alone: a new time stamp would make cargo build the agent again.
fn write_if_different(new: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(to, new).with_context(|| format!("could not write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_file_keeps_its_time() -> Result<()> {
        let directory = std::env::temp_dir().join(format!("xtask-build-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let to = directory.join("new/to");

        write_if_different(b"one", &to)?;
        let first = fs::metadata(&to)?.modified()?;
        write_if_different(b"one", &to)?;
        assert_eq!(fs::metadata(&to)?.modified()?, first);

        write_if_different(b"two", &to)?;
        assert_eq!(fs::read_to_string(&to)?, "two");
        fs::remove_dir_all(&directory)?;
        Ok(())
    }
}
