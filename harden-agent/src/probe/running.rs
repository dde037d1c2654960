//! What has to be known of the running kernel before anything is loaded.

use std::{path::Path, thread};

use aya::{Btf as AyaBtf, EbpfLoader};

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
    /// Reads all of it, side by side: each is megabytes of text or types. A loader is made beside that, as aya's reads the types
    /// too, whether it is given them or not.
    ///
    /// # Errors
    /// [`ProbeError`] if there is no type information, or a structure lacks a member.
    pub(super) fn read() -> Result<(Self, EbpfLoader<'static>), ProbeError> {
        let (callers, loader, btf, offsets) = thread::scope(|scope| {
            let callers = scope.spawn(kallsyms::noaudit_callers);
            let loader = scope.spawn(EbpfLoader::new);
            let btf = scope.spawn(AyaBtf::from_sys_fs);
            let offsets = Btf::read(Path::new(VMLINUX))
                .map_err(ProbeError::from)
                .and_then(|btf| Ok(offsets::resolve(&btf)?));
            (callers.join(), loader.join(), btf.join(), offsets)
        });
        let panicked = |_| ProbeError::Load(anyhow::anyhow!("the reader of BTF panicked"));
        let offsets = offsets?;
        let btf = btf
            .map_err(panicked)?
            .map_err(|error| ProbeError::Load(error.into()))?;
        let this = Self {
            btf,
            offsets,
            noaudit_callers: callers.unwrap_or_default(),
        };
        Ok((this, loader.map_err(panicked)?))
    }
}
