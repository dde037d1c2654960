//! Servers under a condition, loaded by a client that is under none.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use harden_tests::Process;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    condition::Condition,
    effort::Effort,
    place::Place,
    workload::{Figures, reason},
};

/// Clients at once.
const CLIENTS: &str = "16";

/// How long a server may take to start and to end.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
pub enum Server {
    Redis,
    Nginx,
}

impl Server {
    /// The rows that it gives.
    pub fn rows(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["set", "get"],
            Self::Nginx => &["request"],
        }
    }

    /// Starts it behind `command`, loads it and ends it.
    pub fn measure(
        self,
        mut command: Command,
        condition: Condition,
        place: &Place,
        effort: &Effort,
    ) -> Result<Figures> {
        let pid = place.path("server.pid");
        let port = free_port()?;
        match self {
            Self::Redis => {
                command.args(["redis-server", "--save", "", "--port", &port.to_string()]);
                command.arg("--pidfile").arg(&pid);
            }
            Self::Nginx => {
                let configuration = place.path("nginx.conf");
                fs::write(&configuration, nginx(place, &pid, port)?)?;
                command.arg("/usr/sbin/nginx").arg("-c").arg(configuration);
            }
        }
        let mut process = Process::start(&mut command)?.patience(PATIENCE);
        process
            .until(|| Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?))
            .map_err(|_| anyhow!(reason(&process.output())))?;
        let figures = match self {
            Self::Redis => {
                let requests = condition.scaled(40_000);
                redis_benchmark(port, requests)
            }
            Self::Nginx => wrk(port, effort.load_seconds),
        };
        // A tool would take the signal for itself.
        let main = fs::read_to_string(&pid).context("the server names no process")?;
        kill(Pid::from_raw(main.trim().parse()?), Signal::SIGTERM)?;
        process.wait().with_context(|| reason(&process.output()))?;
        figures
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn nginx(place: &Place, pid: &Path, port: u16) -> Result<String> {
    let root = place.path("www");
    fs::create_dir_all(&root)?;
    fs::write(root.join("index.html"), [b'x'; 1024])?;
    let path = |name: &str| place.path(name).display().to_string();
    Ok(format!(
        "daemon off;\nworker_processes 1;\npid {};\nerror_log {};\nevents {{}}\nhttp {{\naccess_log {};\n\
         server {{\nlisten 127.0.0.1:{port};\nroot {};\n}}\n}}\n",
        pid.display(),
        path("error.log"),
        path("access.log"),
        root.display()
    ))
}

fn redis_benchmark(port: u16, requests: usize) -> Result<Figures> {
    let mut client = Command::new("redis-benchmark");
    client.args(["--csv", "-t", "set,get", "-c", CLIENTS]);
    client.args(["-p", &port.to_string(), "-n", &requests.to_string()]);
    parse_redis_benchmark(&output(&mut client)?)
}

fn parse_redis_benchmark(text: &str) -> Result<Figures> {
    let figure = |name: &str| {
        let line = text.lines().find(|line| line.contains(name));
        let rate = line.and_then(|line| line.split('"').nth(3));
        let rate: f64 = rate.with_context(|| text.to_owned())?.parse()?;
        Ok((name.trim_matches('"').to_lowercase(), 1e9 / rate))
    };
    ["\"SET\"", "\"GET\""].into_iter().map(figure).collect()
}

fn wrk(port: u16, seconds: u32) -> Result<Figures> {
    let mut client = Command::new("wrk");
    client.args(["-t", "1", "-c", CLIENTS]);
    client.args(["-d", &format!("{seconds}s")]);
    client.arg(format!("http://127.0.0.1:{port}/"));
    parse_wrk(&output(&mut client)?)
}

fn parse_wrk(text: &str) -> Result<Figures> {
    ensure!(!text.contains("Non-2xx"), "{text}");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate: f64 = line.with_context(|| text.to_owned())?.trim().parse()?;
    Ok(vec![("request".to_owned(), 1e9 / rate)])
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| program.display().to_string())?;
    ensure!(
        output.status.success(),
        "{}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_print_is_read() -> Result<()> {
        let redis = "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"50000.00\",\"0.1\"\n\"GET\",\"100000.00\",\"0.1\"\n";
        let figures = parse_redis_benchmark(redis)?;
        assert_eq!(
            figures,
            [("set".into(), 20_000.0), ("get".into(), 10_000.0)]
        );
        let wrk =
            "Running 2s test\n  2 requests in 1s\nRequests/sec:   4000.00\nTransfer/sec:  1MB\n";
        assert_eq!(parse_wrk(wrk)?, [("request".to_owned(), 250_000.0)]);
        assert!(parse_wrk("Requests/sec:   4000.00\n  Non-2xx or 3xx responses: 3\n").is_err());
        assert!(parse_wrk("unable to connect\n").is_err());
        Ok(())
    }
}
