//! Threads: each has its own calls, and one of them replaces the program.

use std::{fs, path::Path};

use anyhow::Result;
use harden_tests::{Scratch, Work, met, network, programs};

#[test]
fn files_sockets_and_exec_from_threads() -> Result<()> {
    if !met("threads", &["ip"]) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/usr/local/lib"))?;
    let dir = scratch.path();
    let program = programs::install("threads", &scratch)?;
    fs::write(dir.join("input"), "through a thread's exec\n")?;
    let state = dir.join("state");
    fs::create_dir(&state)?;
    network::private(|| {
        let work = Work {
            name: "threads",
            user: None,
            command: vec![program.display().to_string(), dir.display().to_string()],
            reset: &|| {
                for entry in fs::read_dir(&state)? {
                    fs::remove_file(entry?.path())?;
                }
                Ok(())
            },
            result: &|| {
                let mut result = fs::read(state.join("output"))?;
                result.extend(fs::read_dir(&state)?.count().to_string().bytes());
                Ok(result)
            },
        };
        let known = work.record()?;
        let profile = known.profile();
        assert_eq!(profile.list("caps.keep"), ["net_bind_service"]);
        assert_eq!(profile.list("protocol"), ["unix", "inet"]);
        assert_eq!(profile.list("private-bin"), ["bash", "cat"]);
        // Whatever thread called exec, what comes after it is cat's.
        let run = known.recorded.observation.runs.values().next();
        let names: Vec<_> = run
            .iter()
            .flat_map(|run| run.executables.keys().map(ToString::to_string))
            .collect();
        assert_eq!(names, ["/usr/bin/cat", &program.display().to_string()]);

        known.passes()?;
        known.needs("seccomp.keep", "accept4")?;
        known.needs("seccomp.keep", "unlink")?;
        known.needs("caps.keep", "net_bind_service")?;
        known.needs("protocol", "inet")?;
        known.needs("protocol", "unix")?;
        known.needs("private-bin", "cat")?;
        known.needs("read-write", &state.display().to_string())
    })
}
