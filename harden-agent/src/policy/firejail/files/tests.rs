use super::super::super::basis::Basis;
use super::super::super::fixture::Fixture;
use super::roots::{CROWD, disperse, has_within};
use super::*;
use crate::observation::Operation;

fn decided(fixture: Fixture) -> Files {
    let observation = fixture.observation();
    let basis = Basis::of(&observation);
    let defaults = super::super::defaults::decide(&basis);
    let context = Context {
        defaults: &defaults,
        private_tmp: true,
        generalisation: Generalisation::Normal,
    };
    decide(&basis, &context)
}

fn values(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.value.as_str()).collect()
}

fn program() -> Fixture {
    Fixture::new().executable("/usr/sbin/d")
}

#[test]
fn directories_that_nobody_touched_are_hidden() {
    let files = decided(
        program()
            .file("/root/.rc", Operation::Read, "ENOENT")
            .command(&["/usr/sbin/d", "/home/x"])
            .link("/data", "/srv/data"),
    );
    assert_eq!(values(&files.blacklist), ["/media", "/mnt", "/opt"]);
}

#[test]
fn what_was_changed_is_lifted_out_of_what_is_frozen() {
    let files = decided(
        program()
            .file("/var/lib/d/state", Operation::Create, "ok")
            .file("/var/lib/d/sub", Operation::Mkdir, "ok")
            .file("/var/lib/d/sub/x", Operation::Create, "ok")
            .file("/srv/data", Operation::Write, "ok")
            .file("/srv/other", Operation::Read, "ok"),
    );
    assert_eq!(values(&files.read_only), ["/srv", "/usr", "/var"]);
    assert_eq!(values(&files.read_write), ["/srv/data", "/var/lib/d"]);
    // The next file of /srv would be hidden.
    assert_eq!(values(&files.whitelist), ["/var/lib/d"]);
}

#[test]
fn a_crowd_is_its_directory_and_may_make_another_crowd() {
    let root = |path: String| (path.into_bytes(), Evidence::default());
    let few = ["/srv/d/a".to_owned(), "/srv/d-e/a".to_owned()];
    let many = (0..=CROWD).map(|number| format!("/srv/d/many-{number}"));
    let deep =
        (0..=CROWD).flat_map(|one| (0..=CROWD).map(move |two| format!("/srv/e/{one}/{two}")));
    let mut roots = few.into_iter().chain(many).chain(deep).map(root).collect();
    disperse(b"/srv", &mut roots);
    let left: Vec<Text> = roots
        .keys()
        .map(|root| Text::from(root.as_slice()))
        .collect();
    assert_eq!(left, ["/srv/d", "/srv/d-e/a", "/srv/e"].map(Text::from));
    assert!(has_within(&roots, b"/srv/d-e"));
    assert!(has_within(&roots, b"/srv/d"));
    assert!(!has_within(&roots, b"/srv/d-"));
}

#[test]
fn a_file_made_at_the_top_forbids_the_rules_there() {
    let files = decided(program().file("/srv/new", Operation::Create, "ok").file(
        "/var/new",
        Operation::Create,
        "ok",
    ));
    assert_eq!(values(&files.read_only), ["/usr"]);
    assert!(files.whitelist.is_empty());
    assert!(files.writable_var.is_some());
}

#[test]
fn what_was_changed_in_usr_stays_writable_where_other_files_are_not_known() {
    let blind = |path| {
        let mut fixture = program().file(path, Operation::Write, "ok");
        fixture.run().hooks.remove("files");
        values(&decided(fixture).read_write).join(" ")
    };
    assert_eq!(blind("/usr/share/d/x"), "/usr");
    assert_eq!(blind("/var/lib/d/x"), "");
}

#[test]
fn a_replaced_file_stands_for_its_directory() {
    let files = decided(
        program()
            .file("/srv/a/f.new", Operation::RenameFrom, "ok")
            .file("/srv/a/f.new", Operation::Create, "ok")
            .file("/srv/a/f", Operation::RenameTo, "ok"),
    );
    assert_eq!(values(&files.whitelist), ["/srv/a"]);
    assert_eq!(values(&files.read_write), ["/srv/a"]);
}

#[test]
fn what_files_move_between_stays_one_mount() {
    let files = decided(
        program()
            .file("/srv/d/in/f", Operation::RenameFrom, "ok")
            .file("/srv/d/out/f", Operation::RenameTo, "ok"),
    );
    assert_eq!(values(&files.whitelist), ["/srv/d"]);
    assert_eq!(values(&files.read_write), ["/srv/d"]);
    let files = decided(
        program()
            .file("/srv/in/f", Operation::RenameFrom, "ok")
            .file("/opt/out/f", Operation::RenameTo, "ok"),
    );
    assert_eq!(values(&files.read_only), ["/usr"]);
    assert!(files.whitelist.is_empty());
}

#[test]
fn several_sites_are_shown_with_what_will_lie_beside_them() {
    let with = |other: &str| {
        let fixture = Fixture::new()
            .executable("/a")
            .file("/var/www/html/index.html", Operation::Read, "ok")
            .file(other, Operation::Read, "ok");
        decided(fixture).whitelist
    };
    assert_eq!(values(&with("/var/www/html/d/x")), ["/var/www/html"]);
    assert_eq!(values(&with("/var/www/first/x")), ["/var/www"]);
}

#[test]
fn a_listed_directory_is_shown_whole_and_a_passed_one_is_not() {
    let files = decided(
        program()
            .file("/srv/a", Operation::Stat, "ok")
            .file("/srv/a/b", Operation::Read, "ok")
            .file("/srv/c", Operation::Stat, "ok")
            .listing("/opt"),
    );
    assert_eq!(values(&files.whitelist), ["/srv/a", "/srv/c"]);
    assert!(
        files
            .withheld
            .iter()
            .any(|one| one.rule.to_string() == "whitelist /opt")
    );
}

#[test]
fn links_on_the_way_are_shown() {
    let files = decided(
        program()
            .link("/opt/current", "app-1.2")
            .file_asked(
                "/opt/app-1.2/x",
                Some("/opt/current/x"),
                Operation::Read,
                "ok",
            )
            .link("/var/run", "/run")
            .file_asked("/run/x", Some("/var/run/x"), Operation::Read, "ok"),
    );
    assert_eq!(
        values(&files.whitelist),
        ["/opt/app-1.2", "/opt/current", "/var/run"]
    );
}

#[test]
fn a_path_that_no_line_can_hold_is_shown_with_its_directory() {
    let files = decided(program().file("/srv/a/b\nc", Operation::Read, "ok").file(
        "/opt/#",
        Operation::Read,
        "ok",
    ));
    assert_eq!(values(&files.whitelist), ["/srv/a"]);
}

#[test]
fn crowds_are_listed_whole() {
    let mut fixture = program();
    for at in 0..100 {
        fixture = fixture.file(format!("/usr/share/z/{at}"), Operation::Read, "ok");
    }
    assert_eq!(values(&decided(fixture).whitelist), ["/usr/share/z"]);
}
