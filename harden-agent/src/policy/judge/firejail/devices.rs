//! Directives that hide devices and sockets of desktops (`dev` in `src/firejail/fs_dev.c`, `pulseaudio_disable`,
//! `dbus_apply_policy`).

use super::super::{
    super::paths::up,
    judgement::{PASS, Step, against},
    line::{Line, Rules},
    pattern::PathPattern,
    uses::Use,
};

/// What each hides, with all that is below.
const HIDDEN: [(&str, &[&str]); 10] = [
    ("dbus-system", &["/run/dbus/system_bus_socket"]),
    (
        "dbus-user",
        &["/run/user/*/bus", "/run/user/*/dbus-1", "/tmp/dbus-*"],
    ),
    ("no3d", &["/dev/dri", "/dev/nvidia*"]),
    ("nodvd", &["/dev/sr0"]),
    ("noinput", &["/dev/input"]),
    ("noprinters", &["/dev/lp*", "/run/cups/cups.sock"]),
    (
        "nosound",
        &[
            "/dev/shm/jack*",
            "/dev/snd",
            "/home/*/.config/pulse",
            "/root/.config/pulse",
            "/run/user/*/pulse",
            "/tmp/pulse-*",
        ],
    ),
    ("notv", &["/dev/dvb"]),
    ("nou2f", &["/dev/hidraw*", "/dev/usb"]),
    ("novideo", &["/dev/video*"]),
];

pub(super) struct Devices<'r>(Vec<(PathPattern, &'r Line)>);

impl<'r> Devices<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        let lines = HIDDEN.iter().filter_map(|(directive, paths)| {
            let all = *directive;
            let line = rules.line(all).or_else(|| {
                let is_bus = all.starts_with("dbus-");
                rules.line("nodbus").filter(|_| is_bus)
            })?;
            Some((line, paths))
        });
        let paths = lines.flat_map(|(line, paths)| {
            let patterns = paths.iter().filter_map(|path| PathPattern::whole(path));
            patterns.map(move |pattern| (pattern, line))
        });
        Self(paths.collect())
    }

    /// What was there is not there any more, or is closed.
    pub(super) fn meets(&self, one: &Use<'_, '_>) -> Step<'r> {
        if self.0.is_empty() || !one.found() {
            return PASS;
        }
        let mut above = one.place.all_names().flat_map(up);
        let line = above.find_map(|path| self.0.iter().find(|(pattern, _)| pattern.matches(path)));
        line.map_or(PASS, |(_, line)| against(line))
    }
}
