//! What was done with a path, as the observation says it.

use harden_common::PathOperation;

use crate::observation::Operation;

/// What an event's operation is for the observation; open is several.
pub(super) fn operations(operation: u32, argument: u32) -> Vec<Operation> {
    if operation == PathOperation::Open as u32 {
        return opened(argument);
    }
    OPERATIONS
        .iter()
        .find(|(number, _)| *number as u32 == operation)
        .map(|(_, operation)| *operation)
        .into_iter()
        .collect()
}

/// open(2) by its flags.
fn opened(flags: u32) -> Vec<Operation> {
    const O_ACCMODE: u32 = 3;
    const O_CREAT: u32 = 0o100;
    const O_TRUNC: u32 = 0o1000;
    const O_PATH: u32 = 0o10_000_000;
    const O_TMPFILE: u32 = 0o20_000_000;
    if flags & O_PATH != 0 {
        return vec![Operation::Locate];
    }
    let mut operations = match flags & O_ACCMODE {
        0 => vec![Operation::Read],
        1 => vec![Operation::Write],
        // 3 is for ioctl alone, and checked like both (fs/open.c).
        _ => vec![Operation::Read, Operation::Write],
    };
    if flags & (O_CREAT | O_TMPFILE) != 0 {
        operations.push(Operation::Create);
    }
    if flags & O_TRUNC != 0 {
        operations.push(Operation::Truncate);
    }
    operations
}

const OPERATIONS: [(PathOperation, Operation); 27] = [
    (PathOperation::Execute, Operation::Execute),
    (PathOperation::Stat, Operation::Stat),
    (PathOperation::Access, Operation::Access),
    (PathOperation::Readlink, Operation::Readlink),
    (PathOperation::Chdir, Operation::Chdir),
    (PathOperation::Chroot, Operation::Chroot),
    (PathOperation::Mkdir, Operation::Mkdir),
    (PathOperation::Rmdir, Operation::Rmdir),
    (PathOperation::Unlink, Operation::Unlink),
    (PathOperation::RenameFrom, Operation::RenameFrom),
    (PathOperation::RenameTo, Operation::RenameTo),
    (PathOperation::LinkFrom, Operation::LinkFrom),
    (PathOperation::LinkTo, Operation::LinkTo),
    (PathOperation::Symlink, Operation::Symlink),
    (PathOperation::Mknod, Operation::Mknod),
    (PathOperation::Chmod, Operation::Chmod),
    (PathOperation::Chown, Operation::Chown),
    (PathOperation::Truncate, Operation::Truncate),
    (PathOperation::Utime, Operation::Utime),
    (PathOperation::XattrRead, Operation::XattrRead),
    (PathOperation::XattrWrite, Operation::XattrWrite),
    (PathOperation::Statfs, Operation::Statfs),
    (PathOperation::Watch, Operation::Watch),
    (PathOperation::Mount, Operation::Mount),
    (PathOperation::Unmount, Operation::Unmount),
    (PathOperation::Administer, Operation::Administer),
    (PathOperation::Bind, Operation::Bind),
];
