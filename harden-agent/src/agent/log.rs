//! What the agent says, and where to: the journal with its levels, or readable lines on standard error.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::{SubscriberInitExt as _, TryInitError},
};

use super::config::Level;

/// The environment variable that tells what to say, over the configuration.
const FILTER: &str = "RUST_LOG";

/// The name that the journal has the agent's messages under: `journalctl -t harden`.
const IDENTIFIER: &str = "harden";

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` makes no sense.
    #[error(
        "the environment variable {FILTER} is no filter of messages: {0}; write a level (off, error, warn, info, \
         debug, trace), or levels by module, as in {FILTER}=info,harden_agent::agent=debug"
    )]
    Filter(#[from] ParseError),
    /// `RUST_LOG` is no text.
    #[error("the environment variable {FILTER} is not UTF-8")]
    Encoding,
    /// Messages have a place to go to already.
    #[error("messages go elsewhere already: {0}")]
    Twice(#[from] TryInitError),
}

/// Begins to say what is at `level` or more important, and what the kernel programs say that is so at level
/// `kernel`; or what `RUST_LOG` asks for. To be called once.
///
/// # Errors
/// [`LogError`]: `RUST_LOG` makes no sense, or this was called before.
pub fn init(level: Level, kernel: Level) -> Result<(), LogError> {
    let filter = filter(level, kernel, env::var_os(FILTER).as_deref())?;
    let registry = tracing_subscriber::registry().with(filter);
    match journal() {
        Some(journal) => registry.with(journal).try_init()?,
        None => registry
            .with(lines(io::stderr, io::stderr().is_terminal()))
            .try_init()?,
    }
    Ok(())
}

fn filter(level: Level, kernel: Level, asked: Option<&OsStr>) -> Result<EnvFilter, LogError> {
    let asked = asked.filter(|asked| !asked.is_empty());
    if let Some(asked) = asked {
        let asked = asked.to_str().ok_or(LogError::Encoding)?;
        return Ok(EnvFilter::builder().parse(asked)?);
    }
    let own = LevelFilter::from(level);
    // Below that, the D-Bus library alone says more about itself than anybody reads.
    let others = own.min(LevelFilter::INFO);
    let kernel = LevelFilter::from(kernel);
    let directives = format!("{others},harden={own},harden_agent={own},harden::log={kernel}");
    Ok(EnvFilter::builder().parse(directives)?)
}

/// The journal, if that is where standard error goes. It takes levels and fields, which lines would lose.
fn journal() -> Option<tracing_journald::Layer> {
    let stream = env::var_os("JOURNAL_STREAM")?;
    if !is_stream(&stream, io::stderr()) {
        return None;
    }
    let journal = tracing_journald::layer().ok()?;
    Some(
        journal
            .with_syslog_identifier(IDENTIFIER.to_owned())
            .with_field_prefix(Some("HARDEN".to_owned()))
            .with_priority_mappings(PriorityMappings {
                error: Priority::Error,
                warn: Priority::Warning,
                // The library takes `notice`, which journalctl prints in bold.
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
            }),
    )
}

/// Is `open` what `JOURNAL_STREAM` names, "device:inode" (systemd.exec(5))? The variable is inherited by
/// programs whose standard error has gone elsewhere since.
fn is_stream(stream: &OsStr, open: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(open) else {
        return false;
    };
    stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn lines<S, W>(writer: W, colours: bool) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fmt::layer()
        .with_writer(writer)
        .with_ansi(colours)
        .with_target(false)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(filter: EnvFilter, colours: bool, say: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(lines(move || writer.clone(), colours));
        tracing::subscriber::with_default(subscriber, say);
        let bytes = page.0.lock().expect("one thread").clone();
        String::from_utf8(bytes).expect("text")
    }

    fn one_of_each() {
        tracing::error!("an error");
        tracing::warn!("a warning");
        tracing::info!(unit = "nginx.service", "a fact");
        tracing::debug!("a detail");
        tracing::debug!(target: "zbus", "a stranger's detail");
    }

    #[test]
    fn the_level_is_the_least_important_that_is_said() {
        for (level, lines) in [
            (Level::Off, 0),
            (Level::Error, 1),
            (Level::Warn, 2),
            (Level::Info, 3),
            (Level::Debug, 4),
            (Level::Trace, 4),
        ] {
            let text = said(
                filter(level, Level::Off, None).expect("valid"),
                false,
                one_of_each,
            );
            assert_eq!(text.lines().count(), lines, "{level:?}: {text}");
        }
    }

    #[test]
    fn the_environment_wins() {
        let asked = |text: &str| filter(Level::Error, Level::Off, Some(OsStr::new(text)));
        let text = said(asked("debug").expect("valid"), false, one_of_each);
        assert_eq!(text.lines().count(), 5, "{text}");
        let text = said(asked("zbus=debug").expect("valid"), false, one_of_each);
        assert!(text.ends_with("a stranger's detail\n"), "{text}");
        let text = said(asked("").expect("as if unset"), false, one_of_each);
        assert_eq!(text.lines().count(), 1, "{text}");
        let error = asked("harden=loud").expect_err("no level").to_string();
        assert!(error.contains("RUST_LOG"), "{error}");
    }

    #[test]
    fn a_line_has_level_message_and_fields_and_colours_on_terminals_only() {
        let all = || filter(Level::Trace, Level::Off, None).expect("valid");
        let text = said(all(), false, one_of_each);
        assert!(
            text.contains(" INFO a fact unit=\"nginx.service\"\n"),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text}");
        assert!(said(all(), true, one_of_each).contains('\x1b'));
    }

    #[test]
    fn the_journal_is_told_by_device_and_inode() {
        let file = tempfile::tempfile().expect("a file");
        let stat = rustix::fs::fstat(&file).expect("open");
        let stream = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_stream(OsStr::new(&stream), &file));
        assert!(!is_stream(OsStr::new(&stream), io::stdin()));
        assert!(!is_stream(OsStr::new(""), &file));
    }
}
