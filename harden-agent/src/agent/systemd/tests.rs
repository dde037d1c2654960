use std::{
    collections::HashMap,
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    time::{Duration, Instant},
};

use zbus::zvariant::{OwnedValue, Value};

use super::{Description, Error, Ran, Role, Systemd};

type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

fn command(argv: &[&str], pid: u32) -> Command {
    let argv: Vec<_> = argv.iter().map(ToString::to_string).collect();
    (argv[0].clone(), argv, false, 1, 2, 3, 4, pid, 1, 0)
}

fn properties(pairs: Vec<(&str, Value<'_>)>) -> HashMap<String, OwnedValue> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| {
            let value = value.try_to_owned().expect("no file descriptor");
            (name.to_owned(), value)
        })
        .collect()
}

fn describe(pairs: Vec<(&str, Value<'_>)>) -> Description {
    Description::of(&properties(pairs))
}

#[test]
fn every_command_has_the_process_that_ran_it() {
    let description = describe(vec![
        ("Type", "forking".into()),
        ("MainPID", 12_u32.into()),
        ("ControlPID", 0_u32.into()),
        (
            "ExecStartPre",
            vec![
                command(&["/bin/sh", "-c", "a"], 8),
                command(&["/bin/sh"], 9),
            ]
            .into(),
        ),
        ("ExecStart", vec![command(&["/sbin/d", "-b"], 11)].into()),
        ("ExecReload", vec![command(&["/bin/kill"], 0)].into()),
        ("ExecStopPost", vec![command(&["/bin/rm"], 20)].into()),
    ]);
    assert_eq!(description.argv, ["/sbin/d", "-b"]);
    assert_eq!(description.main_pid, Some(12));
    assert_eq!(description.control_pid, None);
    let first = Ran {
        pid: 8,
        role: Role::StartPre,
        argv: ["/bin/sh", "-c", "a"].map(str::to_owned).to_vec(),
    };
    assert_eq!(description.roles[0], first);
    assert_eq!(description.role(9), Some(Role::StartPre));
    assert_eq!(description.role(11), Some(Role::Start));
    assert_eq!(description.role(12), Some(Role::Start));
    assert_eq!(description.role(20), Some(Role::StopPost));
    assert_eq!(description.role(0), None);
    assert_eq!(description.role(13), None);
}

#[test]
fn a_service_that_never_ran_has_its_command() {
    let description = describe(vec![("ExecStart", vec![command(&["/sbin/d"], 0)].into())]);
    assert_eq!(description.argv, ["/sbin/d"]);
    assert_eq!(description.roles, []);
}

#[test]
fn the_status_is_as_a_shell_has_it() {
    let status = |code: i32, status: i32| {
        describe(vec![
            ("ExecMainCode", code.into()),
            ("ExecMainStatus", status.into()),
        ])
        .exit_status
    };
    assert_eq!(status(0, 0), None);
    assert_eq!(status(1, 3), Some(3));
    assert_eq!(status(2, 9), Some(137));
    assert_eq!(status(3, 31), Some(159));
    assert_eq!(status(2, i32::MAX), None);
}

#[test]
fn ids_and_users_that_are_not_set_are_absent() {
    let unset = describe(vec![
        ("InvocationID", vec![0_u8; 16].into()),
        ("UID", u32::MAX.into()),
        ("User", "".into()),
    ]);
    assert_eq!(unset, Description::default());
    let set = describe(vec![
        ("InvocationID", vec![0xa1_u8; 16].into()),
        ("UID", 0_u32.into()),
        ("User", "www".into()),
    ]);
    assert_eq!(set.invocation, Some("a1".repeat(16)));
    assert_eq!(set.uid, Some(0));
    let started = describe(vec![(
        "InactiveExitTimestampMonotonic",
        7_000_000_u64.into(),
    )]);
    assert_eq!(started.started, Some(7_000_000_000));
    let times = (0_u64, 0_u64, 0_u64, 0_u64);
    for (flag, uid) in [("no-setuid", 0), ("privileged", 0), ("ignore-failure", 990)] {
        let (a, b, c, d) = times;
        let command = (
            "/sbin/d",
            vec!["/sbin/d"],
            vec![flag],
            a,
            b,
            c,
            d,
            11_u32,
            0_i32,
            0_i32,
        );
        let set = describe(vec![
            ("UID", 990_u32.into()),
            ("ExecStartEx", vec![command].into()),
        ]);
        assert_eq!(set.uid, Some(uid), "{flag}");
    }
    assert_eq!(set.user.as_deref(), Some("www"));
}

#[test]
fn a_unit_without_filters_has_none() {
    let none: Vec<String> = Vec::new();
    let free = describe(vec![
        ("SystemCallFilter", (false, none.clone()).into()),
        ("RestrictAddressFamilies", (false, none.clone()).into()),
        ("SystemCallArchitectures", none.into()),
        ("RestrictNamespaces", u64::MAX.into()),
        ("CapabilityBoundingSet", u64::MAX.into()),
        ("ProtectHostname", "no".into()),
        ("PrivateDevices", false.into()),
        ("NoNewPrivileges", false.into()),
    ]);
    assert_eq!(free, Description::default());
}

#[test]
fn options_that_are_filters_are_told() {
    let confined = describe(vec![
        ("SystemCallFilter", (true, vec!["read"]).into()),
        (
            "RestrictAddressFamilies",
            (true, Vec::<String>::new()).into(),
        ),
        ("SystemCallArchitectures", vec!["native"].into()),
        ("RestrictNamespaces", 0x0002_0000_u64.into()),
        ("CapabilityBoundingSet", 1_u64.into()),
        ("ProtectHostname", "private".into()),
        ("PrivateDevices", true.into()),
        ("NoNewPrivileges", true.into()),
    ]);
    assert_eq!(
        confined.filters,
        [
            "PrivateDevices",
            "ProtectHostname",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "SystemCallArchitectures",
            "SystemCallFilter",
        ]
    );
    assert_eq!(confined.bounding_set, Some(1));
    assert!(confined.no_new_privileges);
}

#[test]
fn values_of_other_types_are_no_values() {
    let odd = describe(vec![
        ("InvocationID", "text".into()),
        ("Type", 1_u32.into()),
        ("UID", "root".into()),
        ("MainPID", 1_u64.into()),
        ("ExecStart", vec!["text"].into()),
        ("ExecStop", (1_u32, 2_u32).into()),
        ("ExecMainCode", 1_i32.into()),
        ("SystemCallFilter", vec!["read"].into()),
        ("CapabilityBoundingSet", "all".into()),
        ("RestrictNamespaces", false.into()),
        ("NoNewPrivileges", 1_u32.into()),
    ]);
    assert_eq!(odd, Description::default());
}

#[test]
fn the_invocation_is_read_from_its_link() {
    let root = tempfile::tempdir().expect("a directory");
    let units = root.path().join("run/systemd/units");
    fs::create_dir_all(&units).expect("a directory");
    let id = "7825ed128af94050a704d4320ae32e01";
    for (text, unit) in [(id, r"a-b\x2dc.service"), ("/etc/passwd", "odd.service")] {
        symlink(text, units.join(format!("invocation:{unit}"))).expect("a link");
    }
    symlink(id, root.path().join("run/systemd/elsewhere.service")).expect("a link");
    let systemd = Systemd::at(root.path());
    assert_eq!(
        systemd.invocation_id(r"a-b\x2dc.service").as_deref(),
        Some(id)
    );
    for unit in [
        "odd.service",
        "absent.service",
        "/../../elsewhere.service",
        "",
    ] {
        assert_eq!(systemd.invocation_id(unit), None, "{unit}");
    }
}

#[tokio::test]
async fn without_systemd_there_is_an_error() {
    let root = tempfile::tempdir().expect("a directory");
    let systemd = Systemd::at(root.path());
    let error = systemd
        .describe("a.service")
        .await
        .expect_err("nobody there");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn whoever_does_not_answer_is_not_waited_for() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("run/dbus")).expect("a directory");
    // While a machine starts, the socket is there before the bus.
    let _silent = UnixListener::bind(root.path().join("run/dbus/system_bus_socket"));
    let systemd = Systemd::at(root.path()).patience(Duration::from_millis(100));
    for _ in 0..2 {
        let begin = Instant::now();
        let error = systemd.describe("a.service").await.expect_err("silence");
        assert!(matches!(error, Error::TimedOut(_)), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
