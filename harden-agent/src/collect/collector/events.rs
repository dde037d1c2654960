//! What each kind of event adds to the facts of its slot.

use std::{collections::btree_map, hash::BuildHasher as _, time::Instant};

use harden_common::{
    Argument, ERRNO_UNKNOWN, FactEvent, InodeRecord, PathEvent, PathOperation, SocketEvent, kind,
    path_flag,
};

use super::{
    super::{
        address,
        event::{Bytes, Event},
        names::{self, Fact},
        operation::operations,
        path,
    },
    Collector, FOLD_AFTER, Slot,
    facts::{insert, join},
};
use crate::observation::{
    AddressOperation, Deed, File, Inode, Inodes, Join as _, Operation, Socket, Text,
};

impl Collector {
    /// Takes one item that was parsed.
    pub fn take_event(&mut self, event: &Event<'_>) {
        self.last_new = Instant::now();
        match event {
            Event::Fact(event) => self.fact(event),
            Event::Socket(event) => self.socket(event),
            Event::Path(event, bytes) => match event.header.kind {
                kind::EXEC => self.exec(event, bytes),
                kind::ADDRESS => self.address(event, bytes),
                _ => self.path(event, bytes),
            },
            Event::Cgroup(event, _) if event.header.kind == kind::CGROUP_GONE => {
                self.cgroups_gone += 1;
            }
            // A child of the run's cgroup: its slots carry the run already.
            Event::Cgroup(..) => {}
        }
    }

    fn fact(&mut self, event: &FactEvent) {
        let seen = self.clock.seen(event.header.time);
        match names::fact(event.fact) {
            Some(fact) => {
                self.tell(event.header.slot, || (&fact).into());
                if let (Fact::Capability(name, _), Some(call)) = (&fact, names::call(event.call)) {
                    self.tell(event.header.slot, || Deed::GrantedIn(name, &call).into());
                    let facts = &mut self.slot(event.header.slot).facts;
                    let calls = facts.capability_calls.entry(name.clone()).or_default();
                    join(calls, call, seen.clone());
                }
                if event.fact == Argument::CallRefused.fact()
                    && let Some((abi, call)) = names::refused(event.call)
                {
                    self.tell(event.header.slot, || Deed::Refused(abi, &call).into());
                    let calls = self.slot(event.header.slot).facts.refused.entry(abi);
                    join(calls.or_default(), call, seen.clone());
                }
                insert(&mut self.slot(event.header.slot).facts, fact, seen);
            }
            None => self.unparsed += 1,
        }
    }

    fn socket(&mut self, event: &SocketEvent) {
        let seen = self.clock.seen(event.header.time);
        let socket = Socket {
            family: names::family(event.family),
            kind: names::socket_type(event.kind),
            protocol: event.protocol,
        };
        let outcome = names::outcome(event.errno);
        let slot = event.header.slot;
        self.tell(slot, || Deed::Socket(&socket, &outcome).into());
        let sockets = &mut self.slot(slot).facts.sockets;
        join(sockets.entry(socket).or_default(), outcome, seen);
    }

    fn exec(&mut self, event: &PathEvent, bytes: &Bytes<'_>) {
        let mut seen = self.clock.seen(event.header.time);
        let slot = self.slots.entry(event.header.slot).or_default();
        slot.is_told = true;
        // A memfd has no path. Nor has what was mounted by itself and detached, as runc does with its own program: the walk
        // begins and ends at the mount's root.
        let named = event.flags & path_flag::UNMOUNTED == 0 && !bytes.target.is_empty();
        if event.flags & path_flag::TARGET != 0 && named {
            let path = Text::from(path::walked(bytes.target));
            // The first is the host's, where a program changes its root.
            let known = self.programs.entry(event.inode.id);
            known.or_insert_with(|| path.clone());
            slot.path = Some(path);
        }
        if event.flags & path_flag::TARGET != 0 {
            slot.facts.inodes.extend(inode(&event.inode));
        }
        if !bytes.text.is_empty() {
            let name = path::joined(&path::walked(bytes.prefix), bytes.text);
            if let Some(news) = &mut self.news {
                news.push((event.header.slot, Deed::InvokedAs(&name).into()));
            }
            let invoked = slot.facts.invoked_as.entry(name).or_default();
            seen.set_counts(Some(invoked.count().unwrap_or(0) + 1), None);
            invoked.join(seen);
        }
    }

    fn address(&mut self, event: &PathEvent, bytes: &Bytes<'_>) {
        let seen = self.clock.seen(event.header.time);
        let Some(address) = address::parse(bytes.text, &path::walked(bytes.prefix)) else {
            return;
        };
        let outcome = names::outcome(event.errno);
        let (operation, on_file) = if event.operation == PathOperation::Bind as u32 {
            (AddressOperation::Bind, Operation::Bind)
        } else if event.operation == PathOperation::Connect as u32 {
            (AddressOperation::Connect, Operation::Connect)
        } else {
            (AddressOperation::Send, Operation::Connect)
        };
        let slot = event.header.slot;
        self.tell(slot, || {
            Deed::Address(operation, &address.text, &outcome).into()
        });
        if let Some(path) = &address.path {
            self.tell(slot, || Deed::File(path, on_file, &outcome).into());
        }
        self.granted_for(event, || operation.name(), address.text.as_bytes());
        let facts = &mut self.slots.entry(slot).or_default().facts;
        let addresses = facts.addresses.entry(operation).or_default();
        join(
            addresses.entry(address.text).or_default(),
            outcome.clone(),
            seen.clone(),
        );
        if let Some(path) = address.path {
            self.paths.insert(self.hasher.hash_one(&path));
            let file = facts.files.entry(path).or_default();
            file.operations.add(on_file, outcome, seen);
        }
    }

    fn path(&mut self, event: &PathEvent, bytes: &Bytes<'_>) {
        const O_TMPFILE: u32 = 0o20_000_000;
        let seen = self.clock.seen(event.header.time);
        let has = |flag| event.flags & flag != 0;
        // A prefix that could not be walked to its root names no file; the kernel counted it.
        if has(path_flag::TRUNCATED) || event.operation == 0 {
            return;
        }
        let asked = (!bytes.text.is_empty() && has(path_flag::PREFIX))
            .then(|| path::joined(&path::walked(bytes.prefix), bytes.text));
        let is_open = event.operation == PathOperation::Open as u32;
        // The file of O_TMPFILE has no name: what was used is the directory. A security hook gives that.
        let unnamed = is_open && event.argument & O_TMPFILE != 0 && event.errno != ERRNO_UNKNOWN;
        let own = (has(path_flag::TARGET) && !has(path_flag::UNMOUNTED) && !unnamed).then(|| {
            Text::from(if has(path_flag::TARGET_IS_PATH) {
                bytes.target.to_vec()
            } else {
                path::walked(bytes.target)
            })
        });
        let is_own = own.is_some();
        let Some(path) = own.or_else(|| asked.clone()) else {
            // A pipe, socket or memfd: it has no path.
            return;
        };
        let operations = operations(event.operation, event.argument);
        if let Some(operation) = operations.first() {
            self.granted_for(event, || operation.name(), path.as_bytes());
        }
        let Slot {
            facts,
            forgotten,
            new_names,
            ..
        } = &mut **self.slots.entry(event.header.slot).or_default();
        // To look at a descriptor takes no path. If this program opened it, that is recorded; if it
        // was handed the descriptor (its standard output, say), it needs the path for nothing.
        let looks = |operation: &Operation| {
            use Operation::{Stat, Statfs, XattrRead};
            matches!(operation, Stat | Statfs | XattrRead)
        };
        let is_known = |path| {
            facts.files.contains_key(path) || forgotten.contains(&self.hasher.hash_one(path))
        };
        if bytes.text.is_empty() && operations.iter().all(looks) && !is_known(&path) {
            return;
        }
        let asked = asked.filter(|asked| is_own && *asked != path);
        let outcome = names::outcome(event.errno);
        if let Some(news) = &mut self.news {
            let facts = operations
                .iter()
                .map(|operation| Deed::File(&path, *operation, &outcome).into());
            news.extend(facts.map(|fact| (event.header.slot, fact)));
        }
        let file = match facts.files.entry(path) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => {
                self.paths.insert(self.hasher.hash_one(entry.key()));
                entry.insert(File {
                    inodes: Inodes::with_capacity(usize::from(is_own)),
                    ..File::default()
                })
            }
        };
        *new_names += u32::from(file.operations.is_empty());
        if is_own {
            file.resolved = true;
            file.inodes.extend(inode(&event.inode));
            file.asked_as.extend(asked);
        }
        for operation in operations {
            file.operations
                .add(operation, outcome.clone(), seen.clone());
        }
        if *new_names >= FOLD_AFTER && self.news.is_some() {
            *new_names = 0;
            facts.fold_names();
        }
    }

    /// The capabilities that were granted for `operation` on `object`.
    fn granted_for(&mut self, event: &PathEvent, operation: impl Fn() -> String, object: &[u8]) {
        for name in names::capabilities(event.capabilities) {
            let seen = self.clock.seen(event.header.time);
            let object = Text::from([operation().as_bytes(), b" ", object].concat());
            self.tell(event.header.slot, || {
                Deed::GrantedFor(&name, &object).into()
            });
            let objects = &mut self.slot(event.header.slot).facts.capability_objects;
            join(objects.entry(name).or_default(), object, seen);
        }
    }
}

/// `None` if the kernel had no inode at hand.
fn inode(record: &InodeRecord) -> Option<Inode> {
    (record.mode != 0).then(|| Inode {
        device: device(record.id.device),
        number: record.id.inode,
        generation: record.id.generation,
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        rdev: device(record.rdev),
        filesystem: record.magic,
        acl: None,
    })
}

/// The kernel's own coding of a device number (major << 20 | minor) → that of stat(2).
pub(super) fn device(kernel: u32) -> u64 {
    libc::makedev(kernel >> 20, kernel & 0xf_ffff)
}
