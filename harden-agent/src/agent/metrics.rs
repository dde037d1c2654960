//! The figures of the agent as Prometheus text, for a collector.
//!
//! One short answer to `GET /` or `GET /metrics`, one client after the other, each for at most
//! two seconds: no more of HTTP than a collector needs.

use std::{collections::BTreeMap, fmt::Write, io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, oneshot},
};

use super::{
    config::Listen,
    control,
    request::{Request, ShadowSummary, Status, UnitState, UnitSummary},
};

/// Answers for ever.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(address: &Listen, core: mpsc::Sender<Request>) -> io::Result<()> {
    match address {
        Listen::Unix(path) => {
            let (listener, _) = control::bind(path).map_err(io::Error::other)?;
            loop {
                answered(listener.accept().await.map(|(stream, _)| stream), &core).await;
            }
        }
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            loop {
                answered(listener.accept().await.map(|(stream, _)| stream), &core).await;
            }
        }
    }
}

async fn answered(
    stream: io::Result<impl AsyncRead + AsyncWrite + Unpin>,
    core: &mpsc::Sender<Request>,
) {
    const LONGEST: Duration = Duration::from_secs(2);
    match stream {
        Ok(stream) => {
            let answered = tokio::time::timeout(LONGEST, answer(stream, core)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!("no figures for a client: {error}");
            }
        }
        Err(error) => {
            tracing::warn!("no connection can be accepted: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    core: &mpsc::Sender<Request>,
) -> io::Result<()> {
    const LONGEST: usize = 8192;
    let mut head = Vec::new();
    // Read to the end of the head, or closing would reset the connection under the answer.
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut step = [0; 1024];
        let read = stream.read(&mut step).await?;
        head.extend(&step[..read]);
        if read == 0 || head.len() > LONGEST {
            return Err(io::Error::other("no request of HTTP"));
        }
    }
    let mut words = head.split(u8::is_ascii_whitespace);
    let body = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/" | b"/metrics")) => figures(core).await,
        _ => None,
    };
    let (status, body) = match body {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", "GET / has the figures\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn figures(core: &mpsc::Sender<Request>) -> Option<String> {
    let (reply, status) = oneshot::channel();
    core.send(Request::Status { reply }).await.ok()?;
    let (reply, units) = oneshot::channel();
    core.send(Request::Units { reply }).await.ok()?;
    Some(text(&status.await.ok()?, &units.await.ok()?))
}

/// The figures in Prometheus' text format, 0.0.4.
#[must_use]
pub fn text(status: &Status, units: &[UnitSummary]) -> String {
    let mut out = Figures(String::new());
    let number = |value: usize| value as u64;
    out.family("harden_units", "gauge", "Units known");
    out.value("harden_units", &[], status.units);
    for (name, help, value) in [
        (
            "harden_slots_used",
            "Records of programs in use",
            status.slots_used,
        ),
        (
            "harden_slots",
            "Records of programs there are",
            status.slots_total,
        ),
        (
            "harden_cgroups_used",
            "Cgroups observed",
            status.cgroups_used,
        ),
        (
            "harden_cgroups",
            "Cgroups that can be observed",
            status.cgroups_total,
        ),
        (
            "harden_journal_bytes",
            "Bytes in the journals",
            status.journal_bytes,
        ),
        (
            "harden_errors",
            "What is wrong at this moment: harden status says what",
            number(status.errors.len()),
        ),
    ] {
        out.family(name, "gauge", help);
        out.value(name, &[], value);
    }
    out.family(
        "harden_events_total",
        "counter",
        "Events taken by this process",
    );
    out.value("harden_events_total", &[], status.events);
    out.family(
        "harden_losses_total",
        "counter",
        "What could not be recorded",
    );
    for (kind, count) in &status.losses {
        out.value("harden_losses_total", &[("kind", kind)], *count);
    }
    out.family("harden_unit_facts", "gauge", "Different facts of a unit");
    for unit in units.iter().filter(|unit| unit.state != UnitState::Silent) {
        let name = unit.unit.to_string();
        for (kind, count) in [
            ("call", unit.calls),
            ("capability", number(unit.capabilities.len())),
            ("path", unit.paths),
            ("family", number(unit.families.len())),
        ] {
            out.value(
                "harden_unit_facts",
                &[("unit", &name), ("kind", kind)],
                count,
            );
        }
    }
    out.family(
        "harden_unit_last_new_timestamp_seconds",
        "gauge",
        "When the last new fact of a unit came",
    );
    for unit in units {
        let seconds = unit.last_new.map(|time| time.0.as_second());
        if let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
            let name = unit.unit.to_string();
            let labels = [("unit", name.as_str())];
            out.value("harden_unit_last_new_timestamp_seconds", &labels, seconds);
        }
    }
    for (name, help, value) in SHADOW {
        out.family(name, "gauge", help);
        for shadow in &status.shadows {
            let unit = shadow.unit.to_string();
            out.value(name, &[("unit", &unit)], value(shadow));
        }
    }
    out.0
}

/// A figure of a unit in shadow: its name, what it is, and how many.
type OfShadow = (&'static str, &'static str, fn(&ShadowSummary) -> u64);

const SHADOW: [OfShadow; 6] = [
    (
        "harden_shadow_denials",
        "Facts that the profile frozen for a unit would refuse",
        |shadow| shadow.denials,
    ),
    (
        "harden_shadow_facts",
        "Different facts of a unit since its profile was frozen",
        |shadow| shadow.facts,
    ),
    (
        "harden_shadow_unjudged",
        "Facts that could not be judged since then",
        |shadow| sum(&shadow.unjudged),
    ),
    (
        "harden_shadow_tests",
        "Marked tests that have ended since then",
        |shadow| shadow.tests,
    ),
    (
        "harden_shadow_losses",
        "What could not be recorded of the unit since then",
        |shadow| sum(&shadow.losses),
    ),
    (
        "harden_shadow_gaps",
        "How often the unit may have done something since then that was not recorded",
        |shadow| shadow.gaps,
    ),
];

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    let counts = counts.values();
    counts.fold(0, |sum, count| sum.saturating_add(*count))
}

struct Figures(String);

impl Figures {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n");
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::control::tests::{core, observation, status, summary};

    #[test]
    fn every_line_is_one_figure_whatever_a_unit_is_called() {
        let units = ["a.service", "evil\"} 1\nharden_units 7\\.service"];
        let units = units.map(|name| summary(&observation(name)));
        let text = text(&status(2), &units);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<u64>().is_ok(), "{line}");
            assert!(name.starts_with("harden_"), "{line}");
        }
        let named = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(named("harden_units "), 1, "{text}");
        assert_eq!(named("harden_unit_facts{"), 8, "{text}");
        assert!(
            text.contains("harden_losses_total{kind=\"ring\"} 3\n"),
            "{text}"
        );
        assert!(
            text.contains(r#"unit="evil\"} 1\\nharden_units 7\\\\.service""#),
            "{text}"
        );
    }

    #[test]
    fn a_collector_gets_figures_and_others_an_error_or_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (sender, requests) = mpsc::channel(4);
            let core = core(vec![observation("a.service")], requests);
            let asked = async {
                let ask = async |request: &[u8]| {
                    let (mut near, far) = tokio::io::duplex(1 << 16);
                    near.write_all(request).await.unwrap();
                    let answered = answer(far, &sender).await;
                    let mut text = String::new();
                    near.read_to_string(&mut text).await.unwrap();
                    (answered.is_ok(), text)
                };
                let (_, text) = ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
                assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
                assert!(text.contains("\nharden_units 1\n"), "{text}");
                for request in [
                    &b"POST / HTTP/1.1\r\n\r\n"[..],
                    b"GET /etc HTTP/1.0\r\n\r\n",
                ] {
                    let (_, text) = ask(request).await;
                    assert!(text.starts_with("HTTP/1.0 404"), "{text}");
                }
                let (answered, text) = ask(&b"x".repeat(20_000)).await;
                assert!(!answered && text.is_empty(), "{text}");
            };
            tokio::select! {
                () = asked => {}
                () = core => panic!("the core ended"),
            }
        });
    }
}
