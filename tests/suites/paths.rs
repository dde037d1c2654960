//! Paths, addresses and arguments are recorded as what they are, and nothing beside.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result};
use harden_agent::observation::{AddressOperation, Executable, Run, Word};
use harden_tests::{
    Scratch, harden, met,
    observed::{acts, assert_same, facts, printed, printed_acts, run},
    programs::install,
    trees,
};

#[test]
fn every_act_has_its_fact_and_no_other() -> Result<()> {
    if !met("every_act_has_its_fact_and_no_other", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let program = install("acts", &bin)?;
    for options in [&[][..], &["--task-hash"]] {
        // The places differ in file system; both are no places of harden's own.
        for parent in ["/var/tmp", "/dev/shm"] {
            let tree = Scratch::new(Path::new(parent))?;
            trees::for_acts(tree.path())?;
            let recorded = harden::record(
                "acts",
                options,
                &[program.as_os_str(), tree.path().as_os_str()],
            )?;
            assert_eq!(recorded.status, 0, "{}", recorded.output);
            let expected = printed_acts(&recorded.output);
            assert!(expected.len() > 70, "{}", recorded.output);
            let facts = facts(&recorded.observation, "acts");
            let observed = acts(facts, tree.path());
            assert_same(&expected, &observed);
            links(run(&recorded.observation), facts, tree.path());
            owners(facts, tree.path())?;
            addresses(facts, tree.path());
        }
    }
    Ok(())
}

/// What was opened by a link is there under its own name, with the links that led there.
fn links(run: &Run, facts: &Executable, tree: &Path) {
    let file = |name: &str| {
        let path = tree.join(name);
        let found = facts.files.iter().find(|(file, _)| file.as_path() == path);
        found.unwrap_or_else(|| panic!("{name}")).1
    };
    let asked = |name: &str| -> Vec<_> {
        let names = file(name).asked_as.iter();
        names
            .map(|asked| asked.as_path().strip_prefix(tree).expect("below the tree"))
            .collect()
    };
    assert_eq!(asked("dir/linked"), [Path::new("link")]);
    assert_eq!(asked("dir/chained"), [Path::new("chain")]);
    assert_eq!(asked("dir/through"), [Path::new("dirlink/through")]);
    assert_eq!(asked("sibling"), [Path::new("dir/../sibling")]);
    assert!(file("dir/linked").resolved);
    assert!(!file("missing").resolved);
    for (link, text) in [
        ("link", "dir/linked"),
        ("chain", "chained"),
        ("chained", "dir/chained"),
        ("dirlink", "dir"),
        ("loop", "loop"),
    ] {
        let link = tree.join(link);
        let found = run.symlinks.iter().find(|(path, _)| path.as_path() == link);
        assert_eq!(found.map(|(_, text)| text.as_path()), Some(Path::new(text)));
    }
}

/// Device, number, mode and owner are those that stat gives.
fn owners(facts: &Executable, tree: &Path) -> Result<()> {
    for name in ["b", "data", "dir", "dir/inner"] {
        let path = tree.join(name);
        let status = fs::metadata(&path)?;
        let (_, file) = facts
            .files
            .iter()
            .find(|(file, _)| file.as_path() == path)
            .context(name)?;
        let same = |inode: &&harden_agent::observation::Inode| {
            (inode.device, inode.number, inode.mode, inode.uid, inode.gid)
                == (
                    status.dev(),
                    status.ino(),
                    status.mode(),
                    status.uid(),
                    status.gid(),
                )
        };
        assert!(
            file.inodes.iter().any(|inode| same(&inode)),
            "{name}: {:?} {status:?}",
            file.inodes
        );
    }
    Ok(())
}

fn addresses(facts: &Executable, tree: &Path) {
    let observed: BTreeSet<_> = facts
        .addresses
        .iter()
        .flat_map(|(operation, addresses)| {
            addresses
                .keys()
                .map(move |address| (*operation, address.to_string()))
        })
        .collect();
    let unix = |name: &str| format!("unix {}", tree.join(name).display());
    for (operation, address) in [
        (AddressOperation::Bind, unix("socket")),
        (AddressOperation::Connect, unix("socket")),
        (AddressOperation::Connect, unix("nosocket")),
        (AddressOperation::Send, unix("nodgram")),
    ] {
        assert!(
            observed.contains(&(operation, address.clone())),
            "{address}: {observed:?}"
        );
    }
}

#[test]
fn addresses_that_are_no_files() -> Result<()> {
    if !met("addresses_that_are_no_files", &["python3"]) {
        return Ok(());
    }
    let script = "
import socket as s
a = s.socket(s.AF_UNIX); a.bind(b'\\0abstract'); a.listen()
s.socket(s.AF_UNIX).connect(b'\\0abstract')
b = s.socket(); b.bind(('127.0.0.1', 45681)); b.listen()
s.socket().connect(('127.0.0.1', 45681))
c = s.socket(s.AF_INET6, s.SOCK_DGRAM); c.bind(('::1', 45682))
s.socket(s.AF_INET6, s.SOCK_DGRAM).sendto(b'x', ('::1', 45682))
d = s.socket(s.AF_NETLINK, s.SOCK_RAW, 0); d.bind((0, 1))
e = s.socket(); e.connect_ex(('127.0.0.1', 45683))
";
    let recorded = harden::record("addresses", &[], &["/usr/bin/python3", "-c", script])?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let run = run(&recorded.observation);
    let facts = run.executables.values().next().context("python")?;
    let mut observed = Vec::new();
    for (operation, addresses) in &facts.addresses {
        for (address, outcomes) in addresses {
            let outcomes = outcomes.keys().map(|outcome| outcome.0.as_str());
            observed.push(format!(
                "{operation:?} {address} {}",
                outcomes.collect::<Vec<_>>().join(" ")
            ));
        }
    }
    assert_eq!(
        observed,
        [
            "Bind inet 127.0.0.1:45681 ok",
            "Bind inet6 [::1]:45682 ok",
            "Bind netlink groups 0x1 ok",
            "Bind unix @abstract ok",
            "Connect inet 127.0.0.1:45681 ok",
            "Connect inet 127.0.0.1:45683 ECONNREFUSED",
            "Connect unix @abstract ok",
            "Send inet6 [::1]:45682 ok",
        ]
    );
    let families: Vec<_> = facts
        .families
        .keys()
        .map(harden_agent::observation::Word::as_str)
        .collect();
    assert_eq!(families, ["inet", "inet6", "netlink", "unix"]);
    let types: Vec<_> = facts.socket_types.keys().map(Word::as_str).collect();
    assert_eq!(types, ["dgram", "raw", "stream"]);
    let sockets: BTreeSet<_> = facts
        .sockets
        .keys()
        .map(|socket| format!("{} {}", socket.family, socket.kind))
        .collect();
    let expected = ["inet stream", "inet6 dgram", "netlink raw", "unix stream"];
    assert_same(&expected.map(str::to_owned).into(), &sockets);
    assert_eq!(
        recorded.profile.list("protocol"),
        ["unix", "inet", "inet6", "netlink"]
    );
    Ok(())
}

#[test]
fn arguments_with_a_rule_of_their_own() -> Result<()> {
    if !met("arguments_with_a_rule_of_their_own", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let program = install("arguments", &bin)?;
    let recorded = harden::record("arguments", &[], &[program.as_os_str()])?;
    let expected = printed(&recorded.output, |line| {
        !line.contains([' ', ':']) && line.contains('-')
    });
    let facts = facts(&recorded.observation, "arguments");
    let observed: BTreeSet<_> = facts
        .arguments
        .keys()
        .map(|fact| fact.as_str().to_owned())
        .collect();
    assert_eq!(observed, expected);
    assert!(expected.len() > 15);
    Ok(())
}

#[test]
fn a_path_is_the_same_whatever_the_mounts() -> Result<()> {
    if !met(
        "a_path_is_the_same_whatever_the_mounts",
        &["unshare", "chroot"],
    ) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    for name in ["source", "bound", "lower", "upper", "work", "over", "jail"] {
        fs::create_dir(tree.path().join(name))?;
    }
    fs::write(tree.path().join("source/file"), "")?;
    fs::write(tree.path().join("lower/below"), "")?;
    // tmpfs: not every file system can be the upper layer.
    let script = "
cd \"$1\" && mount --bind source bound && cat bound/file &&
mount -t tmpfs none work && mkdir work/up work/work &&
mount -t overlay -o lowerdir=lower,upperdir=work/up,workdir=work/work none over &&
cat over/below && echo >over/new &&
mount --rbind / jail && chroot jail /bin/cat /etc/hostname";
    let path = tree.path().to_str().context("a path in UTF-8")?;
    let recorded = harden::record(
        "mounts",
        &[],
        &[
            "/usr/bin/unshare",
            "--mount",
            "/bin/sh",
            "-c",
            script,
            "sh",
            path,
        ],
    )?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let read = acts(facts(&recorded.observation, "cat"), tree.path());
    for act in [
        "read ok bound/file",
        "read ok over/below",
        "read ok jail/etc/hostname",
    ] {
        assert!(read.contains(act), "{act}: {read:#?}");
    }
    let shell = facts(&recorded.observation, "dash");
    assert!(acts(shell, tree.path()).contains("create ok over/new"));
    let jailed = acts(facts(&recorded.observation, "chroot"), tree.path());
    assert!(jailed.contains("chroot ok jail"), "{jailed:#?}");
    Ok(())
}

#[test]
fn no_capability_that_was_only_wondered_about() -> Result<()> {
    if !met("no_capability_that_was_only_wondered_about", &["cat", "ls"]) {
        return Ok(());
    }
    for command in [&["/bin/cat", "/etc/hostname"], &["/bin/ls", "/usr"]] {
        let recorded = harden::record("plain", &[], command)?;
        assert!(recorded.profile.has("caps.drop all"), "{command:?}");
        assert_eq!(recorded.profile.list("caps.keep"), [""; 0], "{command:?}");
    }
    Ok(())
}

/// The kernel gives a new directory the memory of one that was removed.
#[test]
fn short_lived_directories_are_told_apart() -> Result<()> {
    if !met("short_lived_directories_are_told_apart", &["python3"]) {
        return Ok(());
    }
    let script = "
import os, sys
for i in range(300):
    d = f'{sys.argv[1]}/{i}'; os.mkdir(d); os.chdir(d)
    os.close(os.open('f', os.O_CREAT)); os.unlink('f'); os.chdir('/'); os.rmdir(d)
";
    let tree = Scratch::new(Path::new("/dev/shm"))?;
    let path = tree.path().to_str().context("a path in UTF-8")?;
    let recorded = harden::record("short", &[], &["/usr/bin/python3", "-c", script, path])?;
    let mut programs = run(&recorded.observation).executables.values();
    let acts = acts(programs.next().context("python")?, tree.path());
    for act in ["create ok", "unlink ok", "rmdir ok"] {
        let times = acts.iter().filter(|line| line.starts_with(act)).count();
        assert_eq!(times, 300, "{act}");
    }
    Ok(())
}

/// cat looks at its standard output; only the shell, which opened that file, needs its path.
#[test]
fn a_descriptor_that_was_handed_over_needs_no_path() -> Result<()> {
    if !met(
        "a_descriptor_that_was_handed_over_needs_no_path",
        &["sh", "cat"],
    ) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/dev/shm"))?;
    let script = format!(
        "/bin/cat /etc/hostname > {}/out; true",
        tree.path().display()
    );
    let recorded = harden::record("handed", &[], &["/bin/sh", "-c", &script])?;
    let used = |end: &str| {
        let programs = &run(&recorded.observation).executables;
        let program = programs
            .iter()
            .find(|(path, _)| path.to_string().ends_with(end));
        program.map(|(_, facts)| acts(facts, tree.path()))
    };
    assert_eq!(used("/cat"), Some(BTreeSet::new()));
    assert!(used("sh").context("the shell")?.contains("create ok out"));
    Ok(())
}
