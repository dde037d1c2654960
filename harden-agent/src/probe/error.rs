//! Why the kernel side cannot be used.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError};

use super::{btf::BtfError, offsets::MissingMember};

/// Why nothing can be observed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No privilege for BPF.
    #[error(
        "the kernel does not let this process load BPF programs ({0}); run it as root, or with the capabilities CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN; in a container, from the host"
    )]
    Privilege(io::Error),
    /// No type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A structure differs.
    #[error(transparent)]
    Member(#[from] MissingMember),
    /// The object or a map was refused.
    #[error("the kernel programs cannot be loaded: {0:#}")]
    Load(anyhow::Error),
    /// The hook that everything stands on was refused.
    #[error("system calls cannot be observed on this kernel: {0}")]
    NoSyscalls(String),
    /// A tier that was asked for was refused.
    #[error("the kernel refuses {0}, which --tier asks for: {1}")]
    Forced(String, String),
    /// Nothing can be pinned in a directory that is no BPF file system's.
    #[error(
        "{0} is not on a BPF file system, which alone keeps a recording in the kernel going without its process: mount one (mount -t bpf bpf /sys/fs/bpf) and name a directory there that can be written to"
    )]
    NotBpffs(PathBuf),
    /// What is pinned cannot be used.
    #[error("{0}: {1:#}")]
    Pins(PathBuf, anyhow::Error),
    /// A map operation failed; the cause says how.
    #[error("a BPF map cannot be used")]
    Map(#[from] MapError),
    /// A system call of the set-up failed.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// The object has no map or program of this name.
pub(super) fn missing(name: &'static str) -> ProbeError {
    ProbeError::Load(anyhow::anyhow!("the object has no {name}"))
}

/// Tells missing privilege from everything else.
pub(super) fn refused(error: EbpfError) -> ProbeError {
    let error = anyhow::Error::from(error);
    match denied(&error) {
        Some(cause) => ProbeError::Privilege(cause),
        None => ProbeError::Load(error),
    }
}

/// The refusal for want of privilege that is behind `error`, if there is one.
pub(super) fn denied(error: &anyhow::Error) -> Option<io::Error> {
    error.chain().find_map(|cause| {
        let cause = cause.downcast_ref::<io::Error>()?;
        matches!(cause.raw_os_error(), Some(libc::EPERM | libc::EACCES))
            .then(|| io::Error::from(cause.kind()))
    })
}
