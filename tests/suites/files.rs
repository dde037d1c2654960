//! A file has the path at which it was opened, in whatever way: by a name that goes or changes, by a
//! descriptor, below a directory that is the root to the call, by a handle.

use std::path::Path;

use anyhow::Result;
use harden_tests::{
    Scratch, harden, met,
    observed::{acts, assert_same, facts, printed_acts},
    programs::install,
    trees,
};

#[test]
fn roundabout_ways_lead_to_the_same_paths() -> Result<()> {
    if !met("roundabout_ways_lead_to_the_same_paths", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let program = install("ways", &bin)?;
    // The places differ in file system.
    for parent in ["/var/tmp", "/dev/shm"] {
        let tree = Scratch::new(Path::new(parent))?;
        trees::for_ways(tree.path())?;
        let recorded =
            harden::record("ways", &[], &[program.as_os_str(), tree.path().as_os_str()])?;
        assert_eq!(recorded.status, 0, "{}", recorded.output);
        let expected = printed_acts(&recorded.output);
        for act in [
            "read EXDEV dir/../outside",
            "read ELOOP link",
            "read ENOENT dir/absent",
            "read ok dir/target",
            "read ok doomed",
        ] {
            assert!(expected.contains(act), "{act}: {}", recorded.output);
        }
        if parent == "/dev/shm" {
            // tmpfs has handles.
            assert!(expected.contains("read ok handled"), "{}", recorded.output);
        }
        let facts = facts(&recorded.observation, "ways");
        assert_same(&expected, &acts(facts, tree.path()));
        let stray = facts.files.keys().map(ToString::to_string).find(|path| {
            path.contains("(deleted)") || ["/absent", "/rooted", "/target"].contains(&path.as_str())
        });
        assert_eq!(stray, None);
    }
    Ok(())
}
