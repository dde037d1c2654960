//! What each method answers, and that the interface is the one that is described.

use std::io::Read as _;

use serde_json::{Value, json};

use super::{super::*, stage::*};
use crate::{
    agent::request::{FactKind, KernelSide, UnitState, Verdict},
    apply::Backend,
    observation::from_json,
};

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
    let page = include_str!("../../../../../docs/agent-interface.md");
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
