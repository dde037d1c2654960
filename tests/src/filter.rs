//! The seccomp filters that are in force in a process, read back from the kernel and evaluated.

use std::{ffi::c_void, ptr};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

/// As a call says which convention it is made by (include/uapi/linux/audit.h).
pub const X86_64: u32 = 0xc000_003e;
/// `int 0x80`, and the calls of a 32-bit program.
pub const I386: u32 = 0x4000_0003;
/// Set in the numbers of x32 calls, which have the architecture of 64-bit ones (asm/unistd.h).
pub const X32: u32 = 0x4000_0000;

/// All filters of a process: a call has to pass each.
pub struct Filters(Vec<Vec<libc::sock_filter>>);

impl Filters {
    /// Those of `pid`, by `PTRACE_SECCOMP_GET_FILTER` (ptrace(2), Linux 4.4, with `CONFIG_CHECKPOINT_RESTORE`): a
    /// tracer without a filter of its own, who has `CAP_SYS_ADMIN`, may ask for it.
    ///
    /// # Errors
    /// The process cannot be traced, or has none.
    pub fn of(pid: u32) -> Result<Self> {
        let pid = Pid::from_raw(pid.cast_signed());
        ptrace::attach(pid).with_context(|| format!("attaching to {pid}"))?;
        waitpid(pid, Some(WaitPidFlag::__WALL))?;
        let mut filters = Vec::new();
        let read = loop {
            match filter(pid, filters.len()) {
                Ok(Some(filter)) => filters.push(filter),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        ptrace::detach(pid, None)?;
        read?;
        ensure!(!filters.is_empty(), "{pid} has no filter");
        Ok(Self(filters))
    }

    /// Whether a call gets through whose first argument is `first`, and the others 0.
    ///
    /// # Errors
    /// A filter holds what the kernel takes and this does not know.
    pub fn allow(&self, architecture: u32, number: u32, first: u32) -> Result<bool> {
        /// include/uapi/linux/seccomp.h: what comes back, and the two actions that let a call through.
        const ACTION: u32 = 0xffff_0000;
        const ALLOW: u32 = 0x7fff_0000;
        const LOG: u32 = 0x7ffc_0000;
        for filter in &self.0 {
            let action = evaluate(filter, [number, architecture, first])? & ACTION;
            if ![ALLOW, LOG].contains(&action) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// include/uapi/linux/ptrace.h; libc has no name for it.
const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;

/// The filter with this index, the newest first; `None` behind the last.
fn filter(pid: Pid, index: usize) -> Result<Option<Vec<libc::sock_filter>>> {
    let ask = |buffer: *mut c_void| {
        // SAFETY: `buffer` is null, or has room for as many instructions as the kernel said that there are.
        let count = unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid.as_raw(), index, buffer) };
        nix::errno::Errno::result(count)
    };
    let count = match ask(ptr::null_mut()) {
        Err(nix::errno::Errno::ENOENT) => return Ok(None),
        count => usize::try_from(count.context("PTRACE_SECCOMP_GET_FILTER")?)?,
    };
    let nothing = libc::sock_filter {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut filter = vec![nothing; count];
    ask(filter.as_mut_ptr().cast()).context("PTRACE_SECCOMP_GET_FILTER")?;
    Ok(Some(filter))
}

/// Runs a filter as the kernel does (`seccomp_check_filter` in kernel/seccomp.c lists what may be in one) on a call
/// with this number, architecture and first argument.
fn evaluate(filter: &[libc::sock_filter], call: [u32; 3]) -> Result<u32> {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
    let mut at = 0;
    loop {
        let one = filter.get(at).context("behind the end of a filter")?;
        at += 1;
        let k = one.k;
        let slot = k as usize & 15;
        let mut jump = |holds: bool| at += usize::from(if holds { one.jt } else { one.jf });
        // include/uapi/linux/bpf_common.h
        match one.code {
            // struct seccomp_data: number, architecture, instruction pointer, arguments.
            0x20 => {
                a = match k {
                    0 => call[0],
                    4 => call[1],
                    16 => call[2],
                    _ => 0,
                }
            }
            0x00 => a = k,
            0x01 => x = k,
            0x60 => a = memory[slot],
            0x61 => x = memory[slot],
            0x02 => memory[slot] = a,
            0x03 => memory[slot] = x,
            0x04 => a = a.wrapping_add(k),
            0x14 => a = a.wrapping_sub(k),
            0x44 => a |= k,
            0x54 => a &= k,
            0x64 => a = a.checked_shl(k).unwrap_or(0),
            0x74 => a = a.checked_shr(k).unwrap_or(0),
            0x07 => x = a,
            0x87 => a = x,
            0x05 => at += k as usize,
            0x15 => jump(a == k),
            0x25 => jump(a > k),
            0x35 => jump(a >= k),
            0x45 => jump(a & k != 0),
            0x1d => jump(a == x),
            0x06 => return Ok(k),
            0x16 => return Ok(a),
            code => bail!("instruction {code:#x} is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code, jt, jf, k }
    }

    #[test]
    fn a_call_has_to_pass_every_filter() {
        // if arch != X86_64 kill; if nr == 1 allow; kill
        let of_write = vec![
            instruction(0x20, 0, 0, 4),
            instruction(0x15, 0, 3, X86_64),
            instruction(0x20, 0, 0, 0),
            instruction(0x15, 0, 1, 1),
            instruction(0x06, 0, 0, 0x7fff_0000),
            instruction(0x06, 0, 0, 0),
        ];
        let below_ten = vec![
            instruction(0x20, 0, 0, 0),
            instruction(0x35, 1, 0, 10),
            instruction(0x06, 0, 0, 0x7fff_0000),
            instruction(0x06, 0, 0, 0x0005_0001),
        ];
        let one = Filters(vec![below_ten.clone()]);
        let both = Filters(vec![below_ten, of_write]);
        assert!(one.allow(X86_64, 3, 0).unwrap() && !one.allow(X86_64, 10, 0).unwrap());
        assert!(both.allow(X86_64, 1, 0).unwrap() && !both.allow(X86_64, 3, 0).unwrap());
        assert!(!both.allow(I386, 1, 0).unwrap() && !both.allow(X86_64, X32 | 1, 0).unwrap());
        let odd = Filters(vec![vec![instruction(0xff, 0, 0, 0)]]);
        assert!(odd.allow(X86_64, 1, 0).is_err());
        assert!(Filters(vec![vec![]]).allow(X86_64, 1, 0).is_err());
    }
}
