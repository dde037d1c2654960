//! Files, by their inodes.

use harden_common::{ExecutableId, InodeRecord};

use crate::kernel::{self as k, Address};

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
    let inode = of(dentry);
    let number: u64 = k::read(inode, &k::INODE_INO).unwrap_or(0);
    let generation: u32 = k::read(inode, &k::INODE_GENERATION).unwrap_or(0);
    let parent: Address = k::read(dentry, &k::DENTRY_PARENT).unwrap_or(0);
    let name: u64 = k::read(dentry, &k::DENTRY_NAME_HASH).unwrap_or(0);
    dentry
        ^ number.rotate_left(48)
        ^ u64::from(generation).rotate_left(24)
        ^ parent.rotate_left(8)
        ^ name.rotate_left(16)
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
