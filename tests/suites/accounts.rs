//! What is proposed in place of root is enough, and less would not be.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Scratch, harden, met};

/// Debian's static numbers (base-passwd).
const MAIL: u32 = 8;
const NOBODY: &str = "65534";

/// Gives the file an access control list that allows reading to the group, and to the owning one nothing
/// (`include/uapi/linux/posix_acl_xattr.h`). setfacl(1) may not be there.
const GIVE: &str = r#"
import os, struct, sys
entries = [(0x01, 6, 0xffffffff), (0x04, 0, 0xffffffff), (0x08, 4, int(sys.argv[2])),
           (0x10, 4, 0xffffffff), (0x20, 0, 0xffffffff)]
value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
os.setxattr(sys.argv[1], "system.posix_acl_access", value)
"#;

/// Reads the file as an account of no group, or of one.
fn read_as(group: Option<u32>, file: &str) -> Result<Output> {
    let groups = match group {
        Some(group) => format!("--groups={group}"),
        None => "--clear-groups".to_owned(),
    };
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid", NOBODY, "--regid", NOBODY, &groups, "cat", file]);
    Ok(setpriv.output()?)
}

#[test]
fn a_group_of_an_access_control_list_is_joined() -> Result<()> {
    if !met(
        "a_group_of_an_access_control_list_is_joined",
        &["python3", "setpriv", "cat"],
    ) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/run"))?;
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
    let file = dir.path().join("key.pem");
    fs::write(&file, "secret\n")?;
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600))?;
    let file = file.to_str().context("UTF-8")?;
    let given = Command::new("python3")
        .args(["-c", GIVE, file, &MAIL.to_string()])
        .status()?;
    ensure!(given.success());

    let recorded = harden::record("reader", &[], &["cat", file])?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    let run = recorded.observation.runs.values().next().context("a run")?;
    let inodes = run.executables.values().find_map(|facts| {
        let mut files = facts.files.iter();
        files.find_map(|(path, facts)| (path.as_path() == Path::new(file)).then_some(&facts.inodes))
    });
    let inode = inodes
        .and_then(|inodes| inodes.first())
        .context(file.to_owned())?;
    let acl = inode.acl.as_ref().context("its list")?;
    assert_eq!((acl.group, acl.groups.get(&MAIL)), (0, Some(&4)));

    let observation = recorded.dir.path().join("reader.observation.json");
    let rendered = Command::new(harden::binary())
        .args(["render", "--format", "accounts", "--out"])
        .arg(recorded.dir.path())
        .arg(&observation)
        .output()?;
    ensure!(rendered.status.success(), "{rendered:?}");
    let sysusers = fs::read_to_string(recorded.dir.path().join("reader.sysusers.conf"))?;
    ensure!(
        sysusers.lines().any(|line| line == "m opsreader mail"),
        "{sysusers}"
    );
    // By its mode alone it would be given to a group of its own.
    ensure!(!sysusers.contains(" 0640 "), "{sysusers}");

    // The same work, as such an account, and without what was proposed.
    let joined = read_as(Some(MAIL), file)?;
    ensure!(joined.stdout == b"secret\n", "{joined:?}");
    let alone = read_as(None, file)?;
    ensure!(!alone.status.success(), "{alone:?}");
    Ok(())
}
