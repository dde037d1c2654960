//! Where the members of the running kernel's structures are that the kernel programs read: `kernel_offsets!` lists them.

use super::btf::Btf;

/// (constant, structure, member), one for each of the list.
macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $structure:literal $member:literal;)*) => {
        &[$((stringify!($name), $structure, $member)),*]
    };
}

const OFFSETS: &[(&str, &str, &str)] = harden_common::kernel_offsets!(table);

/// The running kernel lacks a structure member that the kernel programs read.
#[derive(Debug, thiserror::Error)]
#[error("this kernel has no {structure}.{member}: it is older than 5.10 or newer than this harden")]
pub struct MissingMember {
    structure: &'static str,
    member: &'static str,
}

/// Every constant with its value for the kernel of `btf`.
///
/// # Errors
/// [`MissingMember`] for the first member that is not there.
pub(super) fn resolve(btf: &Btf) -> Result<Vec<(&'static str, u32)>, MissingMember> {
    OFFSETS
        .iter()
        .map(|&(name, structure, member)| {
            let offset = btf
                .offset(structure, member)
                .ok_or(MissingMember { structure, member })?;
            Ok((name, offset))
        })
        .collect()
}
