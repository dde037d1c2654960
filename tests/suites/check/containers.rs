//! Many changes of one container's config.json (containers.txt), each under runc: of a work of many kinds (chores.c), nothing
//! that was predicted to work may fail.
//!
//! Only what is predicted to work is tried; with `HARDEN_CHECKED_PROFILES`, as in `cargo xtask soak`, all are, which shows how
//! often harden is too careful.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use harden_tests::{Process, Scratch, as_patient, harden, met, programs};
use serde_json::{Value, json};

use super::{Matrix, Predicted, check, is_true, predicted};

const CHANGES: &str = include_str!("containers.txt");

/// Starts a program in a root directory that has the kernel's file systems of this machine: what is recorded of it has files.
const RECORD: &str =
    "set -e; root=$1; shift; for top in proc sys dev; do mount --rbind /$top \"$root/$top\"; done
exec chroot \"$root\" \"$@\"";

/// What the work is, but for what control groups do not allow.
const WORK: [&str; 3] = ["/srv/harden/bin/chores", "/srv/harden", "realtime"];
const DONE: &str = "all of it was done";
const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
];

/// A bundle, whose root has what the work needs.
struct Bundle(Scratch);

impl Bundle {
    fn new() -> Result<Self> {
        let bundle = Self(Scratch::new(Path::new("/run"))?);
        let root = bundle.root();
        for directory in [
            "proc",
            "sys",
            "dev",
            "etc",
            "srv/harden/bin",
            "srv/harden/real",
            "usr/bin",
            "usr/share/harden",
        ] {
            fs::create_dir_all(root.join(directory))?;
        }
        let program = programs::install("chores-static", &bundle.0)?;
        for name in [
            "srv/harden/bin/chores",
            "srv/harden/bin/helper",
            "usr/bin/true",
        ] {
            programs::copy(&program, root.join(name))?;
        }
        symlink("real", root.join("srv/harden/link"))?;
        for file in [
            "etc/hosts",
            "etc/passwd",
            "srv/harden/real/f",
            "usr/share/harden/data",
        ] {
            fs::write(root.join(file), "x\n")?;
        }
        Ok(bundle)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("rootfs")
    }

    /// As it is before each run.
    fn prepare(&self) -> Result<()> {
        for directory in [
            "root",
            "run",
            "srv/harden/data",
            "srv/harden/pub",
            "tmp",
            "var",
            "mnt",
        ] {
            let directory = self.root().join(directory);
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            fs::create_dir(&directory)?;
        }
        for directory in ["root/.harden", "run/harden", "var/lib/harden", "var/tmp"] {
            fs::create_dir_all(self.root().join(directory))?;
        }
        for directory in ["tmp", "var/tmp", "srv/harden/pub"] {
            fs::set_permissions(
                self.root().join(directory),
                fs::Permissions::from_mode(0o777),
            )?;
        }
        Ok(fs::write(self.root().join("root/.harden/c"), "x\n")?)
    }

    /// What the work was seen to need, and the list of its calls.
    fn record(&self) -> Result<(PathBuf, Value, Scratch)> {
        self.prepare()?;
        let root = self.root();
        let root = root.to_str().context("a path in UTF-8")?;
        let mut command = vec!["unshare", "--mount", "sh", "-c", RECORD, "sh", root];
        command.extend(WORK);
        let recorded = harden::record(
            "chores",
            &["--format", "observation,oci,firejail"],
            &command,
        )?;
        ensure!(recorded.output.contains(DONE), "{}", recorded.output);
        let file = recorded.dir.path().join("chores.observation.json");
        let mut observation: Value = serde_json::from_slice(&fs::read(&file)?)?;
        // Those that started it are not in the container.
        for run in observation["runs"]
            .as_object_mut()
            .context("runs")?
            .values_mut()
        {
            let programs = run["executables"].as_object_mut().context("programs")?;
            programs.retain(|path, _| path.starts_with(root));
        }
        fs::write(&file, serde_json::to_vec(&observation)?)?;
        let seccomp = fs::read(recorded.dir.path().join("chores.seccomp.json"))?;
        Ok((file, serde_json::from_slice(&seccomp)?, recorded.dir))
    }

    fn config(&self, seccomp: &Value) -> Result<Value> {
        let mut spec = Command::new("runc");
        let status = spec.arg("spec").current_dir(self.0.path()).status()?;
        ensure!(status.success(), "runc spec failed");
        let mut config: Value = serde_json::from_slice(&fs::read(self.file())?)?;
        let process = &mut config["process"];
        process["terminal"] = json!(false);
        process["args"] = json!(WORK);
        process["noNewPrivileges"] = json!(false);
        process["capabilities"] = json!({
            "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
        });
        config["root"]["readonly"] = json!(false);
        config["linux"]["seccomp"] = seccomp.clone();
        Ok(config)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("config.json")
    }

    /// What is predicted of a config.
    fn check(&self, config: &Value, observation: &Path) -> Result<(i32, Value)> {
        fs::write(self.file(), serde_json::to_vec(config)?)?;
        check(&self.file(), observation)
    }

    /// What the container prints.
    fn run(&self) -> Result<String> {
        self.prepare()?;
        let name = self.0.path().file_name().context("a name")?;
        let mut runc = Command::new("runc");
        runc.arg("run").arg("--bundle").arg(self.0.path()).arg(name);
        let mut process = Process::start(&mut runc)?.patience(as_patient(Duration::from_secs(30)));
        let _ = process.wait();
        // One whose program hung.
        let _ = Command::new("runc")
            .args(["delete", "--force"])
            .arg(name)
            .output();
        Ok(process.output())
    }
}

/// The config, changed.
fn changed(base: &Value, change: &str, bundle: &Bundle) -> Result<Value> {
    let root = bundle.root().display().to_string();
    let mut config = base.clone();
    for part in change.split(" ;; ") {
        let part = part.replace("{rootfs}", &root);
        let mut words = part.splitn(3, ' ');
        let (Some(place), Some(how), Some(value)) = (words.next(), words.next(), words.next())
        else {
            bail!("no change: {part}");
        };
        if place == "calls" {
            without(&mut config, value)?;
            continue;
        }
        if how == "=" {
            put(&mut config, place, value)?;
            continue;
        }
        let value: Value = serde_json::from_str(value).context(part.clone())?;
        let list = config.pointer_mut(place).and_then(Value::as_array_mut);
        let list = list.with_context(|| format!("no list: {part}"))?;
        match how {
            "+=" => list.push(value),
            "-=" => {
                let before = list.len();
                list.retain(|one| *one != value);
                ensure!(list.len() < before, "nothing to take out: {part}");
            }
            _ => bail!("no change: {part}"),
        }
    }
    Ok(config)
}

fn put(config: &mut Value, place: &str, value: &str) -> Result<()> {
    let (above, name) = place.rsplit_once('/').context("no member")?;
    let above = config
        .pointer_mut(above)
        .with_context(|| format!("no {above}"))?;
    match (above, value) {
        (Value::Object(members), "-") => {
            members.remove(name);
        }
        (Value::Object(members), value) => {
            members.insert(name.to_owned(), serde_json::from_str(value)?);
        }
        (Value::Array(list), value) => list[name.parse::<usize>()?] = serde_json::from_str(value)?,
        _ => bail!("no member: {place}"),
    }
    Ok(())
}

fn without(config: &mut Value, call: &str) -> Result<()> {
    let entries = config
        .pointer_mut("/linux/seccomp/syscalls")
        .and_then(Value::as_array_mut);
    for entry in entries.context("no calls")? {
        let names = entry["names"].as_array_mut().context("no names")?;
        names.retain(|name| name != call);
    }
    Ok(())
}

#[test]
fn nothing_that_is_predicted_to_work_fails() -> Result<()> {
    if !met(
        "nothing that is predicted of a container to work fails",
        &["runc", "unshare"],
    ) {
        return Ok(());
    }
    let bundle = Bundle::new()?;
    let (observation, seccomp, _kept) = bundle.record()?;
    let base = bundle.config(&seccomp)?;
    let own = bundle.check(&base, &observation)?;
    ensure!(own.0 == 0, "its own config: {}", own.1);
    let output = bundle.run()?;
    ensure!(output.contains(DONE), "its own config: {output}");

    let all = env::var_os("HARDEN_CHECKED_PROFILES").is_some();
    let mut matrix = Matrix::default();
    for change in CHANGES.lines().filter(|line| !line.starts_with('#')) {
        let config = changed(&base, change, &bundle)?;
        let report = bundle.check(&config, &observation)?;
        let predicted = predicted(&report, &own.1);
        if predicted != Predicted::Allowed && !all {
            continue;
        }
        let output = bundle.run()?;
        let works = output.contains(DONE);
        matrix.add(kind(change), predicted, works);
        match (predicted, works) {
            (Predicted::Allowed, false) => {
                eprintln!("predicted to work, and failed: {change}\n{output}");
            }
            (Predicted::Refused, true) => println!("predicted to fail, and worked: {change}"),
            _ => {}
        }
    }
    is_true(&matrix)
}

/// The member that is changed, or the calls.
fn kind(change: &str) -> &str {
    let place = change.split(' ').next().unwrap_or_default();
    place.trim_start_matches('/')
}
