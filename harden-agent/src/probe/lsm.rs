//! Which security modules are active.

use std::{fs, io};

/// `/sys/kernel/security/lsm` names the active modules, where securityfs is mounted.
const LIST: &str = "/sys/kernel/security/lsm";
/// `LSM_ID_BPF` (include/uapi/linux/lsm.h)
const LSM_ID_BPF: u64 = 109;
/// `__NR_lsm_list_modules` (6.8)
const LSM_LIST_MODULES: libc::c_long = 461;

/// Whether programs on LSM hooks are called. Where the module `bpf` is not active they load and
/// attach all the same, and never run (`kernel/bpf/bpf_lsm.c`): so this is asked before.
///
/// # Errors
/// Why not, or why it cannot be known.
pub(super) fn has_bpf() -> Result<(), String> {
    let active = match fs::read_to_string(LIST) {
        Ok(list) => list.trim().split(',').any(|module| module == "bpf"),
        Err(error) => list_modules()
            .map(|ids| ids.contains(&LSM_ID_BPF))
            .map_err(|_| {
                format!("whether the security module bpf is active cannot be known: {LIST}: {error}; mount securityfs there")
            })?,
    };
    if active {
        Ok(())
    } else {
        Err(
            "the security module bpf is not active: it is not in lsm= of the kernel command line, nor in the default of this kernel"
                .to_owned(),
        )
    }
}

fn list_modules() -> io::Result<Vec<u64>> {
    let mut ids = [0u64; 64];
    let mut size = u32::try_from(size_of_val(&ids)).unwrap_or(0);
    // SAFETY: both pointers are to our own variables, and `size` is that of `ids`.
    let count = unsafe { libc::syscall(LSM_LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    Ok(ids.into_iter().take(count).collect())
}
