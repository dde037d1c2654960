//! What was sent before is not sent again.

use harden_common::{FactEvent, Loss, kind};

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};

use crate::{
    emit::{self, header},
    inode,
    loss::lost_of,
    place::{Directory, Place},
    scratch::Scratch,
};

/// Paths, sockets and addresses already sent, by slot. An entry that falls out is sent again.
#[btf_map]
static ONCE: LruHashMap<OnceKey, u8, 65536> = LruHashMap::new();

/// What makes a path, socket or address the same as one already sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OnceKey {
    /// Slot: so that a new run, or the next owner of the record, sends everything again.
    pub slot: u32,
    /// Event kind << 16 | operation.
    pub what: u32,
    /// Open flags or access mode.
    pub argument: u32,
    /// Errno.
    pub errno: u32,
    /// Dentry of the target, or 0.
    pub target: u64,
    /// Dentry of the directory that a relative text starts from, or 0.
    pub directory: u64,
    /// Mount of the target, or of that directory.
    pub mount: u64,
    /// Hash of the text.
    pub text: u64,
}

/// The key of the event that `scratch` is being filled with.
#[inline(always)]
pub fn key_of(scratch: *mut Scratch, target: Place, directory: Directory) -> OnceKey {
    // SAFETY: the scratch is the caller's own.
    let (event, hash) = unsafe { (&(*scratch).event, (*scratch).hash) };
    OnceKey {
        slot: event.header.slot,
        what: event.header.kind << 16 | event.operation,
        argument: event.argument,
        errno: event.errno,
        target: inode::fingerprint(target.dentry),
        directory: directory.fingerprint,
        mount: target.vfsmount ^ directory.place.vfsmount.rotate_left(1),
        // What takes a capability is sent once more: so it is known of each object that it took one.
        text: hash ^ u64::from(event.capabilities) << 32,
    }
}

/// Whether `key` was sent before.
#[inline(always)]
pub fn is_known(key: &OnceKey) -> bool {
    ONCE.get_ptr(key).is_some()
}

/// Remembers that `key` was sent. An LRU map always makes room, but may be contended: then it is
/// sent again.
#[inline(always)]
pub fn remember(key: &OnceKey) {
    let _ = ONCE.insert(key, 1, 0);
}

/// Sends, once for each call, a fact in which a call has a part.
#[inline(always)]
pub fn emit_fact(slot: u32, fact: u32, call: u32, loss: Loss) {
    let key = OnceKey {
        slot,
        what: kind::FACT << 16,
        argument: fact,
        errno: call,
        target: 0,
        directory: 0,
        mount: 0,
        text: 0,
    };
    if is_known(&key) {
        return;
    }
    let event = FactEvent {
        header: header(kind::FACT, slot),
        fact,
        call: call + 1,
    };
    match emit::send(&event) {
        Ok(()) => remember(&key),
        Err(()) => lost_of(slot, loss),
    }
}
