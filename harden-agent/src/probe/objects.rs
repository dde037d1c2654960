//! The kernel programs, as they were built: two objects, one of which every supported kernel takes.

use aya::include_bytes_aligned;

/// With task storage.
pub(super) static STORAGE_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("OUT_DIR"), "/harden.bpf.o"));
/// With a hash of tasks, for kernels without task storage for tracing programs (before 5.13).
pub(super) static HASH_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("OUT_DIR"), "/harden-hash.bpf.o"));
