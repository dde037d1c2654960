//! Files, by their inodes.

use harden_common::{ExecutableId, InodeRecord};

use crate::{
    kernel::{self as k, Address},
    task_state::{Structure, follow, member},
};

/// The inode behind `dentry`, 0 for none.
#[inline(always)]
pub fn of(dentry: Address) -> Address {
    k::pointer(dentry, &k::DENTRY_INODE).unwrap_or(0)
}

/// What tells the file at `dentry`, under its present name, from others: its address alone does not,
/// as the next directory may be given the memory of one that was removed, and a rename leaves a file
/// its dentry.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fingerprint(dentry: Address) -> u64 {
    if dentry == 0 {
        return 0;
    }
    let members = [&k::DENTRY_INODE, &k::DENTRY_PARENT, &k::DENTRY_NAME_HASH];
    let [inode, parent, name] = k::read_all(dentry, members);
    mix(&Dentry {
        address: dentry,
        number: k::read(inode, &k::INODE_INO).unwrap_or(0),
        generation: k::read(inode, &k::INODE_GENERATION).unwrap_or(0),
        parent,
        name,
    })
}

/// [`fingerprint`] of what the verifier knows for a `struct dentry`, at `address`, in the directory whose dentry is at `parent`.
#[inline(always)]
pub fn fingerprint_of(address: Address, dentry: Structure, parent: Address) -> u64 {
    let inode = follow(dentry, &k::DENTRY_INODE);
    // Two numbers in a union with the one that the other way reads: BTF has these first, and the verifier takes them.
    let hash: u32 = member(dentry, &k::DENTRY_NAME_HASH);
    // SAFETY: inside the structure.
    let length: u32 = member(
        unsafe { dentry.cast::<u32>().add(1) }.cast(),
        &k::DENTRY_NAME_HASH,
    );
    mix(&Dentry {
        address,
        number: member(inode, &k::INODE_INO),
        generation: member(inode, &k::INODE_GENERATION),
        parent,
        name: u64::from(length) << 32 | u64::from(hash),
    })
}

/// What a fingerprint is made of.
struct Dentry {
    address: Address,
    number: u64,
    generation: u32,
    parent: Address,
    name: u64,
}

#[inline(always)]
fn mix(dentry: &Dentry) -> u64 {
    dentry.address
        ^ dentry.number.rotate_left(48)
        ^ u64::from(dentry.generation).rotate_left(24)
        ^ dentry.parent.rotate_left(8)
        ^ dentry.name.rotate_left(16)
}

/// Which file `inode` is; zeros for what cannot be read.
#[inline(always)]
pub fn id(inode: Address) -> ExecutableId {
    ExecutableId {
        inode: inode_number(inode),
        device: inode_device(inode) as u32,
        generation: inode_generation(inode) as u32,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inode_number(inode: Address) -> u64 {
    k::read(inode, &k::INODE_INO).unwrap_or(0)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inode_device(inode: Address) -> u64 {
    let sb = k::pointer(inode, &k::INODE_SB).unwrap_or(0);
    u64::from(k::read::<u32>(sb, &k::SB_DEV).unwrap_or(0))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inode_generation(inode: Address) -> u64 {
    u64::from(k::read::<u32>(inode, &k::INODE_GENERATION).unwrap_or(0))
}

/// What an event says of `inode`.
#[inline(always)]
pub fn record(inode: Address) -> Option<InodeRecord> {
    let sb = k::pointer(inode, &k::INODE_SB).filter(|_| inode != 0)?;
    let mode: u16 = k::read(inode, &k::INODE_MODE)?;
    Some(InodeRecord {
        id: id(inode),
        magic: k::read(sb, &k::SB_MAGIC)?,
        rdev: k::read(inode, &k::INODE_RDEV)?,
        mode: u32::from(mode),
        uid: k::read(inode, &k::INODE_UID)?,
        gid: k::read(inode, &k::INODE_GID)?,
    })
}
