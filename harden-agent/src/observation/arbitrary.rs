//! Observations for property tests: any values, from few names, so that two of them meet often.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{
    Abi, Acl, AddressOperation, CapabilityCheck, ControlCommand, Executable, File,
    FileCapabilities, Host, Inode, Inodes, Observation, Operation, Outcome, Run, RunKind, SCHEMA,
    Seen, Socket, Text, Uses, Word,
};

/// Any bytes.
pub(crate) fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        vec(any::<u8>(), 0..12).prop_map(Text::from),
        any::<String>().prop_map(Text::from),
        select(
            &[
                "",
                "a",
                "two words",
                "\\x41",
                "\\",
                "a\nb",
                "\u{202E}",
                "\0"
            ][..]
        )
        .prop_map(Text::from),
    ]
}

/// An absolute path of any bytes but NUL.
pub(crate) fn path() -> impl Strategy<Value = Text> {
    let names = vec(1..=u8::MAX, 0..12).prop_map(|tail| Text::from([b"/", &tail[..]].concat()));
    prop_oneof![
        names,
        select(&["/", "/etc/passwd", "/usr/sbin/nginx", "/a\\x41"][..]).prop_map(Text::from),
    ]
}

pub(crate) fn word() -> impl Strategy<Value = Word> {
    prop_oneof!["[a-c]", "[A-Za-z0-9_-]{1,64}"].prop_map(|word| Word::new(word).unwrap())
}

fn time() -> impl Strategy<Value = Timestamp> {
    let range = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    prop_oneof![0..3_i64, range].prop_flat_map(|second| {
        (0..1_000_000_000_i32)
            .prop_map(move |nanosecond| Timestamp::new(second, nanosecond).unwrap_or_default())
    })
}

fn seen() -> impl Strategy<Value = Seen> {
    let number = || option::of(0..u64::MAX);
    (option::of(time()), number(), number()).prop_map(|(first, count, errors)| {
        let seen = first.map(Seen::at).unwrap_or_default();
        seen.counted(count, errors)
    })
}

fn outcomes() -> impl Strategy<Value = BTreeMap<Outcome, Seen>> {
    btree_map(word().prop_map(Outcome), seen(), 0..3)
}

fn words() -> impl Strategy<Value = BTreeMap<Word, Seen>> {
    btree_map(word(), seen(), 0..3)
}

fn inodes() -> impl Strategy<Value = Inodes> {
    let permissions = || btree_map(any::<u32>(), 0..8_u32, 0..2);
    let acl = (0..8_u32, permissions(), permissions());
    let acl = acl.prop_map(|(group, users, groups)| {
        Box::new(Acl {
            group,
            users,
            groups,
        })
    });
    let numbers = (any::<[u64; 4]>(), any::<[u32; 4]>(), option::of(acl));
    let inode = numbers.prop_map(|(long, short, acl)| Inode {
        device: long[0],
        number: long[1],
        generation: short[0],
        mode: short[1],
        uid: short[2],
        gid: short[3],
        rdev: long[2],
        filesystem: long[3],
        acl,
    });
    // Some are of one kind.
    let alike = (0..12_u64, 0..2_u32).prop_map(|(number, mode)| Inode {
        device: 0,
        number,
        generation: 0,
        mode,
        uid: 0,
        gid: 0,
        rdev: 0,
        filesystem: 0,
        acl: None,
    });
    prop_oneof![btree_set(inode, 0..2), btree_set(alike, 0..10)]
        .prop_map(|inodes| inodes.into_iter().collect())
}

fn socket() -> impl Strategy<Value = Socket> {
    (word(), word(), any::<u32>()).prop_map(|(family, kind, protocol)| Socket {
        family,
        kind,
        protocol,
    })
}

fn uses() -> impl Strategy<Value = Uses> {
    use Operation as O;
    let operation = select(&[O::Read, O::Create, O::RenameFrom, O::XattrWrite, O::Connect][..]);
    let uses = vec((operation, word().prop_map(Outcome), seen()), 0..6);
    uses.prop_map(|uses| uses.into_iter().collect())
}

fn file() -> impl Strategy<Value = File> {
    (
        any::<bool>(),
        uses(),
        inodes(),
        btree_set(path(), 0..2),
        0..3_u64,
    )
        .prop_map(|(resolved, operations, inodes, asked_as, names)| File {
            resolved,
            operations,
            inodes,
            asked_as,
            names,
        })
}

fn file_capabilities() -> impl Strategy<Value = FileCapabilities> {
    let sets = (btree_set(word(), 0..2), btree_set(word(), 0..2));
    (sets, any::<bool>()).prop_map(|((permitted, inheritable), effective)| FileCapabilities {
        permitted,
        inheritable,
        effective,
    })
}

fn executable() -> impl Strategy<Value = Executable> {
    use {AddressOperation as A, CapabilityCheck as C};
    let check = select(&[C::Granted, C::DeniedNoaudit, C::ChildUserNamespace, C::Kept][..]);
    let address = select(&[A::Bind, A::Connect, A::Send][..]);
    let programs = (
        inodes(),
        btree_set(text(), 0..2),
        btree_set(file_capabilities(), 0..2),
        btree_map(path(), seen(), 0..2),
    );
    let abi = || select(&[Abi::Native, Abi::Ia32, Abi::X32][..]);
    let calls = (
        btree_map(abi(), words(), 0..3),
        btree_map(abi(), words(), 0..2),
        btree_map(word(), btree_map(check, seen(), 0..2), 0..2),
        btree_map(word(), words(), 0..2),
        btree_map(word(), btree_map(text(), seen(), 0..2), 0..2),
        words(),
    );
    let sockets = (
        words(),
        words(),
        btree_map(socket(), outcomes(), 0..2),
        btree_map(address, btree_map(text(), outcomes(), 0..2), 0..2),
    );
    (programs, calls, sockets, btree_map(path(), file(), 0..3)).prop_map(
        |(
            (inodes, interpreters, file_capabilities, invoked_as),
            (syscalls, refused, capabilities, capability_calls, capability_objects, arguments),
            (families, socket_types, sockets, addresses),
            files,
        )| Executable {
            inodes,
            interpreters,
            file_capabilities,
            invoked_as,
            syscalls,
            refused,
            capabilities,
            capability_calls,
            capability_objects,
            families,
            socket_types,
            sockets,
            addresses,
            arguments,
            files,
        },
    )
}

pub(crate) fn host() -> impl Strategy<Value = Host> {
    (text(), text(), text(), option::of(text())).prop_map(|(name, kernel, architecture, libc)| {
        Host {
            name,
            kernel,
            architecture,
            libc,
        }
    })
}

pub(crate) fn kind() -> impl Strategy<Value = RunKind> {
    use RunKind as K;
    select(&[K::Window, K::Invocation, K::Mark, K::Command][..])
}

fn run() -> impl Strategy<Value = Run> {
    let control = select(&[ControlCommand::StartPre, ControlCommand::Other][..]);
    let what = (
        kind(),
        option::of(text()),
        option::of(word()),
        btree_set(word(), 0..2),
    );
    let ends = (time(), time(), option::of(any::<i32>()));
    let label = "[ -~]{0,8}";
    let maps = (
        btree_map(label, label, 0..2),
        btree_map(word(), any::<u64>(), 0..2),
        btree_set(word(), 0..2),
        btree_map(path(), text(), 0..2),
        btree_map(path(), executable(), 0..3),
        btree_map(control, btree_map(path(), executable(), 0..2), 0..2),
    );
    (what, vec(text(), 0..3), any::<u32>(), ends, host(), maps).prop_map(
        |(
            (kind, label, invocation, stands_for),
            command,
            uid,
            (started, ended, status),
            host,
            (hooks, losses, filters, symlinks, executables, control),
        )| {
            Run {
                kind,
                label,
                invocation,
                stands_for,
                command,
                uid,
                started,
                ended,
                status,
                host,
                hooks,
                losses,
                filters,
                symlinks,
                executables,
                control,
            }
        },
    )
}

/// Any observation that the file can hold.
pub(crate) fn observation() -> impl Strategy<Value = Observation> {
    (text(), btree_map(word(), run(), 0..3)).prop_map(|(name, runs)| {
        let mut observation = Observation {
            schema: SCHEMA,
            name,
            runs,
        };
        observation.settle();
        observation
    })
}
