//! What puts a unit back, whatever becomes of harden: a timer of systemd's that runs a script, which needs no harden.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use super::{
    Backend, Unit,
    control::{finish, systemctl},
    files,
    holder::{self, Holder},
    place,
};
use crate::machine::systemd;

/// How long is waited for what systemd does at once on every machine that still works.
const PATIENCE: Duration = Duration::from_mins(2);

/// So long may a daemon take to end when its unit is put back, or half of the time that a trial has.
const ENOUGH_TO_END: Duration = Duration::from_mins(1);

/// Held while files are made lasting or removed, here and in the script: what the one has begun, the other waits for.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take() -> Result<Self> {
        let path = lock();
        files::make(Path::new(place::RUN)).context(place::RUN)?;
        let mut options = File::options();
        let options = options.create(true).append(true);
        let file = options
            .open(&path)
            .with_context(|| path.display().to_string())?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self { _file: file })
    }
}

fn lock() -> PathBuf {
    Path::new(place::RUN).join("lock")
}

/// What the timer and the service that it starts are called, without their endings. `@` would make it an instance of a
/// template.
fn name(unit: &Unit) -> String {
    let name = unit.name();
    let name = name.strip_suffix(".service").unwrap_or(name);
    let mut text = String::from("harden-revert-");
    for byte in name.bytes() {
        match byte {
            b'-' | b'.' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(text, "_{byte:02x}");
            }
        }
    }
    text
}

fn script(unit: &Unit) -> PathBuf {
    Path::new(place::RUN).join(format!("{}.sh", name(unit)))
}

/// By when everything that systemd does at once is done.
pub(super) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Whether a timer waits.
pub(super) fn is_armed(unit: &Unit) -> bool {
    let timer = format!("{}.timer", name(unit));
    let properties = systemd::properties(&timer, &["ActiveState"]);
    properties.is_some_and(|found| {
        found
            .get("ActiveState")
            .is_some_and(|state| state == "active")
    })
}

/// Has systemd put the unit back in this time. What is returned says, for as long as it is kept, that this process is at it.
///
/// # Errors
/// There is a timer already, or systemd refuses.
pub(super) fn arm(unit: &Unit, after: Duration) -> Result<Holder> {
    let script = script(unit);
    files::write(&script, &text(unit, (after / 2).min(ENOUGH_TO_END)))?;
    let holder = Holder::take(&script)?;
    let mut command = Command::new("systemd-run");
    command
        .args(["--quiet", "--collect", "--service-type=oneshot"])
        .arg(format!("--unit={}", name(unit)))
        .arg(format!("--on-active={}ms", after.as_millis()))
        .arg("--timer-property=AccuracySec=100ms")
        .arg(format!("--description=Puts {} back as it was", unit.name()))
        .args(["--", "/bin/sh"])
        .arg(&script)
        .stderr(Stdio::piped());
    finish(&mut command, soon()).context("systemd-run")?;
    Ok(holder)
}

/// Has the process stop that is at it. Returns whether there was one.
///
/// # Errors
/// It goes on.
pub(super) fn stop_holder(unit: &Unit) -> Result<bool> {
    holder::stop(&script(unit), soon())
}

/// Has the timer begin its time again. systemd does it in one step: there is no moment without it.
///
/// # Errors
/// It is not there any more, or systemd does not do it.
pub(super) fn extend(unit: &Unit) -> Result<()> {
    let _lock = Lock::take()?;
    ensure!(
        is_armed(unit),
        "{} was put back meanwhile: by somebody, or because harden did not go on for longer than --within",
        unit.name()
    );
    let timer = format!("{}.timer", name(unit));
    systemctl(&["restart", "--", &timer], soon())
}

/// Takes the timer away. What it has started already goes on, and finds nothing to do.
///
/// # Errors
/// systemd does not do it.
pub(super) fn disarm(unit: &Unit) -> Result<()> {
    systemctl(&["stop", "--", &format!("{}.timer", name(unit))], soon())?;
    let _ = fs::remove_file(script(unit));
    Ok(())
}

/// Puts the unit back now.
///
/// # Errors
/// It cannot be done: the files are still there, or the unit is not up.
pub(super) fn put_back(unit: &Unit) -> Result<()> {
    let service = format!("{}.service", name(unit));
    // One that runs is waited for; one that has run is gone.
    let started = systemctl(&["start", "--", &service], soon());
    if on_trial(unit)?.is_some() {
        started?;
        bail!("the drop-in is still there; see journalctl -u {service}");
    }
    if is_armed(unit) {
        disarm(unit)?;
    }
    let found = unit.properties(&["ActiveState"])?;
    let state = found.get("ActiveState").map_or("", String::as_str);
    ensure!(
        ["active", "activating", "reloading"].contains(&state),
        "the files are taken away, but {} is {state}; see journalctl -u {service}",
        unit.name()
    );
    Ok(())
}

/// What is on trial: neither put back nor kept.
///
/// # Errors
/// It cannot be read.
pub(super) fn on_trial(unit: &Unit) -> Result<Option<Backend>> {
    for backend in Backend::ALL {
        let found = files::read(&place::trial(unit, backend))?;
        if found.is_some_and(|(applied, _)| applied.until.is_some()) {
            return Ok(Some(backend));
        }
    }
    Ok(None)
}

/// The script. Where no drop-in is on trial any more, the unit is left alone.
fn text(unit: &Unit, to_end: Duration) -> String {
    // No name holds a NUL, which is all that cannot be quoted.
    let quote = |text: &str| {
        shlex::try_quote(text).map_or_else(|_| String::from("''"), std::borrow::Cow::into_owned)
    };
    let path = |path: PathBuf| quote(&path.to_string_lossy());
    let [plain, firejail] = Backend::ALL.map(|backend| path(place::trial(unit, backend)));
    let directory = quote(&format!("{}/{}.d", place::TRIAL, unit.name()));
    format!(
        "# Written by harden apply: puts {name} back as it was.\n\
         trap 'rm -f {script}' EXIT\n\
         exec 9>>{lock}\n\
         flock 9 || :\n\
         # A profile that was made lasting, when the drop-in was not.\n\
         if ! [ -e {edit} ] && head -n 1 {profile} 2>/dev/null | grep -q '^# Applied by harden: '; then\n\
         \trm -f {profile}\n\
         fi\n\
         # What says no time is kept.\n\
         head -n 1 {plain} {firejail} 2>/dev/null | grep -q '\"until\":' || is_over=yes\n\
         if [ -n \"$is_over\" ]; then\n\
         \t[ -e {firejail} ] || rm -f {trial_profile}\n\
         \t[ -e {plain} ] || [ -e {firejail} ] || rm -f {trial_proof}\n\
         \texec 9>&-\n\
         \tsystemctl daemon-reload\n\
         \texit\n\
         fi\n\
         rm -f {plain} {firejail} {trial_profile} {trial_proof}\n\
         # A proof that was made lasting, and nothing that names it.\n\
         [ -e {edit} ] || [ -e {lasting} ] || rm -rf {proofs}\n\
         rmdir {directory} 2>/dev/null\n\
         exec 9>&-\n\
         systemctl daemon-reload\n\
         systemctl reset-failed -- {unit} 2>/dev/null\n\
         timeout {to_end} systemctl restart -- {unit} && exit\n\
         # A daemon that was refused what it needs to end is waited for as long as TimeoutStopSec= says, perhaps for ever.\n\
         state=$(systemctl show --property=ActiveState --value -- {unit})\n\
         [ \"$state\" != deactivating ] || systemctl kill --signal=KILL -- {unit}\n\
         systemctl start -- {unit}\n",
        to_end = to_end.as_secs().max(1),
        name = unit.name(),
        unit = quote(unit.name()),
        script = script(unit).display(),
        lock = lock().display(),
        edit = path(place::lasting(unit, Backend::Firejail)),
        profile = quote(&place::lasting_profile(unit)),
        trial_profile = quote(&place::trial_profile(unit)),
        trial_proof = path(place::trial_proof(unit)),
        lasting = path(place::lasting(unit, Backend::Systemd)),
        proofs = path(place::proofs(unit)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_no_template_and_no_two_are_the_same() {
        let name = |unit: &str| name(&Unit::called(unit));
        assert_eq!(name("nginx.service"), "harden-revert-nginx");
        assert_eq!(name("a@b_c.service"), "harden-revert-a_40b_5fc");
        assert_eq!(name(r"a\x2db.service"), "harden-revert-a_5cx2db");
    }

    #[test]
    fn a_shell_understands_the_script_whatever_the_unit_is_called() {
        for name in ["nginx.service", r"a\x2db@c:d.service"] {
            let text = text(&Unit::called(name), ENOUGH_TO_END);
            let mut shell = Command::new("sh");
            let status = shell.args(["-n", "-c", &text]).status().unwrap();
            assert!(status.success(), "{text}");
            // How a word is quoted is the library's own matter; what the shell makes of it is not.
            let removals = text.lines().filter(|line| line.starts_with("rm -f "));
            let removed: Vec<_> = removals
                .flat_map(|line| shlex::split(line).unwrap())
                .collect();
            let drop_in = format!("/run/systemd/system.control/{name}.d/50-harden.conf");
            assert!(removed.contains(&drop_in), "{text}");
        }
    }
}
