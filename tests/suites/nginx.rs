//! `nginx` on port 80 with workers of another user, recorded, enforced, mutated.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use harden_tests::{
    Process, Scratch, firejail, harden, http, met, mutation::assert_each_is_needed, network,
};
use nix::sys::signal::{Signal, kill};

const NGINX: &str = "/usr/sbin/nginx";

/// Where it lives: as on a real system its pages, its state and its logs are in different places,
/// for which Firejail has different rules.
pub(super) struct Site {
    pages: Scratch,
    state: Scratch,
    logs: Scratch,
}

impl Site {
    pub(super) fn new() -> Result<Self> {
        let site = Self {
            pages: Scratch::new(Path::new("/srv"))?,
            state: Scratch::new(Path::new("/var/lib"))?,
            logs: Scratch::new(Path::new("/var/log"))?,
        };
        fs::write(site.pages.path().join("index.html"), "good morning\n")?;
        fs::write(site.configuration(), site.settings("one"))?;
        Ok(site)
    }

    fn configuration(&self) -> PathBuf {
        self.pages.path().join("nginx.conf")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    /// The configuration, which says `version` to who asks.
    fn settings(&self, version: &str) -> String {
        let pages = self.pages.path().display();
        let state = self.state.path().display();
        let logs = self.logs.path().display();
        format!(
            "daemon off;
            user www-data;
            worker_processes 2;
            pid {state}/pid;
            error_log {logs}/error.log;
            events {{ }}
            http {{
                access_log {logs}/access.log;
                client_body_temp_path {state}/body;
                proxy_temp_path {state}/proxy;
                fastcgi_temp_path {state}/fastcgi;
                uwsgi_temp_path {state}/uwsgi;
                scgi_temp_path {state}/scgi;
                server {{
                    listen 80;
                    root {pages};
                    location = /version {{ return 200 {version}; }}
                }}
            }}"
        )
    }

    pub(super) fn command(&self) -> Vec<String> {
        let configuration = self.configuration();
        let log = self.log("error.log");
        [
            NGINX,
            "-e",
            &log.to_string_lossy(),
            "-c",
            &configuration.to_string_lossy(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// A first start: no logs, no state, the configuration that it was made with.
    pub(super) fn empty(&self) -> Result<()> {
        for directory in [&self.state, &self.logs] {
            for entry in fs::read_dir(directory.path())? {
                let path = entry?.path();
                if path.is_dir() {
                    fs::remove_dir_all(path)?;
                } else {
                    fs::remove_file(path)?;
                }
            }
        }
        fs::write(self.configuration(), self.settings("one"))?;
        Ok(())
    }

    /// Start, requests, reload, new logs, quit.
    pub(super) fn serve(&self, server: &mut Process) -> Result<()> {
        server
            .until(|| http::get(80, "/"))?
            .expect(200)?
            .with_body(b"good morning\n")?;
        http::get(80, "/version")?.expect(200)?.with_body(b"one")?;
        http::get(80, "/none")?.expect(404)?;

        fs::write(self.configuration(), self.settings("two"))?;
        signal(server, Signal::SIGHUP)?;
        server.until(|| http::get(80, "/version")?.expect(200)?.with_body(b"two"))?;

        fs::rename(self.log("access.log"), self.log("access.log.1"))?;
        signal(server, Signal::SIGUSR1)?;
        server.until(|| {
            http::get(80, "/rotated")?.expect(404)?;
            let log = fs::read_to_string(self.log("access.log")).context("no new log")?;
            ensure!(log.contains("/rotated"), "the new log is not used");
            Ok(())
        })?;

        signal(server, Signal::SIGQUIT)?;
        let status = server.wait()?;
        ensure!(status.success(), "the end is no good one: {status}");
        Ok(())
    }
}

/// To the master, which under the sandbox as under the recorder is somewhere below the process that
/// was started; its own process identifier file holds a number of another namespace.
fn signal(server: &Process, signal: Signal) -> Result<()> {
    // A worker just forked has its master's title for a moment.
    let master = loop {
        match server.descendants("nginx: master")[..] {
            [master] => break master,
            [] => bail!("no master"),
            _ => thread::sleep(Duration::from_millis(10)),
        }
    };
    Ok(kill(master, signal)?)
}

#[test]
fn nginx_reloads_and_rotates() -> Result<()> {
    if !met("nginx", &[NGINX, "ip"]) {
        return Ok(());
    }
    network::private(|| {
        let site = Site::new()?;
        let command = site.command();
        let work = |server: &mut Process| site.serve(server);
        let recorded = harden::record_daemon("nginx", &[], &command, work)?;
        assert_eq!(recorded.status, 0, "{}", recorded.output);
        let profile = recorded.profile;
        site.empty()?;
        firejail::run(&profile, &command, work)?;

        assert_each_is_needed(
            &profile,
            &[
                ("caps.keep", "net_bind_service"),
                ("caps.keep", "setuid"),
                ("caps.keep", "setgid"),
                ("caps.keep", "chown"),
                ("seccomp.keep", "accept4"),
                ("seccomp.keep", "rt_sigsuspend"),
                ("protocol", "inet"),
                ("private-bin", "nginx"),
            ],
            &command,
            || site.empty(),
            work,
        );
        Ok(())
    })
}
