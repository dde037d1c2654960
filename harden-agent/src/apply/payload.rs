//! The daemon's own process, which Firejail may have started.

use crate::machine::proc;

use super::Backend;

/// The process that has to be confined; `None` while there is none. The main process of a unit under Firejail is
/// Firejail's, and so is its child; the daemon is the first below that is not.
pub(super) fn of(backend: Backend, main: u32) -> Option<u32> {
    match backend {
        Backend::Systemd => Some(main),
        Backend::Firejail => {
            let all = proc::all().into_iter();
            let all = all.filter_map(|pid| {
                let status = proc::status(&pid.to_string())?;
                Some((pid, status.parent, status.name))
            });
            below(main, &all.collect::<Vec<_>>())
        }
    }
}

/// The first process below `main` that is not Firejail's, among these with their parents and names.
fn below(main: u32, all: &[(u32, u32, String)]) -> Option<u32> {
    let mut above = main;
    // Each step goes down a level, and no tree is as deep as it has processes.
    for _ in 0..all.len() {
        let mut children = all.iter().filter(|(_, parent, _)| *parent == above);
        let (pid, _, name) = children.next()?;
        if name != "firejail" {
            return Some(*pid);
        }
        above = *pid;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn it_is_below_firejail_itself() {
        let process = |pid, parent, name: &str| (pid, parent, name.to_owned());
        let all = [
            process(1, 0, "systemd"),
            process(20, 10, "firejail"),
            process(10, 1, "firejail"),
            process(40, 30, "worker"),
            process(30, 20, "daemon"),
        ];
        assert_eq!(below(10, &all), Some(30));
        assert_eq!(below(10, &all[..3]), None);
        assert_eq!(below(5, &[process(5, 5, "firejail")]), None);
    }
}
