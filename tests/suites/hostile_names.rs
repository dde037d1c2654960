//! Whatever a file is called, no line of the profile says what its name wants it to say.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::LazyLock,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{observation, profile};
use harden_tests::{Profile, Scratch, harden, met, programs};

/// Names that mean something to Firejail, to a shell, to a terminal or to a person who reads a list.
const HOSTILE: [&[u8]; 24] = [
    b"new\nline",
    b"x\nnoblacklist ${HOME}\nwhitelist \nignore seccomp\n",
    b"# comment",
    b"a#b",
    b"a,b",
    b"*",
    b"?[a-z]",
    b"%50",
    b"${HOME}",
    b"$(reboot)",
    b"\"quoted\"",
    b"it's",
    b"a b  c",
    b" leading",
    b"trailing ",
    b"tab\tname",
    b"cr\rname",
    b"\\x2f",
    b"-dash",
    b"~tilde",
    b"a;b|c&d<e>f!g^h{i}",
    b"\x01\x1b[31m\x7f",
    "\u{202e}rtl\u{2028}".as_bytes(),
    &[0xff; 255],
];

/// Who reads the files.
const READERS: &[&str] = &["systemd-analyze", "systemd-sysusers", "bash", "dash"];

/// All formats but those that need a unit or have nothing that was decided.
static FORMATS: LazyLock<String> = LazyLock::new(|| {
    let names = profile::FORMATS.iter().map(|format| format.name);
    let names: Vec<_> = names
        .filter(|name| !["service", "observation"].contains(name))
        .collect();
    names.join(",")
});

/// Uses each name in /etc, in a directory for programs, and elsewhere. It is given the names in
/// hexadecimal, so that the command line is harmless.
const ACTOR: &str = r#"
import os, socket, subprocess, sys
names = [bytes.fromhex(line) for line in open(sys.argv[1])]
for name in names:
    for directory in (b"/etc/", b"/srv/", b"/srv/" + name[:100] + b".d/"):
        open(directory + name).read()
    open(b"/srv/" + name, "a").write("x")
    subprocess.run([b"/usr/local/bin/" + name], check=True)
    os.chdir("/srv")
    socket.socket(socket.AF_UNIX).bind(name[:90] + b".s")
    os.unlink(name[:90] + b".s")
"#;

/// Records the actor with `names`, in a mount namespace where they can be anywhere.
struct Stage {
    dir: Scratch,
}

impl Stage {
    fn new(names: &[Vec<u8>]) -> Result<Self> {
        let dir = Scratch::new(Path::new("/run"))?;
        let at = |name: &str| dir.path().join(name);
        let copied = Command::new("cp")
            .args(["-a", "/etc"])
            .arg(at("etc"))
            .status()?;
        assert!(copied.success());
        for made in ["bin", "srv"] {
            fs::create_dir(at(made))?;
        }
        let hex =
            |name: &Vec<u8>| -> Vec<_> { name.iter().map(|byte| format!("{byte:02x}")).collect() };
        fs::write(
            at("srv/names"),
            names
                .iter()
                .map(|name| hex(name).concat())
                .collect::<Vec<_>>()
                .join("\n"),
        )?;
        fs::write(at("srv/actor.py"), ACTOR)?;
        for name in names {
            let path = |directory: &str| at(directory).join(file(name));
            fs::write(path("etc"), "")?;
            fs::write(path("srv"), "")?;
            programs::copy("/bin/true", path("bin"))?;
            let below = at("srv").join(file(&[&name[..name.len().min(100)], b".d"].concat()));
            fs::create_dir(&below)?;
            fs::write(below.join(file(name)), "")?;
        }
        Ok(Self { dir })
    }

    /// Runs `command` where /etc, /srv and /usr/local/bin are this stage's.
    fn run(&self, command: &[&str]) -> Result<Output> {
        let script = "cd \"$0\" && mount --bind etc /etc && mount --bind srv /srv && mount --bind bin /usr/local/bin && exec \"$@\"";
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "sh", "-c", script])
            .arg(self.dir.path())
            .args(command);
        Ok(unshare.output()?)
    }

    fn record(&self) -> Result<Profile> {
        let binary = harden::binary();
        let binary = binary.to_str().context("a path in UTF-8")?;
        let output = self.run(&[
            binary,
            "run",
            "--quiet",
            "--format",
            &FORMATS,
            "--name",
            "actor",
            "--",
            "/usr/bin/python3",
            "/srv/actor.py",
            "/srv/names",
        ])?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let observation = observation::read(&self.dir.path().join("actor.observation.json"))?;
        for run in observation.runs.values() {
            assert_eq!(run.losses.len(), 0, "{:?}", run.losses);
        }
        Profile::read(&self.dir.path().join("actor.profile"))
    }
}

fn file(name: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

/// Everything that a profile does: each rule, lists by their items.
fn items(profile: &Profile) -> BTreeSet<(String, String)> {
    let rules = profile.rules().flat_map(|rule| {
        let (directive, argument) = rule.split_once(' ').unwrap_or((rule, ""));
        let items = argument.split(',');
        items.map(move |item| (directive.to_owned(), item.to_owned()))
    });
    rules.collect()
}

/// Means itself, wherever in a rule it is. (Firejail takes `~` for the home directory only where an
/// argument begins with it.)
fn safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-, +@:=~".contains(c)
}

/// Has the readers of each format read the files in `dir`, which must have nothing to say about them. Returns how many
/// there were of each.
fn read_back(dir: &Path) -> Result<[usize; 5]> {
    let mut read = [0; 5];
    let scratch = Scratch::new(Path::new("/run"))?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        let text = || fs::read_to_string(&path);
        let file;
        let sysusers;
        let checks: &[&[&str]] = if name.ends_with(".drop-in.conf") {
            read[0] += 1;
            let unit = scratch.path().join("plain.service");
            fs::write(&unit, "[Service]\nExecStart=/bin/true\n")?;
            let below = scratch.path().join("plain.service.d");
            fs::create_dir_all(&below)?;
            fs::write(below.join("50-harden.conf"), text()?)?;
            &[&["systemd-analyze", "verify", "--man=no", "plain.service"]]
        } else if name.ends_with(".sysusers.conf") {
            read[1] += 1;
            file = scratch.path().join("plain.conf");
            fs::write(&file, text()?)?;
            sysusers = [
                "systemd-sysusers",
                "--dry-run",
                file.to_str().context("UTF-8")?,
            ];
            &[&sysusers]
        } else if name.ends_with(".login.sh") {
            read[2] += 1;
            fs::write(scratch.path().join("plain.sh"), text()?)?;
            &[&["bash", "-n", "plain.sh"], &["dash", "-n", "plain.sh"]]
        } else if name.ends_with(".seccomp.json") {
            read[3] += 1;
            let list: serde_json::Value = serde_json::from_str(&text()?)?;
            ensure!(list["syscalls"].is_array(), "{name}: {list}");
            &[]
        } else if path.extension().is_some_and(|end| end == "inc") {
            // BitBake is in no distribution; a shell runs the function in the unit tests.
            read[4] += 1;
            &[]
        } else {
            &[]
        };
        for check in checks {
            let output = Command::new(check[0])
                .args(&check[1..])
                .current_dir(scratch.path())
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            let complains = said
                .lines()
                .any(|line| line.contains("plain.") && !line.contains("Would"));
            ensure!(
                output.status.success() && !complains,
                "{name}: {check:?}: {said}"
            );
        }
    }
    Ok(read)
}

#[test]
fn no_name_becomes_a_rule() -> Result<()> {
    if !met(
        "no_name_becomes_a_rule",
        &[&["python3", "unshare"], READERS].concat(),
    ) {
        return Ok(());
    }
    let hostile = Stage::new(&HOSTILE.map(<[u8]>::to_vec))?;
    let benign: Vec<_> = (0..HOSTILE.len())
        .map(|at| format!("benign{at}").into_bytes())
        .collect();
    let benign = Stage::new(&benign)?;
    let profile = hostile.record()?;
    let wanted = items(&benign.record()?);
    let given = items(&profile);
    let extra: Vec<_> = given.difference(&wanted).collect();
    assert!(extra.is_empty(), "{extra:#?}");
    // What is dropped bore a name, or is a list that would lack one: then all of it has to go.
    let named: BTreeSet<_> = wanted
        .iter()
        .filter(|(_, item)| item.contains("benign"))
        .map(|(directive, _)| directive)
        .collect();
    let dropped: Vec<_> = wanted
        .difference(&given)
        .filter(|(directive, _)| !named.contains(directive))
        .collect();
    assert!(dropped.is_empty(), "{dropped:#?}");
    assert!(!named.is_empty(), "{wanted:#?}");

    let text = fs::read_to_string(hostile.dir.path().join("actor.profile"))?;
    for line in text.lines() {
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'),
            "{line:?}"
        );
        assert!(
            line.starts_with('#') || line.chars().all(safe) && !line.contains(" ~"),
            "{line:?}"
        );
    }

    for (stage, names) in [(&hostile, true), (&benign, false)] {
        let read = read_back(stage.dir.path()).with_context(|| format!("hostile: {names}"))?;
        ensure!(read == [1; 5], "{read:?}");
    }
    // Neither a list of calls nor who the program is has anything of these names in it. Comments tell how often.
    let read = |stage: &Stage, name: &str| -> Result<Vec<String>> {
        let text = fs::read_to_string(stage.dir.path().join(name))?;
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("\"comment\": "));
        Ok(lines.map(str::to_owned).collect())
    };
    for name in ["actor.seccomp.json", "actor.login.sh", "actor.inc"] {
        let (one, other) = (read(&hostile, name)?, read(&benign, name)?);
        ensure!(
            !one.is_empty() && one == other,
            "{name}: {one:#?}\n{other:#?}"
        );
    }

    // What the profile leaves out it leaves open: the same work succeeds under it.
    for stage in [&hostile, &benign] {
        let output = stage.run(&[
            "firejail",
            "--profile=actor.profile",
            "--",
            "/usr/bin/python3",
            "/srv/actor.py",
            "/srv/names",
        ])?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !said.contains("Error"),
            "{said}\n{text}"
        );
    }
    Ok(())
}

#[test]
fn no_command_name_becomes_a_rule() -> Result<()> {
    if !met("no_command_name_becomes_a_rule", READERS) {
        return Ok(());
    }
    for name in HOSTILE {
        let dir = Scratch::new(Path::new("/srv"))?;
        let program = dir.path().join(file(name));
        programs::copy("/bin/true", &program)?;
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
        let out = Scratch::new(Path::new("/run"))?;
        let output = Command::new(harden::binary())
            .args(["run", "--quiet", "--format", &FORMATS, "--out"])
            .arg(out.path())
            .arg("--")
            .arg(&program)
            .output()?;
        assert!(
            output.status.success(),
            "{name:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for entry in fs::read_dir(out.path())? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "profile")
            {
                let profile = Profile::read(&path)?;
                for rule in profile.rules() {
                    assert!(rule.chars().all(safe), "{name:?}: {rule:?}");
                }
            }
        }
        let read = read_back(out.path()).with_context(|| format!("{name:?}"))?;
        // A command that a line of a shell cannot hold has no login script, which is said.
        let said = String::from_utf8_lossy(&output.stderr);
        let login = usize::from(!said.contains(".login.sh is not written"));
        ensure!(read == [1, 1, login, 1, 1], "{name:?}: {read:?}");
        // And the observation, the profile and the report.
        let files = fs::read_dir(out.path())?.count();
        assert_eq!(files, 7 + login, "{name:?}: read_back looks at each format");
    }
    Ok(())
}
