//! What has to be known of the running kernel before anything is loaded.

use std::{path::Path, thread};

use aya::Btf as AyaBtf;

use super::{btf::Btf, error::ProbeError, kallsyms, offsets};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel.
pub(super) struct Running {
    /// Its types, as the loader reads them.
    pub btf: AyaBtf,
    /// Where members of its structures are.
    pub offsets: Vec<(&'static str, u32)>,
    /// Where the functions are that only ask for a capability.
    pub noaudit_callers: [[u64; 2]; kallsyms::FUNCTIONS],
}

impl Running {
    /// Reads all of it, side by side: each is megabytes of text or types.
    ///
    /// # Errors
    /// [`ProbeError`] if there is no type information, or a structure lacks a member.
    pub(super) fn read() -> Result<Self, ProbeError> {
        let (callers, btf, offsets) = thread::scope(|scope| {
            let callers = scope.spawn(kallsyms::noaudit_callers);
            let btf = scope.spawn(AyaBtf::from_sys_fs);
            let offsets = Btf::read(Path::new(VMLINUX))
                .map_err(ProbeError::from)
                .and_then(|btf| Ok(offsets::resolve(&btf)?));
            (callers.join(), btf.join(), offsets)
        });
        let offsets = offsets?;
        let btf = btf
            .map_err(|_| ProbeError::Load(anyhow::anyhow!("the reader of BTF panicked")))?
            .map_err(|error| ProbeError::Load(error.into()))?;
        Ok(Self {
            btf,
            offsets,
            noaudit_callers: callers.unwrap_or_default(),
        })
    }
}
