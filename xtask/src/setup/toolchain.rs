//! The Rust toolchain that compiles the kernel programs, and the linker that goes with it.
//!
//! Kernel programs need `core` compiled for the bpfel target, so the source of the standard library,
//! and a linker that reads the bitcode of the very LLVM that the compiler has.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::needs;
use crate::{process, workspace};

/// A compiler with the source of its standard library, whose LLVM the linker can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler's directory, with `bin/rustc` and `bin/cargo`.
    pub sysroot: PathBuf,
    /// Its LLVM's major version.
    pub llvm: u32,
}

impl Toolchain {
    /// The first one on this machine that will do. The distribution's comes first: it stays what it
    /// is, while what rustup calls nightly is another compiler every day.
    pub fn find() -> Option<Self> {
        let mut sysroots = vec![PathBuf::from("/usr")];
        sysroots.extend(children(Path::new("/usr/lib"), "rust-"));
        sysroots.extend(
            rustup_home()
                .iter()
                .flat_map(|home| children(&home.join("toolchains"), "")),
        );
        sysroots.into_iter().find_map(Self::at)
    }

    fn at(sysroot: PathBuf) -> Option<Self> {
        let has = |file: &str| sysroot.join(file).is_file();
        if !has("bin/cargo") || !has("lib/rustlib/src/rust/library/core/Cargo.toml") {
            return None;
        }
        let text = process::output(Command::new(sysroot.join("bin/rustc")).arg("-vV")).ok()?;
        let (release, llvm) = parse_version(&text)?;
        let usable = release >= needs::OLDEST_RUST && needs::LLVM.contains(&llvm);
        usable.then_some(Self { sysroot, llvm })
    }

    /// This toolchain's cargo, set to compile the kernel programs.
    pub fn cargo(&self) -> Result<Command> {
        self.tool("cargo")
    }

    /// This toolchain's clippy for the kernel programs, if it has one.
    pub fn clippy(&self) -> Result<Option<Command>> {
        if !self.sysroot.join("bin/cargo-clippy").is_file() {
            return Ok(None);
        }
        let mut clippy = self.tool("cargo-clippy")?;
        // Through `cargo clippy` another toolchain's clippy could come first in the PATH.
        clippy
            .arg("clippy")
            .env("CARGO", self.sysroot.join("bin/cargo"));
        Ok(Some(clippy))
    }

    fn tool(&self, name: &str) -> Result<Command> {
        let mut cargo = Command::new(self.sysroot.join("bin").join(name));
        // What the outer cargo was told about its own build must not reach this one.
        for name in [
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
        ] {
            cargo.env_remove(name);
        }
        cargo
            .current_dir(workspace::ebpf())
            .env("RUSTC", self.sysroot.join("bin/rustc"))
            // -Zbuild-std on a compiler that is not a nightly.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", workspace::ebpf_target())
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker(self.llvm))
            .env("LD_LIBRARY_PATH", self.llvm_directory()?);
        Ok(cargo)
    }

    /// A directory with this compiler's libLLVM and no other: the linker loads the first libLLVM that
    /// it finds, and one of another release would misread the compiler's bitcode.
    fn llvm_directory(&self) -> Result<PathBuf> {
        let text = process::output(Command::new("ldd").arg(self.sysroot.join("bin/rustc")))?;
        let library = parse_ldd(&text).with_context(|| {
            format!(
                "the compiler in {} does not use a shared libLLVM",
                self.sysroot.display()
            )
        })?;
        let directory = workspace::tools().join(format!("llvm-{}", self.llvm));
        let link = directory.join("libLLVM.so");
        if fs::read_link(&link).ok().as_deref() != Some(library) {
            fs::create_dir_all(&directory)?;
            let _absent = fs::remove_file(&link);
            symlink(library, &link)
                .with_context(|| format!("could not create {}", link.display()))?;
        }
        Ok(directory)
    }
}

/// The directory that bpf-linker is installed to. Its name holds what it was built from, so that
/// being there is the whole check.
pub fn linker_root(llvm: u32) -> PathBuf {
    workspace::tools().join(format!("bpf-linker-{}-llvm-{llvm}", needs::BPF_LINKER))
}

/// bpf-linker for this LLVM.
pub fn linker(llvm: u32) -> PathBuf {
    linker_root(llvm).join("bin/bpf-linker")
}

/// The directory that cargo-deb is installed to, named as the linker's.
pub fn cargo_deb_root() -> PathBuf {
    workspace::tools().join(format!("cargo-deb-{}", needs::CARGO_DEB))
}

/// cargo-deb, which makes the package.
pub fn cargo_deb() -> PathBuf {
    cargo_deb_root().join("bin/cargo-deb")
}

/// The directory that shh is installed to, named as the linker's.
pub fn shh_root() -> PathBuf {
    workspace::tools().join(format!("shh-{}", needs::SHH))
}

/// shh, which the benchmark compares with.
pub fn shh() -> PathBuf {
    shh_root().join("bin/shh")
}

/// Where rustup keeps its toolchains, if there is a rustup.
fn rustup_home() -> Option<PathBuf> {
    let set = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    set.or_else(|| Some(env::home_dir()?.join(".rustup")))
}

/// The subdirectories whose names begin so, in order.
fn children(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Release (major, minor) and LLVM's major version, from `rustc -vV`.
fn parse_version(text: &str) -> Option<((u32, u32), u32)> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let mut release = value("release: ")?.split('.');
    let release = (release.next()?.parse().ok()?, release.next()?.parse().ok()?);
    let llvm = value("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some((release, llvm))
}

/// The file that a program's libLLVM is loaded from, from what `ldd` prints.
fn parse_ldd(text: &str) -> Option<&Path> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("libLLVM"))?;
    let (_name, file) = line.split_once("=> ")?;
    Some(Path::new(file.rsplit_once(" (")?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_a_nightly() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                    release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(parse_version(text), Some(((1, 97), 22)));
        assert_eq!(parse_version("release: 1.97.0\n"), None);
    }

    #[test]
    fn library_behind_a_private_search_path() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibrustc_driver-b5.so => /t/lib/librustc_driver-b5.so (0x2)\n\
                    \tlibLLVM.so.22.1-rust-1.97.0 => /t/my lib/libLLVM.so.22.1-rust-1.97.0 (0x3)\n";
        let expected = Path::new("/t/my lib/libLLVM.so.22.1-rust-1.97.0");
        assert_eq!(parse_ldd(text), Some(expected));
        assert_eq!(parse_ldd("\tlibLLVM.so.22.1 => not found\n"), None);
    }
}
