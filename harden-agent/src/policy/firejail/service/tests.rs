use super::super::Target;
use super::*;
use crate::observation::{CapabilityCheck, Operation};
use crate::policy::DecisionOptions;
use crate::policy::fixture::Fixture;

fn daemon() -> Fixture {
    Fixture::new()
        .executable("/usr/sbin/d")
        .syscalls(&["read", "exit_group"])
}

fn decided_of(observation: &Observation, text: &str, launch: Launch) -> Service {
    let target = Target {
        launch,
        ..Target::default()
    };
    let basis = Basis::of(observation);
    let profile = Profile::decide(&basis, target, &DecisionOptions::default());
    let unit = UnitFile::parse(&format!("[Service]\n{text}"));
    Service::decide(&basis, &unit, &profile, "/etc/firejail/d.profile")
}

fn decided(text: &str) -> Service {
    decided_of(&daemon().observation(), text, Launch::Direct)
}

fn values(service: &Service, name: &str) -> Option<Vec<String>> {
    let settings = service.settings.given().unwrap().iter();
    let mut named = settings.filter(|setting| setting.name == name);
    let found = named.next().map(|setting| setting.values.clone());
    assert!(named.next().is_none(), "{name} twice");
    found
}

fn value(service: &Service, name: &str) -> Option<String> {
    values(service, name).map(|values| values.join("\n"))
}

const START: &str = "ExecStart=/usr/sbin/d -f\n";

#[test]
fn the_command_runs_under_firejail_with_or_without_a_shell() {
    let service = decided(START);
    assert_eq!(
        value(&service, "ExecStart").unwrap(),
        "/usr/bin/firejail --quiet --profile=/etc/firejail/d.profile /usr/sbin/d -f"
    );
    let bash = Launch::Shell("/bin/bash".to_owned());
    let service = decided_of(&daemon().observation(), START, bash);
    let start = value(&service, "ExecStart").unwrap();
    assert!(start.ends_with(" -- /usr/sbin/d -f"), "{start}");
}

#[test]
fn a_daemon_that_was_handed_its_sockets_is_left_to_systemd() {
    let is_given = |calls: &[&str]| {
        let observation = daemon().syscalls(calls).observation();
        let service = decided_of(&observation, START, Launch::Direct);
        service.settings.given().is_some()
    };
    assert!(is_given(&["socket", "bind", "listen", "accept4"]));
    assert!(!is_given(&["accept4"]));
    assert!(is_given(&["socket", "connect"]));
}

#[test]
fn a_user_whose_home_directory_would_be_emptied_is_recorded_first() {
    let looking = || daemon().file("/root/.rnd", Operation::Read, "ENOENT");
    let is_given = |uid: u32, text: &str| {
        let mut fixture = looking();
        fixture.run().uid = uid;
        let text = format!("{START}{text}");
        let service = decided_of(&fixture.observation(), &text, Launch::Direct);
        service.settings.given().is_some()
    };
    assert!(is_given(0, ""));
    assert!(!is_given(0, "User=d\n"));
    assert!(is_given(7, "User=d\n"));
}

#[test]
fn a_plain_service_needs_the_status_and_nothing_else() {
    let names: Vec<_> = decided(START)
        .settings
        .given()
        .unwrap()
        .iter()
        .map(|setting| setting.name)
        .collect();
    assert_eq!(names, ["ExecStart", "SuccessExitStatus"]);
}

#[test]
fn systemd_is_told_who_says_that_it_is_up() {
    for (text, name, expected) in [
        ("Type=notify", "NotifyAccess", Some("all")),
        ("Type=notify\nNotifyAccess=all", "NotifyAccess", None),
        ("Type=notify-reload", "Type", Some("notify")),
        ("Type=forking\nPIDFile=/run/d.pid", "Type", Some("simple")),
        ("Type=forking\nPIDFile=/run/d.pid", "PIDFile", Some("")),
        ("WatchdogSec=30", "WatchdogSec", Some("0")),
        ("WatchdogSec=0", "WatchdogSec", None),
    ] {
        let service = decided(&format!("{START}{text}\n"));
        assert_eq!(value(&service, name).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_signal_for_the_main_process_goes_to_the_daemon() {
    let service = decided(&format!(
        "{START}ExecReload=/usr/sbin/d -t\nExecReload=-/bin/kill -USR1 $MAINPID\n"
    ));
    assert_eq!(
        values(&service, "ExecReload").unwrap(),
        [
            "/usr/sbin/d -t",
            "-/bin/sh -c 'exec pkill -USR1 -P \"$$(pgrep -d, -P ${MAINPID})\"'"
        ]
    );
}

#[test]
fn a_command_that_finds_the_daemon_by_its_number_goes() {
    let text = format!(
        "{START}PIDFile=/run/d.pid\nExecReload=/usr/sbin/d -s reload\nExecStop=/sbin/stopper /run/d.pid\n"
    );
    // Nobody has seen it at work: kept, and the reader is told.
    let service = decided(&text);
    assert_eq!(values(&service, "ExecReload"), None);
    assert_eq!(values(&service, "ExecStop"), Some(vec![]));
    assert!(service.left.iter().any(|line| line.contains("ExecReload=")));

    let mut fixture = daemon();
    let reload = Fixture::new()
        .executable("/usr/sbin/d")
        .syscalls(&["kill"])
        .observation();
    let programs = reload.runs.into_values().next().unwrap().executables;
    fixture
        .run()
        .control
        .insert(ControlCommand::Reload, programs);
    let service = decided_of(&fixture.observation(), &text, Launch::Direct);
    assert_eq!(values(&service, "ExecReload"), Some(vec![]));
}

#[test]
fn what_firejail_cannot_live_with_is_taken_back() {
    let service = decided(&format!(
        "{START}RestrictNamespaces=yes\nRestrictSUIDSGID=true\nPrivateUsers=1\nProtectSystem=strict\n\
         CapabilityBoundingSet=\nSystemCallFilter=@system-service\nPrivateTmp=yes\n"
    ));
    assert_eq!(value(&service, "RestrictNamespaces").unwrap(), "no");
    assert_eq!(value(&service, "RestrictSUIDSGID").unwrap(), "no");
    assert_eq!(value(&service, "PrivateUsers").unwrap(), "no");
    assert_eq!(value(&service, "ReadWritePaths").unwrap(), "-/run/firejail");
    assert_eq!(
        value(&service, "ExecStartPre").unwrap(),
        "+/bin/mkdir -p -m 755 /run/firejail"
    );
    assert_eq!(
        value(&service, "CapabilityBoundingSet").unwrap(),
        CAPABILITIES
    );
    assert_eq!(values(&service, "SystemCallFilter"), Some(vec![]));
    assert_eq!(value(&service, "PrivateTmp"), None);
}

#[test]
fn where_the_profile_has_no_list_the_unit_keeps_its_own() {
    let mut observation = daemon().observation();
    for run in observation.runs.values_mut() {
        run.hooks.clear();
    }
    let text = format!("{START}SystemCallFilter=@system-service\n");
    let service = decided_of(&observation, &text, Launch::Direct);
    assert_eq!(value(&service, "SystemCallFilter").unwrap(), "@mount");
}

#[test]
fn what_cannot_be_started_so_is_refused() {
    for text in [
        "",
        "ExecStart=/usr/sbin/d\nSockets=d.socket\n",
        "ExecStart=/usr/sbin/d\nDynamicUser=yes\n",
        "ExecStart=/usr/sbin/d\nUser=d\nNoNewPrivileges=yes\n",
        "ExecStart=/usr/sbin/d\nUser=d\nRestrictNamespaces=~user\n",
        "ExecStart=/usr/sbin/d\nUser=d\nSystemCallArchitectures=native\n",
        // No continuation there, and one in front of the next line.
        "ExecStart=/usr/sbin/d \\ \n",
    ] {
        assert!(decided(text).settings.given().is_none(), "{text}");
    }
    let fine = "ExecStart=/usr/sbin/d\nUser=d\nNoNewPrivileges=no\n";
    assert!(decided(fine).settings.given().is_some());
    let root = "ExecStart=/usr/sbin/d\nUser=root\nNoNewPrivileges=yes\n";
    assert!(decided(root).settings.given().is_some());
}

#[test]
fn a_socket_that_triggers_it_is_refused() {
    let observation = daemon().observation();
    let basis = Basis::of(&observation);
    let profile = Profile::decide(&basis, Target::default(), &DecisionOptions::default());
    let mut unit = UnitFile::parse("[Service]\nExecStart=/usr/sbin/d\n");
    unit.triggered_by = vec!["d.timer".to_owned(), "d.socket".to_owned()];
    let service = Service::decide(&basis, &unit, &profile, "/etc/firejail/d.profile");
    assert!(service.settings.reasons()[0].starts_with("d.socket"));
}

#[test]
fn what_a_user_keeps_of_its_capabilities_it_loses_in_firejail_and_not_if_it_steps_down_there() {
    let unit = "User=www\nAmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW\n";
    // Not used, they are not missed.
    assert!(
        decided(&format!("{START}{unit}"))
            .settings
            .given()
            .is_some()
    );
    let fixture = daemon()
        .capability("net_bind_service", CapabilityCheck::Granted)
        .capability("net_raw", CapabilityCheck::Granted)
        .capability("chown", CapabilityCheck::Granted);
    let refused = decided_of(
        &fixture.observation(),
        &format!("{START}{unit}"),
        Launch::Direct,
    );
    let reasons = refused.settings.reasons().join("\n");
    assert!(
        reasons.contains(
            "ExecStart=!/usr/bin/setpriv --reuid=www --regid=www --init-groups \
             --inh-caps=-all,+net_bind_service,+net_raw --ambient-caps=-all,+net_bind_service,+net_raw -- COMMAND"
        ),
        "{reasons}"
    );
    let start = "ExecStart=!/usr/bin/setpriv --reuid=www -- /usr/sbin/d -f\n";
    let service = decided(&format!("{start}{unit}NoNewPrivileges=yes\n"));
    assert_eq!(
        value(&service, "ExecStart").unwrap(),
        "!/usr/bin/firejail --quiet --profile=/etc/firejail/d.profile /usr/bin/setpriv --reuid=www -- /usr/sbin/d -f"
    );
}
