use proptest::{collection::vec, prelude::*, sample::select};

use super::{Unit, place, unit};
use crate::observation::Text;

/// The unit as text.
fn of(path: &str) -> Option<String> {
    unit(path.as_bytes()).map(|unit| unit.to_string())
}

fn assert_is(path: &str, expected: &str) {
    assert_eq!(of(path).as_deref(), Some(expected), "{path}");
}

#[test]
fn a_service_lies_in_a_slice() {
    assert_is("/system.slice/nginx.service", "nginx.service");
    assert_is("/system.slice/ssh.socket", "ssh.socket");
    assert_is("/nginx.service", "nginx.service");
    assert_is("/a.slice/a-b.slice/a-b-c.slice/x.service", "x.service");
}

#[test]
fn what_lies_deeper_belongs_to_it() {
    let service = "nginx.service";
    assert_is("/system.slice/nginx.service/.control", service);
    assert_is("/system.slice/nginx.service/worker/1", service);
    // systemd-nspawn without a systemd in it, and a delegated tree of services' names.
    assert_is("/system.slice/nginx.service/payload", service);
    assert_is("/system.slice/nginx.service/worker.service", service);
    assert_is("/system.slice/nginx.service/workers.slice", service);
    assert_is(
        "/system.slice/systemd-udevd.service/udev",
        "systemd-udevd.service",
    );
}

#[test]
fn the_directory_is_the_units_own() {
    let place = place(b"/system.slice/nginx.service/.control").expect("a unit");
    assert_eq!(place.directory, b"/system.slice/nginx.service");
    let path = b"/system.slice/_cpu.service";
    assert_eq!(super::place(path).expect("a unit").directory, path);
}

#[test]
fn names_of_kernel_files_are_escaped() {
    assert_is("/system.slice/_cpu.service", "cpu.service");
    assert_is("/system.slice/_cgroup.service", "cgroup.service");
    assert_is("/system.slice/__a.service", "_a.service");
    assert_is("/system.slice/_.a.service", ".a.service");
}

#[test]
fn escapes_of_names_stay() {
    assert_is(
        r"/system.slice/system-systemd\x2dcryptsetup.slice/systemd-cryptsetup@sda2\x2dcrypt.service",
        r"systemd-cryptsetup@sda2\x2dcrypt.service",
    );
    assert_is(
        r"/system.slice/dev-disk-by\x2dlabel-swap.swap",
        r"dev-disk-by\x2dlabel-swap.swap",
    );
}

#[test]
fn templates_have_a_slice_of_their_own() {
    assert_is(
        "/system.slice/system-getty.slice/getty@tty1.service",
        "getty@tty1.service",
    );
    assert_is(
        "/system.slice/system-a.slice/a@b@c.service",
        "a@b@c.service",
    );
    assert_eq!(of("/system.slice/getty@.service"), None);
}

#[test]
fn sessions_are_scopes() {
    assert_is(
        "/user.slice/user-1000.slice/session-3.scope",
        "session-3.scope",
    );
    assert_is(
        "/user.slice/user-0.slice/session-c1.scope",
        "session-c1.scope",
    );
}

#[test]
fn a_user_manager_has_units_of_its_own() {
    let root = "/user.slice/user-1000.slice/user@1000.service";
    assert_is(root, "user@1000.service");
    for below in [
        "app.slice/foo.service",
        "foo.service",
        "session.slice/foo.service/.control",
    ] {
        assert_is(&format!("{root}/{below}"), &format!("{root}:foo.service"));
    }
    assert_is(
        &format!(r"{root}/app.slice/app-dbus\x2d:1.2\x2dorg.a.slice/dbus-:1.2-org.a@0.service"),
        &format!("{root}:dbus-:1.2-org.a@0.service"),
    );
}

#[test]
fn a_user_manager_itself_is_the_service_that_runs_it() {
    let root = "/user.slice/user-1000.slice/user@1000.service";
    assert_is(&format!("{root}/init.scope"), "user@1000.service");
    assert_is(&format!("{root}/app.slice"), "user@1000.service");
    assert_is(&format!("{root}/.control"), "user@1000.service");
}

#[test]
fn the_first_process_is_the_manager() {
    assert_is("/init.scope", "init.scope");
    assert!(unit(b"/init.scope").is_some_and(|unit| unit.is_manager()));
    // What it makes of itself in a container whose cgroup is the root.
    assert_is("/payload/init.scope", "/payload:init.scope");
}

#[test]
fn nspawn_keeps_its_container_in_payload() {
    let outer = "/machine.slice/systemd-nspawn@deb.service";
    assert_is(&format!("{outer}/supervisor"), "systemd-nspawn@deb.service");
    let root = format!("{outer}/payload");
    assert_is(
        &format!("{root}/system.slice/x.service"),
        &format!("{root}:x.service"),
    );
    assert_is(&format!("{root}/init.scope"), &format!("{root}:init.scope"));
    assert_is(
        &format!("{root}/dev-mqueue.mount"),
        &format!("{root}:dev-mqueue.mount"),
    );
    // machined's own name for it.
    let root = "/machine.slice/machine-deb.scope/payload";
    assert_is(
        &format!("{root}/my.slice/x.service"),
        &format!("{root}:x.service"),
    );
}

#[test]
fn a_user_manager_in_a_container() {
    let root = "/machine.slice/machine-deb.scope/payload/user.slice/user-0.slice/user@0.service";
    assert_is(
        &format!("{root}/app.slice/x.service"),
        &format!("{root}:x.service"),
    );
    assert_is(
        &format!("{root}/init.scope"),
        "/machine.slice/machine-deb.scope/payload:user@0.service",
    );
}

#[test]
fn nspawn_without_a_unit_of_its_own() {
    // `--keep-unit`, started by a shell in the root of a hybrid host's version 2 tree.
    assert_is("/payload/system.slice/x.service", "/payload:x.service");
    assert_eq!(of("/supervisor"), None);
}

#[test]
fn containers_without_systemd_are_scopes() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_is(
        &format!("/system.slice/docker-{id}.scope"),
        &format!("docker-{id}.scope"),
    );
    assert_is(
        &format!("/machine.slice/libpod-{id}.scope/container"),
        &format!("libpod-{id}.scope"),
    );
    assert_is(
        &format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{id}.scope"
        ),
        &format!("cri-containerd-{id}.scope"),
    );
    let user = "/user.slice/user-1000.slice/user@1000.service";
    assert_is(
        &format!("{user}/user.slice/libpod-{id}.scope/container"),
        &format!("{user}:libpod-{id}.scope"),
    );
}

#[test]
fn containers_with_systemd_hold_another_manager() {
    for root in [
        "/system.slice/docker-0123.scope",
        "/machine.slice/libpod-0123.scope/container",
        "/docker/0123",
        "/lxc.payload.deb",
        "/kubepods/burstable/pod1/0123",
    ] {
        assert_is(
            &format!("{root}/system.slice/x.service"),
            &format!("{root}:x.service"),
        );
        assert_is(&format!("{root}/init.scope"), &format!("{root}:init.scope"));
    }
}

#[test]
fn a_container_in_a_container() {
    let root = "/machine.slice/machine-a.scope/payload/machine.slice/machine-b.scope/payload";
    assert_is(
        &format!("{root}/system.slice/x.service"),
        &format!("{root}:x.service"),
    );
}

#[test]
fn containers_without_any_unit_are_none() {
    for path in [
        "/docker/0123",
        "/kubepods/burstable/pod1/0123",
        "/harden-77",
    ] {
        assert_eq!(of(path), None, "{path}");
    }
}

#[test]
fn slices_hold_no_processes_of_a_unit() {
    for path in [
        "",
        "/",
        "/system.slice",
        "/a.slice/a-b.slice",
        "/user.slice/user-1000.slice",
    ] {
        assert_eq!(of(path), None, "{path}");
    }
}

#[test]
fn paths_from_outside_the_namespace_say_nothing() {
    assert_eq!(of("/../system.slice/x.service"), None);
    assert_eq!(of("/system.slice/../x.service"), None);
}

#[test]
fn names_that_systemd_would_refuse_are_none() {
    assert_eq!(unit(b"/system.slice/\xff.service"), None);
    assert_eq!(unit(b"/system.slice/a b.service"), None);
    assert_eq!(unit(b"/system.slice/.service"), None);
    assert_eq!(unit(b"/system.slice/x.service (deleted)"), None);
    let longest = "a".repeat(247);
    assert_is(
        &format!("/system.slice/{longest}.service"),
        &format!("{longest}.service"),
    );
    assert_eq!(of(&format!("/system.slice/a{longest}.service")), None);
    assert_eq!(of(&format!("/{}", "a/b.slice/".repeat(100_000))), None);
}

#[test]
fn roots_of_any_bytes_have_a_text() {
    let root = "/lxc.payload.%3A%FF%25%20%C3%A4";
    let path = b"/lxc.payload.:\xff% \xc3\xa4/system.slice/a:b.service";
    let unit = unit(path).expect("a unit");
    assert_eq!(unit.to_string(), format!("{root}:a:b.service"));
    assert_eq!(unit.manager().as_bytes(), b"/lxc.payload.:\xff% \xc3\xa4");
    assert_eq!(unit.to_string().parse::<Unit>().expect("its text"), unit);
}

#[test]
fn what_is_no_unit_is_refused() {
    for text in [
        "",
        "x",
        "a/b.service",
        "/a",
        "/a:b",
        "/a:",
        ":x.service/",
        "/%3a:x.service",
        "/%:x.service",
        "/é:x.service",
        "x y.service",
    ] {
        assert!(text.parse::<Unit>().is_err(), "{text}");
    }
}

#[test]
fn made_up_names_are_told_from_given_ones() {
    let made_up = |name: &str| Unit::of_system(name).expect("a name").is_transient_random();
    assert!(made_up("run-r0123456789abcdef0123456789abcdef.service"));
    assert!(made_up("run-r0123456789abcdef0123456789abcdef.scope"));
    assert!(made_up("run-u42.service"));
    assert!(made_up("run-p1234-i5678.service"));
    for name in [
        "run-r0123456789abcdef0123456789abcde.service",
        "run-r0123456789abcdef0123456789abcdeF.service",
        "run-u.service",
        "run-u4x.service",
        "run-p1-ix.service",
        "run-backup.service",
        // A mount of /run/u4.
        "run-u4.mount",
    ] {
        assert!(!made_up(name), "{name}");
    }
}

#[test]
fn units_with_a_made_up_name_go_by_their_program() {
    let program = Text::from("/usr/bin/a b");
    let run = unit(b"/system.slice/run-u42.service").expect("a unit");
    let key = run.key(&program);
    assert_eq!(key.to_string(), "run:/usr/bin/a%20b");
    assert_eq!(key.to_string().parse::<Unit>().expect("its text"), key);
    let run = unit(b"/payload/system.slice/run-u42.service").expect("a unit");
    let key = run.key(&program);
    assert_eq!(key.to_string(), "/payload:run:/usr/bin/a%20b");
    assert_eq!(key.to_string().parse::<Unit>().expect("its text"), key);
    let named = unit(b"/system.slice/nginx.service").expect("a unit");
    assert_eq!(named.key(&program), named);
}

/// Paths of what the rules know, in any order, and of anything.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let known = select(
        &[
            "system.slice",
            "a-b.slice",
            "user.slice",
            "x.service",
            "_cpu.service",
            "init.scope",
            "payload",
            "user@1.service",
            "run-u1.scope",
            ".control",
            "d",
            "",
            "..",
            "_",
            "-.mount",
        ][..],
    );
    let part = prop_oneof![
        9 => known.prop_map(|part| part.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..9),
    ];
    vec(part, 0..9).prop_map(|parts| [&b"/"[..], &parts.join(&b'/')].concat())
}

proptest! {
    #[test]
    fn any_path_is_taken(path in path()) {
        if let Some(place) = place(&path) {
            prop_assert!(path.starts_with(place.directory));
            prop_assert!(place.directory.starts_with(place.unit.manager().as_bytes()));
            let text = place.unit.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(text.parse::<Unit>().expect("its text"), place.unit);
        }
    }

    #[test]
    fn any_text_is_taken(text in any::<String>()) {
        if let Ok(unit) = text.parse::<Unit>() {
            prop_assert_eq!(unit.to_string(), text);
        }
    }

    #[test]
    fn a_units_own_directory_is_that_units(path in path()) {
        if let Some(place) = place(&path) {
            prop_assert_eq!(unit(place.directory), Some(place.unit));
        }
    }

    #[test]
    fn what_lies_below_a_service_is_its_own(deeper in vec("[a-z.]{1,9}", 0..5)) {
        let begins = deeper.iter().any(|part| part.contains(".slice") || part == "init.scope");
        prop_assume!(!begins && !deeper.iter().any(|part| part == "." || part == ".."));
        let path = format!("/system.slice/x.service/{}", deeper.join("/"));
        prop_assert_eq!(of(&path), Some("x.service".to_owned()));
    }
}

#[test]
fn one_of_many_goes_by_what_it_is_one_of() {
    let kind = |name: &str| Unit::of_system(name).expect("a name").kind();
    for (name, of) in [
        ("web@12-127.0.0.1:80-127.0.0.1:4711.service", "web@.service"),
        ("web@3-::1:80-::1:4711.service", "web@.service"),
        (
            "systemd-coredump@0-1234-0.service",
            "systemd-coredump@.service",
        ),
        ("log@7-99-1000-4.service", "log@.service"),
        ("session-3.scope", "session-.scope"),
        ("session-c1.scope", "session-.scope"),
    ] {
        let kind = kind(name).expect(name).to_string();
        assert_eq!(kind, of);
        // As a name, too, and of no other kind.
        assert_eq!(kind.parse::<Unit>().expect("its text").kind(), None);
    }
    for name in [
        "getty@tty1.service",
        "postgresql@15-main.service",
        r"backup@srv-data-1.service",
        "user@1000.service",
        "session-manager.service",
        "session-x.scope",
    ] {
        assert_eq!(kind(name), None, "{name}");
    }
    let in_payload = unit(b"/payload/system.slice/web@1-2-3.service").expect("a unit");
    let kind = in_payload.kind().expect("a kind");
    assert_eq!(kind.to_string(), "/payload:web@.service");
    assert!("@.service".parse::<Unit>().is_err());
}

#[test]
fn containers_go_by_their_program() {
    let hex = "0123456789abcdef".repeat(4);
    let name = format!("docker-{hex}.scope");
    assert!(
        Unit::of_system(&name)
            .expect("a name")
            .is_transient_random()
    );
    assert!(
        !Unit::of_system("docker-proxy.service")
            .expect("a name")
            .is_transient_random()
    );
}
