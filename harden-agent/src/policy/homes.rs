//! Whether home directories can be empty ones: where something was looked for there and not found, a hidden
//! directory would answer `EACCES`, an empty one answers `ENOENT` as before.

use crate::observation::Text;

use super::basis::Basis;
use super::paths::is_within;
use super::places::{arguments, passes};
use super::reasons::Reasons;

/// What speaks against empty `directories`: all that was found there, but for a look at those in `there`, which stay.
pub(super) fn needed(directories: &[&[u8]], there: &[&[u8]], basis: &Basis<'_>) -> Reasons {
    let is_inside = |path: &[u8]| directories.iter().any(|home| is_within(path, home));
    let mut reasons = Reasons::default();
    for run in basis.observation().runs.values() {
        let named = arguments(run).filter(|argument| is_inside(argument));
        reasons.extend(named.map(|path| format!("the command line names {}", Text::from(path))));
        let links = run
            .symlinks
            .keys()
            .filter(|link| is_inside(link.as_bytes()));
        reasons.extend(links.map(|link| format!("{link} is a link")));
    }
    let found = basis.places().touching(directories);
    let found = found.filter(|place| place.found());
    let used = found.filter(|place| {
        let is_looked_at = place.uses.iter().all(|one| passes(one.operation));
        !(is_looked_at && there.contains(&&*place.path))
    });
    reasons.extend(used.map(|place| format!("{} was used", Text::from(&place.path))));
    reasons
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::Operation;

    fn is_needed(fixture: Fixture) -> bool {
        let observation = fixture.observation();
        let homes: [&[u8]; 2] = [b"/home", b"/root"];
        !needed(&homes, &homes, &Basis::of(&observation)).is_empty()
    }

    #[test]
    fn what_was_looked_for_in_vain_is_in_no_empty_directory_either() {
        let daemon = || Fixture::new().executable("/usr/sbin/d");
        assert!(!is_needed(daemon()));
        assert!(!is_needed(
            daemon()
                .file("/root/.d.conf", Operation::Read, "ENOENT")
                .file("/home/joe/x", Operation::Stat, "ENOENT")
                .file("/root", Operation::Chdir, "ok")
                .file("/home", Operation::Stat, "ok")
        ));
        for (path, operation, result) in [
            ("/root/.d.conf", Operation::Read, "ok"),
            ("/root/.d.conf", Operation::Read, "EACCES"),
            ("/home/joe", Operation::Stat, "ok"),
            ("/root", Operation::Chmod, "EPERM"),
            ("/root/new", Operation::Create, "ok"),
        ] {
            assert!(is_needed(daemon().file(path, operation, result)), "{path}");
        }
        assert!(is_needed(daemon().listing("/home")));
        assert!(is_needed(daemon().command(&["/usr/sbin/d", "/home/joe/x"])));
        assert!(is_needed(daemon().link("/root", "/var/root")));
        assert!(is_needed(Fixture::new().executable("/root/d")));
    }
}
