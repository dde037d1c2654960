//! Sockets and their addresses, at the exit of the calls that make and use them.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use harden_common::{IA32_SOCKETCALL, Loss, PathOperation, SocketEvent, kind, nr};

use crate::{
    arch::{self, Arguments},
    emit,
    kernel::Address,
    loss::lost_of,
    once::{self, OnceKey},
    path_event,
    place::{Directory, Place},
    scratch::{self, Request, Returned},
    shares, text,
};

/// `sizeof(struct sockaddr_storage)`: the kernel refuses longer addresses.
const ADDRESS_MAX: u32 = 128;
const AF_UNIX: u16 = 1;

/// A call with its arguments, whichever way they came.
struct SocketCall {
    native: u32,
    compat: bool,
    arguments: Arguments,
}

/// Looks at what the call that came back did with sockets.
#[inline(always)]
pub fn on_exit(level: u64) {
    if request_address(level) != 0 {
        emit_address(level);
    }
}

/// Requests that the address be sent that the call was given, if it was given one. A function of its own, so that its stack is
/// given back before the next.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn request_address(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the scratch is the caller's own.
    let returned = unsafe { &(*scratch).returned };
    let Some(call) = normalise(returned) else {
        return 0;
    };
    let (slot, errno) = (returned.slot, arch::errno(returned.result));
    let [first, second, third, _, fifth, sixth] = call.arguments;
    let (operation, (pointer, length)) = match call.native {
        nr::SOCKET | nr::SOCKETPAIR => {
            emit_socket(slot, first as u32, second as u32, third as u32, errno);
            return 0;
        }
        nr::BIND => (PathOperation::Bind, (second, third as u32)),
        nr::CONNECT => (PathOperation::Connect, (second, third as u32)),
        nr::SENDTO => (PathOperation::Send, (fifth, sixth as u32)),
        nr::SENDMSG | nr::SENDMMSG => (PathOperation::Send, message(&call, second)),
        _ => return 0,
    };
    if pointer != 0 && length >= 2 {
        if call.native == nr::SENDMMSG && returned.result > 1 {
            lost_of(slot, Loss::MessagesSkipped);
        }
        let request = Request {
            errno,
            text: pointer,
            length,
            capabilities: returned.capabilities,
            result: returned.result,
            ..Request::new(slot, operation)
        };
        // SAFETY: as above.
        unsafe { (*scratch).request = request };
        return 1;
    }
    0
}

/// Unfolds the 32-bit `socketcall(int call, unsigned long *args)` (net/compat.c).
#[inline(always)]
fn normalise(returned: &Returned) -> Option<SocketCall> {
    let [first, second, third, fourth, fifth, sixth, ..] = returned.arguments;
    if returned.native != IA32_SOCKETCALL {
        return Some(SocketCall {
            native: returned.native,
            compat: returned.compat,
            arguments: [first, second, third, fourth, fifth, sixth],
        });
    }
    // SYS_SOCKET … (include/uapi/linux/net.h)
    let native = match first {
        1 => nr::SOCKET,
        2 => nr::BIND,
        3 => nr::CONNECT,
        8 => nr::SOCKETPAIR,
        11 => nr::SENDTO,
        16 => nr::SENDMSG,
        20 => nr::SENDMMSG,
        _ => return None,
    };
    let mut words = [0u32; 6];
    // SAFETY: the helper writes 24 bytes to our stack, or fails.
    unsafe { bpf_probe_read_user((&raw mut words).cast(), 24, second as *const _) };
    let [a, b, c, d, e, f] = words;
    Some(SocketCall {
        native,
        compat: true,
        arguments: [a.into(), b.into(), c.into(), d.into(), e.into(), f.into()],
    })
}

#[inline(always)]
fn emit_socket(slot: u32, family: u32, kind_and_flags: u32, protocol: u32, errno: u32) {
    // SOCK_TYPE_MASK; above it are SOCK_CLOEXEC and SOCK_NONBLOCK.
    let kind = kind_and_flags & 15;
    let key = OnceKey {
        slot,
        what: kind::SOCKET << 16,
        argument: kind,
        errno,
        target: u64::from(family),
        directory: u64::from(protocol),
        mount: 0,
        text: 0,
    };
    if once::is_known(&key) {
        return;
    }
    let event = SocketEvent {
        header: emit::header(kind::SOCKET, slot),
        family,
        kind,
        protocol,
        errno,
    };
    match emit::send(&event) {
        Ok(()) => once::remember(&key),
        Err(()) => lost_of(slot, Loss::SocketRingFull),
    }
}

/// The address of a message: `struct user_msghdr` begins with it and its length
/// (include/linux/socket.h).
#[inline(always)]
fn message(call: &SocketCall, header: Address) -> (Address, u32) {
    let mut words = [0u64; 2];
    let size = if call.compat { 8 } else { 16 };
    // SAFETY: the helper writes at most 16 bytes to our stack, or fails.
    unsafe { bpf_probe_read_user((&raw mut words).cast(), size, header as *const _) };
    if call.compat {
        (words[0] & 0xffff_ffff, (words[0] >> 32) as u32)
    } else {
        (words[0], words[1] as u32)
    }
}

/// Sends the address that is requested.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn emit_address(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the scratch is ours until we return.
    let (event, request) = unsafe { (&mut (*scratch).event, &(*scratch).request) };
    let length = request.length.min(ADDRESS_MAX);
    path_event::begin(event, kind::ADDRESS, request);
    // SAFETY: `length` is at most ADDRESS_MAX, less than the size of `bytes`.
    let (failed, family) = unsafe {
        let bytes = (&raw mut (*scratch).bytes).cast::<u8>();
        let failed = bpf_probe_read_user(bytes.cast(), length, request.text as *const _);
        (failed, bytes.cast::<u16>().read_unaligned())
    };
    if failed != 0 {
        if request.errno == 0 {
            lost_of(request.slot, Loss::TextUnreadable);
        }
        return 0;
    }
    text::hash(scratch, length);
    // A path begins behind the family; an abstract name with a NUL, an unnamed address ends there.
    let directory = if family == AF_UNIX && length > 2 {
        text::base(scratch, 2)
    } else {
        Directory::NONE
    };
    let key = once::key_of(scratch, Place::NOWHERE, directory);
    if once::is_known(&key) {
        return 0;
    }
    if !shares::may_send(request.slot) {
        return 0;
    }
    path_event::set_text_length(scratch, length);
    path_event::add_prefix(scratch, directory.place);
    path_event::send_once(scratch, &key, Loss::SocketRingFull);
    0
}
