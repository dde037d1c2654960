//! The agent that the tests ask, and a client that sends what any client could send.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::*;
use crate::{
    agent::{
        names::suggest,
        request::{
            Denial, FactKind, Forgotten, KernelSide, Link, MarkError, Marked, NameError, NewFact,
            ProfilePart, Shadow, ShadowError, ShadowProfile, ShadowSummary, Status, Time,
            UnitState, UnitSummary, Watcher,
        },
        summary::summarise,
    },
    apply::Backend,
    observation::{Observation, Text, Word, from_json},
};

pub(super) const UNITS: [&str; 3] = ["cron.service", "nginx.service", r"evil\x2d\n.service"];

/// An agent in a thread of its own, with a core that serves real data.
pub(crate) struct Agent {
    _directory: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    pub(crate) fn start(limits: Limits) -> Self {
        Self::with(limits, UNITS.map(observation).to_vec(), None)
    }

    pub(crate) fn with(limits: Limits, observations: Vec<Observation>, group: Option<u32>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("io.harden.Agent");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let path = socket.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let (listener, own) = bind(&path).unwrap();
                let (sender, requests) = mpsc::channel(16);
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, group.unwrap_or(own), sender, limits) => {}
                    () = core(observations, requests) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self {
            _directory: directory,
            socket,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(super) fn connect(&self) -> Wire {
        Wire::connect(&self.socket)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn observation(name: &str) -> Observation {
    let json = include_bytes!("../../../../tests/fixtures/observation.json");
    let mut observation = from_json(json).unwrap();
    observation.name = name.into();
    observation
}

pub(crate) fn summary(observation: &Observation) -> UnitSummary {
    summarise(observation, UnitState::Active)
}

pub(super) fn time() -> Time {
    Time("2026-03-01T12:00:00Z".parse().unwrap())
}

pub(crate) fn status(units: usize) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: time(),
        kernel_side: KernelSide::Adopted,
        since: time(),
        units: units as u64,
        slots_used: 12,
        slots_total: 4096,
        cgroups_used: 40,
        cgroups_total: 4096,
        events: 12_345,
        journal_bytes: 67_890,
        state_directory: "/var/lib/harden".into(),
        losses: BTreeMap::from([("ring".to_owned(), 3)]),
        hooks: BTreeMap::from([("files".to_owned(), "lsm:file_open".to_owned())]),
        set_aside: vec!["/var/lib/harden/journal.1.corrupt-1".into()],
        limits: vec!["state.max_units: there are records of 2000 units".to_owned()],
        errors: vec!["/var/lib/harden: No space left on device".to_owned()],
        shadows: vec![shadow("nginx.service").summary],
    }
}

/// A unit in shadow whose profile would refuse one fact.
pub(crate) fn shadow(unit: &str) -> Shadow {
    Shadow {
        summary: ShadowSummary {
            unit: unit.into(),
            backend: Backend::Firejail,
            source: "nginx.profile".into(),
            digest: "ab12".to_owned(),
            since: time(),
            seconds: 90,
            tests: 7,
            facts: 400,
            denials: 1,
            left_out: 0,
            unjudged: BTreeMap::from([("not judged: why".to_owned(), 2)]),
            unread: vec!["nginx.profile:3: net eth0: why".into()],
            losses: BTreeMap::from([("over-share".to_owned(), 4)]),
            gaps: 0,
            refuses_nothing: false,
        },
        denials: vec![Denial {
            command: Some("start-pre".to_owned()),
            executable: "/usr/sbin/d".into(),
            kind: FactKind::Capability,
            fact: "chown granted".into(),
            line: "caps.keep".into(),
            at: Some("nginx.profile:12".into()),
            first: Some(time()),
            run: Word::new("0b7e").unwrap(),
            mark: Some("upload".into()),
        }],
    }
}

pub(crate) fn profile() -> ShadowProfile {
    ShadowProfile {
        backend: Backend::Systemd,
        source: "d.conf".into(),
        parts: vec![ProfilePart {
            file: "d.conf".into(),
            first: 1,
            text: "[Service]\nPrivateTmp=yes".to_owned(),
        }],
        homes: Vec::new(),
        links: vec![Link {
            path: "/bin".into(),
            text: "usr/bin".into(),
        }],
        overrides: None,
    }
}

pub(super) fn fact(unit: &str, fact: &str) -> NewFact {
    NewFact {
        unit: unit.into(),
        run: Word::new("0b7e").unwrap(),
        executable: "/usr/sbin/d".into(),
        kind: FactKind::Path,
        fact: fact.into(),
        first: Some(time()),
        lagged: 0,
        refused_by: None,
    }
}

/// Serves what it was given; a mark is a new fact, so that a test can make some.
pub(crate) async fn core(observations: Vec<Observation>, mut requests: mpsc::Receiver<Request>) {
    let all: BTreeMap<Text, Observation> = observations
        .into_iter()
        .map(|observation| (observation.name.clone(), observation))
        .collect();
    let not_found = |unit: Text| NameError::NotFound {
        near: suggest(&unit, all.keys()),
        unit,
    };
    let mut watchers: Vec<Watcher> = Vec::new();
    while let Some(request) = requests.recv().await {
        match request {
            Request::Units { reply } => {
                let _ = reply.send(all.values().map(summary).collect());
            }
            Request::Status { reply } => {
                let _ = reply.send(status(all.len()));
            }
            Request::Resolve { units, reply } => {
                let missing = units.iter().find(|unit| !all.contains_key(*unit));
                let _ = reply.send(match missing {
                    Some(unit) => Err(not_found(unit.clone())),
                    None if units.is_empty() => Ok(all.keys().cloned().collect()),
                    None => Ok(units),
                });
            }
            Request::Observation { unit, reply } => {
                let found = all.get(&unit).cloned();
                let _ = reply.send(found.ok_or_else(|| not_found(unit)));
            }
            Request::Mark { name, unit, reply } => {
                let id = Word::new("0b7e").unwrap();
                let units = match unit {
                    Some(unit) if !all.contains_key(&unit) => {
                        let _ = reply.send(Err(MarkError::Name(not_found(unit))));
                        continue;
                    }
                    Some(unit) => vec![unit],
                    None => all.keys().cloned().collect(),
                };
                for unit in &units {
                    let fact = NewFact {
                        unit: unit.clone(),
                        ..fact("", &name.clone().unwrap_or_default().to_string())
                    };
                    watchers.retain_mut(|watcher| watcher.tell(&fact));
                }
                let _ = reply.send(Ok(Marked { id, units }));
            }
            Request::Forget { units, reply } => {
                let missing = units.iter().find(|unit| !all.contains_key(*unit));
                let _ = reply.send(match missing {
                    Some(unit) => Err(not_found(unit.clone()).into()),
                    None => Ok(Forgotten {
                        open: units.clone(),
                        units,
                    }),
                });
            }
            Request::Freeze { unit, reply, .. } => {
                let shadow = Ok(shadow(&unit.to_string()).summary);
                let missing = || Err(not_found(unit.clone()).into());
                let _ = reply.send(if all.contains_key(&unit) {
                    shadow
                } else {
                    missing()
                });
            }
            Request::Unfreeze { unit, reply } => {
                let reason = format!("{unit} is not in shadow");
                let _ = reply.send(Err(ShadowError::Refused(reason)));
            }
            Request::Shadows { unit, reply } => {
                let unit = unit.unwrap_or_else(|| "nginx.service".into());
                let _ = reply.send(Ok(vec![shadow(&unit.to_string())]));
            }
            Request::Watch(watcher) => watchers.push(watcher),
        }
    }
}

/// Varlink by hand: what any client could send.
pub(super) struct Wire {
    pub(super) stream: UnixStream,
    pub(super) rest: Vec<u8>,
}

impl Wire {
    pub(super) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let rest = Vec::new();
        Self { stream, rest }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(super) fn ask(&mut self, message: &Value) {
        self.send(&[message.to_string().as_bytes(), b"\0"].concat());
    }

    /// The next reply; `None` at the end of the connection.
    pub(super) fn reply(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == 0) {
                let message: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&message[..end]).unwrap());
            }
            let mut buffer = [0; 8192];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => self.rest.extend(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.ask(&json!({"method": method, "parameters": parameters}));
        self.reply().unwrap()
    }
}

/// Waits for what another thread is about to do.
pub(super) fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
