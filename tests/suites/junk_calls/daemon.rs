//! A daemon of Debian that makes such a call where a client asks for it: nginx, by a page in Perl.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use harden_tests::{Process, Scratch, firejail, harden, http, met, network};
use nix::errno::Errno;

const NGINX: &str = "/usr/sbin/nginx";
const PERL: &str = "/usr/lib/nginx/modules/ngx_http_perl_module.so";

/// Its pages, its state and its logs, for which Firejail has different rules.
struct Site {
    pages: Scratch,
    state: Scratch,
    logs: Scratch,
}

impl Site {
    fn new() -> Result<Self> {
        let site = Self {
            pages: Scratch::new(Path::new("/srv"))?,
            state: Scratch::new(Path::new("/var/lib"))?,
            logs: Scratch::new(Path::new("/var/log"))?,
        };
        fs::write(site.pages.path().join("index.html"), "good morning\n")?;
        fs::write(site.pages.path().join("nginx.conf"), site.settings())?;
        Ok(site)
    }

    fn settings(&self) -> String {
        let pages = self.pages.path().display();
        let state = self.state.path().display();
        let logs = self.logs.path().display();
        format!(
            r#"load_module {PERL};
            daemon off;
            user www-data;
            worker_processes 1;
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
                    location = /junk {{
                        perl 'sub {{
                            my $request = shift;
                            my $answer = syscall(9999);
                            my $error = $! + 0;
                            $request->send_http_header("text/plain");
                            $request->print("$answer $error");
                            return OK;
                        }}';
                    }}
                }}
            }}"#
        )
    }

    fn command(&self) -> Vec<String> {
        let settings = self.pages.path().join("nginx.conf");
        let log = self.logs.path().join("error.log");
        let [settings, log] = [settings, log].map(|path| path.display().to_string());
        [NGINX, "-e", &log, "-c", &settings]
            .map(str::to_owned)
            .to_vec()
    }

    /// A first start: no logs and no state.
    fn empty(&self) -> Result<()> {
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
        Ok(())
    }
}

/// Pages before the call, the call, to which the answer is `refused`, and pages after it.
fn serve(server: &mut Process, refused: Errno) -> Result<()> {
    let pages = || -> Result<()> {
        http::get(80, "/")?
            .expect(200)?
            .with_body(b"good morning\n")?;
        http::get(80, "/none")?.expect(404).map(drop)
    };
    server.until(pages)?;
    let answer = format!("-1 {}", refused as i32);
    for _ in 0..2 {
        let page = http::get(80, "/junk")?.expect(200)?;
        let found = String::from_utf8_lossy(&page.body);
        ensure!(found == answer, "{found}, not {answer}");
        pages()?;
    }
    Ok(())
}

#[test]
fn a_client_has_a_daemon_make_one() -> Result<()> {
    if !met("a client has a daemon make one", &[NGINX, PERL, "ip"]) {
        return Ok(());
    }
    network::private(|| {
        let site = Site::new()?;
        let command = site.command();
        let options = ["--format", "firejail,systemd,oci"];
        let recorded = harden::record_daemon("nginx", &options, &command, |server| {
            serve(server, Errno::ENOSYS)
        })?;
        ensure!(recorded.status == 0, "{}", recorded.output);
        let profile = &recorded.profile;
        let text = profile.text();
        let told = "# Asks for nothing: numbers beyond all calls: not a call of this kernel: answered ENOSYS";
        ensure!(text.contains(told), "{text}");
        let list = profile.list("seccomp.keep");
        ensure!(list.contains(&"accept4"), "{list:?}");
        let read = |name: &str| fs::read_to_string(recorded.dir.path().join(name));
        let drop_in = read("nginx.drop-in.conf")?;
        let mut filters = drop_in
            .lines()
            .filter(|line| line.starts_with("SystemCallFilter="));
        ensure!(filters.any(|line| line.contains("accept4")), "{drop_in}");
        let oci: serde_json::Value = serde_json::from_str(&read("nginx.seccomp.json")?)?;
        ensure!(oci["syscalls"].to_string().contains("\"accept4\""), "{oci}");

        // The filter refuses the call, and the daemon goes on as it did.
        site.empty()?;
        firejail::run(profile, &command, |server| serve(server, Errno::EPERM))?;
        site.empty()?;
        let less = profile.without("seccomp.keep", "accept4");
        let served = firejail::run_to_fail(&less, &command, |server| serve(server, Errno::EPERM));
        ensure!(served.is_err(), "accept4 is not needed");
        Ok(())
    })
}
