//! Whether the addresses of the kernel's functions can be read.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
};

/// A hook on checks of capabilities that does not show their options: the calling functions tell which of them is only a
/// question, and `probe` reads their addresses when it loads.
const WITHOUT_OPTIONS: &str = "tp_btf:cap_capable";

/// What it means for the capabilities that are recorded by these `hooks` that the addresses cannot be read; `None` if they
/// can, or are not needed.
pub(crate) fn missing(hooks: &BTreeMap<String, String>) -> Option<&'static str> {
    let hook = hooks.get("capabilities")?;
    let is_blind = hook == WITHOUT_OPTIONS && !is_readable();
    is_blind.then_some(
        "/proc/kallsyms shows no addresses here, and no other hook of this kernel shows which checks of capabilities are only \
         questions: what runs as root will seem to need CAP_SYS_ADMIN. Reading them takes CAP_SYSLOG, and a unit without \
         ProtectKernelTunables=",
    )
}

/// Where they are hidden, all of them are zero (`kallsyms_show_value`, `kernel/ksyms_common.c`), or the file is empty.
fn is_readable() -> bool {
    let mut line = String::new();
    let read = File::open("/proc/kallsyms").map(BufReader::new);
    let read = read.and_then(|mut file| file.read_line(&mut line));
    let address = line.split(' ').next().unwrap_or_default();
    read.is_ok() && address.bytes().any(|digit| digit != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hook_without_options_needs_them() {
        let of = |hook: &str| {
            missing(&BTreeMap::from([(
                "capabilities".to_owned(),
                hook.to_owned(),
            )]))
        };
        assert_eq!(of("lsm:capable"), None);
        assert_eq!(of(WITHOUT_OPTIONS).is_none(), is_readable());
        assert_eq!(missing(&BTreeMap::new()), None);
    }
}
