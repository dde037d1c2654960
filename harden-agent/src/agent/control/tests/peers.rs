//! Who may ask, and what.

use std::{os::unix::net::UnixStream, path::Path};

use serde_json::{Value, json};

use super::{super::*, stage::*};

/// tells how it went.
fn as_nobody(group: u32, work: impl FnOnce() -> bool + Send + 'static) -> Option<bool> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: another user can be had by root only");
        return None;
    }
    // Credentials belong to a thread; libc's wrappers would change those of all.
    let thread = std::thread::spawn(move || {
        // SAFETY: plain calls with numbers and an empty list; they change this thread alone.
        let changed = unsafe {
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) == 0
                && libc::syscall(libc::SYS_setresgid, group, group, group) == 0
                && libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) == 0
        };
        assert!(changed);
        work()
    });
    Some(thread.join().unwrap())
}

/// Lets everybody come as far as `socket`, and gives it `mode`.
fn open_to_all(socket: &Path, mode: u32) {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};
    std::fs::set_permissions(socket, Permissions::from_mode(mode)).unwrap();
    let directory = socket.parent().unwrap();
    std::fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn who_is_in_the_group_reads_and_who_is_not_is_refused() {
    const GROUP: u32 = 54_321;
    let agent = Agent::with(
        Limits::default(),
        UNITS.map(observation).to_vec(),
        Some(GROUP),
    );
    // Who got past the mode is refused all the same.
    open_to_all(&agent.socket, 0o660);
    let socket = agent.socket.clone();
    let stranger = as_nobody(99, move || UnixStream::connect(&socket).is_err());
    open_to_all(&agent.socket, 0o666);
    let socket = agent.socket.clone();
    let refused = as_nobody(99, move || {
        let mut wire = Wire::connect(&socket);
        let refusal = wire.reply().unwrap();
        refusal["error"] == "io.harden.Agent.PermissionDenied" && wire.reply().is_none()
    });
    let socket = agent.socket.clone();
    let member = as_nobody(GROUP, move || {
        let mut wire = Wire::connect(&socket);
        let units = wire.call("io.harden.Agent.Units", &json!({}));
        let mark = wire.call("io.harden.Agent.Mark", &json!({"name": "case"}));
        let forget = wire.call(
            "io.harden.Agent.Forget",
            &json!({"units": ["cron.service"]}),
        );
        let denied = |reply: &Value| reply["error"] == "io.harden.Agent.PermissionDenied";
        units["error"].is_null() && denied(&mark) && denied(&forget)
    });
    for answer in [stranger, refused, member] {
        assert!(
            answer.unwrap_or(true),
            "{stranger:?} {refused:?} {member:?}"
        );
    }
}

#[test]
fn members_cannot_take_the_places_of_root() {
    const GROUP: u32 = 54_321;
    let agent = Agent::with(
        Limits {
            connections: 4,
            reserved: 2,
            ..Limits::default()
        },
        Vec::new(),
        Some(GROUP),
    );
    open_to_all(&agent.socket, 0o666);
    let socket = agent.socket.clone();
    let root = agent.socket.clone();
    let (full, is_full) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let asking = std::thread::spawn(move || {
        if is_full.recv().is_err() {
            return true;
        }
        let reply = Wire::connect(&root).call("io.harden.Agent.Units", &json!({}));
        drop(done);
        reply["error"].is_null()
    });
    let refused = as_nobody(GROUP, move || {
        let mut members: Vec<Wire> = (0..2).map(|_| Wire::connect(&socket)).collect();
        for member in &mut members {
            member.call("io.harden.Agent.Units", &json!({}));
        }
        let refusal = Wire::connect(&socket).reply().unwrap();
        full.send(()).unwrap();
        let _ = is_done.recv();
        refusal["error"] == "io.harden.Agent.TooManyConnections"
    });
    assert!(refused.unwrap_or(true));
    assert!(asking.join().unwrap());
}
