//! What the machine has to have.

use std::{env, path::Path, process::Command};

use crate::skip;

/// Can `test` run here: as root, with a Firejail that confines, and with these programs? If not, it
/// counts as skipped, and has to return.
#[must_use]
pub fn met(test: &str, programs: &[&str]) -> bool {
    if let Some(reason) = missing(programs) {
        skip(test, &reason);
        return false;
    }
    true
}

fn missing(programs: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("the kernel has no BTF".to_owned());
    }
    if let Some(program) = programs.iter().find(|program| !exists(program)) {
        return Some(format!("{program} is not installed"));
    }
    match Command::new("firejail")
        .args(["--quiet", "--noprofile", "/bin/true"])
        .output()
    {
        Err(error) => Some(format!("Firejail cannot be run: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "Firejail cannot make a sandbox: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

fn exists(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_or_by_path() {
        assert!(exists("sh"));
        assert!(exists("/bin/sh"));
        assert!(!exists("no-such-program"));
    }
}
