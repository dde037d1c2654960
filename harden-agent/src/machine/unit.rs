//! The files of a unit, as the installed systemd reads them.

use std::process::Command;

use crate::observation::Text;
use crate::policy::firejail::service::UnitFile;

/// The files of the system's own unit `name`; `None` if there is no such unit, or nobody to ask.
#[must_use]
pub fn installed(name: &Text) -> Option<UnitFile> {
    let mut unit = UnitFile::parse(&text(name)?);
    let name = std::str::from_utf8(name.as_bytes()).ok()?;
    let triggers = systemctl(&["show", "--value", "--property=TriggeredBy", "--", name]);
    let triggers = triggers.unwrap_or_default();
    unit.triggered_by = triggers.split_whitespace().map(str::to_owned).collect();
    Some(unit)
}

/// The text of all of its files, each after a comment with its path.
#[must_use]
pub fn text(name: &Text) -> Option<String> {
    let name = std::str::from_utf8(name.as_bytes()).ok()?;
    // Another manager's unit is not the system's, whatever its name.
    if name.starts_with('/') || !name.ends_with(".service") {
        return None;
    }
    systemctl(&["cat", "--no-pager", "--", name])
}

fn systemctl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("systemctl").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}
