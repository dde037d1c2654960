//! Puts the kernel objects where `include_bytes_aligned!` finds them. They are built beforehand, by
//! another toolchain: `cargo xtask build`.

use std::{env, fs, path::PathBuf};

const VARIABLE: &str = "HARDEN_EBPF_OBJECTS";
const OBJECTS: [&str; 2] = ["harden.bpf.o", "harden-hash.bpf.o"];

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let Some(from) = env::var_os(VARIABLE).map(PathBuf::from) else {
        return fail(&format!("{VARIABLE} is not set"));
    };
    let Some(to) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return fail("OUT_DIR is not set: this is cargo's to run");
    };
    for name in OBJECTS {
        println!("cargo::rerun-if-changed={}", from.join(name).display());
    }
    for name in OBJECTS {
        let object = from.join(name);
        if let Err(error) = fs::copy(&object, to.join(name)) {
            return fail(&format!("cannot use {}: {error}", object.display()));
        }
    }
}

fn fail(what: &str) {
    println!(
        "cargo::error=the kernel programs are missing ({what}). Run `cargo xtask build` once, or set \
         {VARIABLE} to a directory that has {}",
        OBJECTS.join(" and ")
    );
}
