//! The interface over real sockets. The core is a small one with real data: not the kernel side
//! is under test.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::{
    agent::{
        names::suggest,
        request::{
            Denial, FactKind, Forgotten, KernelSide, Link, MarkError, Marked, NameError, NewFact,
            ProfilePart, Shadow, ShadowError, ShadowProfile, ShadowSummary, Status, Time,
            UnitState, UnitSummary, Verdict, Watcher,
        },
        summary::summarise,
    },
    apply::Backend,
    observation::{Observation, Text, Word, from_json},
};

/// Runs `work` in a process of its own, where the memory and the descriptors are nobody else's: the
/// test `name`, which calls this, starts itself again there.
fn alone(name: &str, work: impl FnOnce()) {
    const ALONE: &str = "HARDEN_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("agent::control::tests::{name}")])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

const UNITS: [&str; 3] = ["cron.service", "nginx.service", r"evil\x2d\n.service"];

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

    fn connect(&self) -> Wire {
        Wire::connect(&self.socket)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn observation(name: &str) -> Observation {
    let json = include_bytes!("../../../tests/fixtures/observation.json");
    let mut observation = from_json(json).unwrap();
    observation.name = name.into();
    observation
}

pub(crate) fn summary(observation: &Observation) -> UnitSummary {
    summarise(observation, UnitState::Active)
}

fn time() -> Time {
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

fn fact(unit: &str, fact: &str) -> NewFact {
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
struct Wire {
    stream: UnixStream,
    rest: Vec<u8>,
}

impl Wire {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let rest = Vec::new();
        Self { stream, rest }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn ask(&mut self, message: &Value) {
        self.send(&[message.to_string().as_bytes(), b"\0"].concat());
    }

    /// The next reply; `None` at the end of the connection.
    fn reply(&mut self) -> Option<Value> {
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

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.ask(&json!({"method": method, "parameters": parameters}));
        self.reply().unwrap()
    }
}

fn kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits for what another thread is about to do.
fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_interface_describes_itself() {
    let agent = Agent::start(Limits::default());
    let mut wire = agent.connect();
    let info = wire.call("org.varlink.service.GetInfo", &json!({}));
    assert_eq!(
        info["parameters"]["interfaces"],
        json!([INTERFACE, "org.varlink.service"])
    );
    assert_eq!(info["parameters"]["version"], env!("CARGO_PKG_VERSION"));
    let reply = wire.call(
        "org.varlink.service.GetInterfaceDescription",
        &json!({"interface": INTERFACE}),
    );
    let text = reply["parameters"]["description"].as_str().unwrap();
    let interface = zlink::idl::Interface::try_from(text).unwrap();
    assert_eq!(interface.name(), INTERFACE);
    for method in interface.methods() {
        assert!(service::METHODS.contains(&format!("{INTERFACE}.{}", method.name()).as_str()));
    }
    assert_eq!(interface.methods().count() + 2, service::METHODS.len());
    // What goes over the wire is what is described.
    let samples = [
        ("UnitSummary", json!(summary(&observation("a.service")))),
        ("Status", json!(status(3))),
        ("NewFact", json!(fact("a.service", "read /"))),
        (
            "KernelSide",
            json!([KernelSide::Loaded, KernelSide::Adopted]),
        ),
        ("FactKind", json!(FactKind::ALL)),
        (
            "UnitState",
            json!(<UnitState as clap::ValueEnum>::value_variants()),
        ),
        (
            "Verdict",
            json!(<Verdict as clap::ValueEnum>::value_variants()),
        ),
        ("ShadowProfile", json!(profile())),
        ("ProfilePart", json!(profile().parts[0])),
        ("Link", json!(profile().links[0])),
        ("Backend", json!(Backend::ALL)),
        ("Shadow", json!(shadow("a.service"))),
        ("ShadowSummary", json!(shadow("a.service").summary)),
        ("Denial", json!(shadow("a.service").denials[0])),
        ("Marked", json!({"id": "", "units": []})),
        ("Forgotten", json!({"units": [], "open": []})),
    ];
    assert_eq!(interface.custom_types().count(), samples.len());
    for described in interface.custom_types() {
        let name = described.name().as_str();
        let mut names: Vec<String> = match described {
            zlink::idl::CustomType::Object(object) => object
                .fields()
                .map(|field| field.name().to_string())
                .collect(),
            zlink::idl::CustomType::Enum(variants) => variants
                .variants()
                .map(|variant| variant.name().to_string())
                .collect(),
        };
        let (_, sample) = samples.iter().find(|(sample, _)| *sample == name).unwrap();
        let mut sent: Vec<String> = match sample {
            Value::Object(fields) => fields.keys().cloned().collect(),
            other => serde_json::from_value(other.clone()).unwrap(),
        };
        names.sort();
        sent.sort();
        assert_eq!(names, sent, "{name}");
    }
    // The page shows it, with its own comments.
    let page = include_str!("../../../../docs/agent-interface.md");
    let shown = page.split("```varlink\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let shown = zlink::idl::Interface::try_from(shown).unwrap();
    assert_eq!(shape(&shown), shape(&interface));
}

/// An interface without its comments.
fn shape(interface: &zlink::idl::Interface<'_>) -> Vec<String> {
    let fields = |fields: Vec<&zlink::idl::Field<'_>>| {
        let fields = fields
            .iter()
            .map(|field| format!("{}: {}", field.name(), field.ty()));
        fields.collect::<Vec<_>>().join(", ")
    };
    let methods = interface.methods().map(|method| {
        format!(
            "method {}({}) -> ({})",
            method.name(),
            fields(method.inputs().collect()),
            fields(method.outputs().collect())
        )
    });
    let errors = interface.errors().map(|error| {
        format!(
            "error {} ({})",
            error.name(),
            fields(error.fields().collect())
        )
    });
    let types = interface.custom_types().map(|described| match described {
        zlink::idl::CustomType::Object(object) => {
            format!(
                "type {} ({})",
                object.name(),
                fields(object.fields().collect())
            )
        }
        zlink::idl::CustomType::Enum(variants) => {
            let names = variants
                .variants()
                .map(|variant| variant.name().to_string());
            format!(
                "type {} ({})",
                variants.name(),
                names.collect::<Vec<_>>().join(", ")
            )
        }
    });
    methods.chain(errors).chain(types).collect()
}

#[test]
fn each_method_answers() {
    let agent = Agent::start(Limits::default());
    let mut wire = agent.connect();
    let units = wire.call("io.harden.Agent.Units", &json!({}));
    let names: Vec<_> = units["parameters"]["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| unit["unit"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["cron.service", r"evil\\x2d\\n.service", "nginx.service"]
    );
    // Without parameters, as varlinkctl sends it.
    wire.ask(&json!({"method": "io.harden.Agent.Status"}));
    let status = wire.reply().unwrap();
    assert_eq!(status["parameters"]["status"]["kernel_side"], "adopted");
    assert_eq!(status["parameters"]["status"]["units"], 3);

    let observations = "io.harden.Agent.Observations";
    wire.ask(&json!({"method": observations, "parameters": {"units": []}, "more": true}));
    for (number, name) in names.iter().enumerate() {
        let reply = wire.reply().unwrap();
        assert_eq!(reply["continues"] == json!(true), number < 2, "{reply}");
        let json = reply["parameters"]["observation"].to_string();
        let read = from_json(json.as_bytes()).unwrap();
        assert_eq!(read.name.to_string(), *name);
        assert_eq!(read.runs, observation(name).runs);
    }
    let one = wire.call(observations, &json!({"units": ["cron.service"]}));
    assert_eq!(one["parameters"]["observation"]["name"], "cron.service");
    let escaped = wire.call(observations, &json!({"units": [r"evil\\x2d\\n.service"]}));
    assert!(
        escaped["parameters"]["observation"].is_object(),
        "{escaped}"
    );
    let many = wire.call(observations, &json!({"units": []}));
    assert_eq!(many["error"], "org.varlink.service.ExpectedMore");
    let none = wire.call(observations, &json!({"units": ["crond.service"]}));
    assert_eq!(none["error"], "io.harden.Agent.UnitNotFound");
    assert_eq!(none["parameters"]["near"], json!(["cron.service"]));

    let mark = wire.call(
        "io.harden.Agent.Mark",
        &json!({"name": "case 1", "unit": "cron.service"}),
    );
    assert_eq!(
        mark["parameters"],
        json!({"id": "0b7e", "units": ["cron.service"]})
    );
    let forgotten = wire.call(
        "io.harden.Agent.Forget",
        &json!({"units": ["cron.service"]}),
    );
    assert_eq!(
        forgotten["parameters"],
        json!({"units": ["cron.service"], "open": ["cron.service"]})
    );
    for name in [String::new(), "x".repeat(257)] {
        let refused = wire.call("io.harden.Agent.Mark", &json!({"name": name}));
        assert_eq!(refused["error"], "io.harden.Agent.MarkRefused");
    }
    // A call that wants no answer gets none.
    wire.ask(&json!({"method": "io.harden.Agent.Units", "oneway": true}));
    for parameters in [json!({}), json!({"a": 1}), Value::Null] {
        let next = wire.call("io.harden.Agent.Nothing", &parameters);
        assert_eq!(next["error"], "org.varlink.service.MethodNotFound");
        let next = wire.call("org.example.Nothing", &parameters);
        let error = next["error"].as_str().unwrap();
        assert!(error.starts_with("org.varlink.service."), "{error}");
    }
}

#[test]
fn an_agent_that_knows_no_unit_says_so() {
    let agent = Agent::with(Limits::default(), Vec::new(), None);
    let mut wire = agent.connect();
    wire.ask(&json!({"method": "io.harden.Agent.Observations", "parameters": {"units": []}, "more": true}));
    let reply = wire.reply().unwrap();
    assert!(reply["parameters"]["observation"].is_null(), "{reply}");
    assert!(reply["continues"].is_null(), "{reply}");
}

#[test]
fn new_facts_come_as_they_are_found_and_to_the_end() {
    let mut agent = Agent::start(Limits::default());
    let mut watcher = agent.connect();
    watcher.ask(&json!({"method": "io.harden.Agent.Watch", "parameters": {"unit": "cron.service"}, "more": true}));
    let mut wire = agent.connect();
    // Until the watcher is there.
    soon("no fact came", || {
        wire.call(
            "io.harden.Agent.Mark",
            &json!({"name": "read /etc/crontab"}),
        );
        watcher
            .stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        watcher.stream.read(&mut [0; 1]).is_ok()
    });
    // The first byte is gone.
    watcher.rest = b"{".to_vec();
    let fact = watcher.reply().unwrap();
    assert_eq!(fact["continues"], true);
    assert_eq!(fact["parameters"]["fact"]["unit"], "cron.service");
    assert_eq!(fact["parameters"]["fact"]["fact"], "read /etc/crontab");
    agent.stop();
    while watcher.reply().is_some() {}

    let agent = Agent::start(Limits::default());
    let refused = agent.connect().call("io.harden.Agent.Watch", &json!({}));
    assert_eq!(refused["error"], "org.varlink.service.ExpectedMore");
}

#[test]
fn what_is_no_call_ends_its_connection_and_no_other() {
    let agent = Agent::start(Limits::default());
    let mut good = agent.connect();
    for bytes in [
        &b"GET / HTTP/1.0\r\n\r\n\0"[..],
        b"\0",
        b"[]\0",
        b"{}\0",
        b"{\"method\": 7}\0",
        b"\xff\xfe\0",
        &[&b"[".repeat(60_000)[..], b"\0"].concat(),
    ] {
        let mut wire = agent.connect();
        wire.send(bytes);
        assert_eq!(wire.reply(), None, "{}", bytes.escape_ascii());
    }
    for call in [
        json!({"method": "io.harden.Agent.Observations", "parameters": {"units": 7}}),
        json!({"method": "io.harden.Agent.Mark", "parameters": {}}),
        json!({"method": "io.harden.Agent.Mark", "parameters": []}),
    ] {
        good.ask(&call);
        let error = good.reply().unwrap();
        assert_eq!(
            error["error"], "org.varlink.service.InvalidParameter",
            "{call}"
        );
    }
    assert!(good.call("io.harden.Agent.Units", &json!({}))["error"].is_null());
}

#[test]
fn an_endless_message_and_half_a_message_are_cut_off() {
    let agent = Agent::start(Limits {
        half: Duration::from_millis(200),
        ..Limits::default()
    });
    let mut endless = agent.connect();
    let chunk = b"x".repeat(4096);
    let mut sent = 0;
    while endless.stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
        assert!(sent < 64 << 20, "nobody stopped it");
    }
    let begun = Instant::now();
    let mut half = agent.connect();
    half.send(b"{\"method\":");
    assert_eq!(half.reply(), None);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(agent.connect().call("io.harden.Agent.Units", &json!({}))["error"].is_null());
}

#[test]
fn one_client_too_many_is_told_so_and_gets_in_when_another_goes() {
    let agent = Agent::start(Limits {
        connections: 4,
        reserved: 1,
        ..Limits::default()
    });
    let mut clients: Vec<Wire> = (0..4).map(|_| agent.connect()).collect();
    for client in &mut clients {
        client.call("io.harden.Agent.Status", &json!({}));
    }
    let mut late = agent.connect();
    let refusal = late.reply().unwrap();
    assert_eq!(
        refusal,
        json!({"error": "io.harden.Agent.TooManyConnections", "parameters": {"limit": 4}})
    );
    assert_eq!(late.reply(), None);
    drop(clients.pop());
    soon("no place was given back", || {
        let mut wire = agent.connect();
        wire.stream
            .write_all(b"{\"method\":\"io.harden.Agent.Units\"}\0")
            .is_ok()
            && wire.reply().is_some_and(|reply| reply["error"].is_null())
    });
}

#[test]
fn thousands_of_connections_cost_nothing_that_stays() {
    alone("thousands_of_connections_cost_nothing_that_stays", || {
        let agent = Agent::start(Limits::default());
        let rounds = |count: usize| {
            for _ in 0..count {
                let mut wire = agent.connect();
                wire.send(b"{\"method\":\"io.harden.Agent.Status\"}\0");
                assert!(wire.reply().is_some());
            }
        };
        let storm = || {
            let open: Vec<UnixStream> = (0..1_000)
                .map_while(|_| UnixStream::connect(&agent.socket).ok())
                .collect();
            assert_eq!(open.len(), 1_000);
        };
        storm();
        rounds(1_000);
        let (memory, files) = (kib("VmRSS:"), descriptors());
        rounds(10_000);
        storm();
        storm();
        soon("no connection is accepted any more", || {
            let mut wire = agent.connect();
            wire.stream
                .write_all(b"{\"method\":\"io.harden.Agent.Units\"}\0")
                .is_ok()
                && wire.reply().is_some_and(|reply| reply["error"].is_null())
        });
        soon("descriptors stay open", || descriptors() <= files + 2);
        let grown = kib("VmRSS:").saturating_sub(memory);
        assert!(grown < 2_048, "{grown} KiB more");
    });
}

#[test]
fn a_watcher_that_never_reads_costs_a_queue_and_no_more() {
    alone(
        "a_watcher_that_never_reads_costs_a_queue_and_no_more",
        || {
            let agent = Agent::start(Limits {
                queue: 16,
                ..Limits::default()
            });
            let mut sleeper = agent.connect();
            sleeper.ask(&json!({"method": "io.harden.Agent.Watch", "more": true}));
            let mut wire = agent.connect();
            let name = "n".repeat(250);
            let mut mark = |count: usize| {
                for _ in 0..count {
                    let reply = wire.call("io.harden.Agent.Mark", &json!({"name": name}));
                    assert!(reply["error"].is_null(), "{reply}");
                }
            };
            // 3,000 facts of 400 bytes: more than a socket's buffer holds.
            mark(1_000);
            let memory = kib("VmRSS:");
            mark(2_000);
            let grown = kib("VmRSS:").saturating_sub(memory);
            assert!(grown < 1_024, "{grown} KiB more");
            // It wakes up, and is told what it missed.
            let mut missed = 0;
            for _ in 0..9_000 {
                mark(1);
                let reply = sleeper.reply().unwrap();
                missed += reply["parameters"]["fact"]["lagged"].as_u64().unwrap();
                if missed > 100 {
                    return;
                }
            }
            panic!("only {missed} were left out");
        },
    );
}

#[test]
fn a_watcher_that_is_gone_gives_its_place_back_without_any_fact() {
    let agent = Agent::start(Limits {
        connections: 2,
        reserved: 0,
        ..Limits::default()
    });
    for _ in 0..20 {
        soon("its place is not given back", || {
            let mut watcher = agent.connect();
            let asked = watcher
                .stream
                .write_all(b"{\"method\":\"io.harden.Agent.Watch\",\"more\":true}\0")
                .is_ok();
            watcher
                .stream
                .set_read_timeout(Some(Duration::from_millis(20)))
                .unwrap();
            // Neither refused nor ended.
            asked
                && watcher
                    .stream
                    .read(&mut [0; 1])
                    .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
    }
}

/// Runs `work` in a process of user 65,534 in `group`; root alone can make one. Its exit status
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

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn the_client_gets_what_the_agent_has() {
    let mut agent = Agent::start(Limits::default());
    let socket = agent.socket.clone();
    run(async {
        let mut client = Client::connect(&socket).await.unwrap();
        assert_eq!(client.status().await.unwrap(), status(3));
        let units = client.units().await.unwrap();
        assert_eq!(units.len(), 3);
        assert_eq!(units[0], summary(&observation("cron.service")));
        let mut all = Vec::new();
        observations(&socket, &[], |json| {
            all.push(from_json(json.as_bytes()).unwrap());
        })
        .await
        .unwrap();
        let mut expected = UNITS.map(observation).to_vec();
        expected.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(all, expected);
        let error = observations(&socket, &["cronn.service".into()], |_| {
            panic!("there is none")
        })
        .await
        .unwrap_err()
        .to_string();
        assert_eq!(error, "no unit cronn.service was seen; is it cron.service?");
        let marked = client.mark(&"case".into(), None).await.unwrap();
        assert_eq!(marked.units.len(), 3);
    });
    agent.stop();
    let error = run(Client::connect(&socket)).unwrap_err();
    assert!(matches!(error, ClientError::NoAgent { .. }), "{error}");
    assert!(
        error.to_string().contains("sudo systemctl start harden"),
        "{error}"
    );
}

#[test]
fn a_client_that_is_refused_learns_why() {
    let agent = Agent::start(Limits {
        connections: 0,
        reserved: 0,
        ..Limits::default()
    });
    for _ in 0..20 {
        let error = run(async {
            let mut client = Client::connect(&agent.socket).await.unwrap();
            // Refused before the call is written, or while it is.
            client.units().await.unwrap_err()
        });
        let refused = AgentError::TooManyConnections { limit: 0 };
        assert!(
            matches!(&error, ClientError::Refused(error) if *error == refused),
            "{error}"
        );
        let error = run(observations(&agent.socket, &[], |_| {})).unwrap_err();
        assert!(
            matches!(&error, ClientError::Refused(error) if *error == refused),
            "{error}"
        );
    }
}
