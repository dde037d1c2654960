//! The cgroup layout, and whether a command can be started in a cgroup of its own.

use std::process::ExitStatus;

use nix::sys::signal::SigSet;
use serde::Serialize;

use super::{check::Check, mounts::Mount, safe};
use crate::{
    observation::Text,
    run::{Cgroup, child},
};

/// Which hierarchies are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    /// Version 2 only.
    Unified,
    /// Version 2 beside version 1, which has the controllers.
    Hybrid,
    /// Version 1 only.
    Legacy,
    /// None.
    None,
}

/// The cgroups of this machine.
#[derive(Debug, Serialize)]
pub(super) struct Cgroups {
    layout: Layout,
    /// Where version 2 is mounted.
    v2_mount: Option<Text>,
    /// Why no command can be started in a cgroup of its own; absent if one was.
    run_error: Option<String>,
}

/// Looks at the mounts, and runs `true` in a cgroup that is gone afterwards.
pub(super) fn examine(mounts: &[Mount]) -> Cgroups {
    let v2 = mounts.iter().find(|mount| mount.file_system == "cgroup2");
    Cgroups {
        layout: layout(mounts),
        v2_mount: v2.map(|mount| mount.point.as_os_str().as_encoded_bytes().into()),
        run_error: run().err().map(|error| safe(error.to_string())),
    }
}

fn layout(mounts: &[Mount]) -> Layout {
    let has = |name: &str| mounts.iter().any(|mount| mount.file_system == name);
    match (has("cgroup2"), has("cgroup")) {
        (true, false) => Layout::Unified,
        (true, true) => Layout::Hybrid,
        (false, true) => Layout::Legacy,
        (false, false) => Layout::None,
    }
}

fn run() -> std::io::Result<()> {
    let cgroup = Cgroup::create()?;
    let door = cgroup.door()?;
    let mask = SigSet::thread_get_mask()?;
    let mut child = child::spawn(&["true".into()], None, &door, mask)?;
    let status: ExitStatus = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("true: {status}")))
    }
}

impl Cgroups {
    /// The layout, and the trial.
    pub(super) fn checks(&self) -> [Check; 2] {
        let layout = match (&self.v2_mount, self.layout) {
            (Some(mount), Layout::Hybrid) => Check::ok(
                "cgroups",
                format!("hybrid: version 2 at {mount}, version 1 beside it"),
            ),
            (Some(mount), _) => Check::ok("cgroups", format!("unified: version 2 at {mount}")),
            (None, layout) => {
                let which = if layout == Layout::Legacy {
                    "legacy: version 1 only"
                } else {
                    "none is mounted"
                };
                Check::refused("cgroups", which).advice(
                    "mount version 2: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified; or boot with systemd.unified_cgroup_hierarchy=1",
                )
            }
        };
        let run = match &self.run_error {
            None => Check::ok("running a command", "works, in a cgroup of its own"),
            Some(error) => Check::refused("running a command", error)
                .advice("it takes root and a writable cgroup version 2 tree"),
        };
        [layout, run]
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, layout};
    use crate::doctor::mounts::Mount;

    #[test]
    fn the_layout_follows_from_what_is_mounted() {
        let mount = |kind: &str| Mount {
            id: 1,
            point: "/x".into(),
            file_system: kind.to_owned(),
            options: vec![],
            super_options: vec![],
        };
        assert_eq!(layout(&[mount("cgroup2"), mount("proc")]), Layout::Unified);
        assert_eq!(layout(&[mount("cgroup2"), mount("cgroup")]), Layout::Hybrid);
        assert_eq!(layout(&[mount("cgroup")]), Layout::Legacy);
        assert_eq!(layout(&[]), Layout::None);
    }
}
