//! The agent's life: start, loop, stop.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use caps::Capability;
use sd_notify::NotifyState;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::MissedTickBehavior,
};

use super::{
    config::Config,
    control::{self, Limits},
    core::{Core, CoreError, Retired},
    lock::{Lock, LockError},
    memory, metrics,
    request::Request,
};
use crate::{
    machine::{descriptor::watch, kallsyms, proc},
    probe::{self, KernelLog, ProbeError},
};

/// How often slots are looked for that can be freed, losses are counted, and runs that ended are written.
const ROUND: Duration = Duration::from_secs(1);
/// How often questions that are due are asked.
const ASK: Duration = Duration::from_millis(100);
/// Requests that wait for the core.
const REQUESTS: usize = 128;

/// Observes until it is told to stop. The kernel side goes on after that, where it is pinned.
///
/// # Errors
/// Nothing can be recorded, or the control socket cannot be had.
pub fn run(config: Config) -> anyhow::Result<()> {
    can_record()?;
    if let Some(directory) = &config.kernel.pin {
        is_on_bpffs(directory)?;
    }
    memory::limit();
    let _state = Lock::take(&config.state.directory)?;
    let _pins = match config.kernel.pin.as_deref().map(Lock::take) {
        // What is wrong with the directory is told better when it is used.
        None | Some(Err(LockError::Io(..))) => None,
        Some(lock) => Some(lock?),
    };
    let requests = serve(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(observe(config, requests))
}

/// Takes the kernel side out. Says whether there was one.
///
/// # Errors
/// It cannot be removed, or an agent uses it.
pub fn unload(config: &Config) -> anyhow::Result<bool> {
    let Some(directory) = &config.kernel.pin else {
        return Ok(false);
    };
    let _pins = match Lock::take_existing(directory) {
        Err(LockError::Taken(_, holder)) => anyhow::bail!(
            "an agent is running{holder}, and would record nothing any more\nend it first: sudo systemctl stop harden; \
             one that systemd did not start, by SIGTERM"
        ),
        // What is wrong with the directory is told better when it is used.
        lock => lock.ok(),
    };
    Ok(probe::unload(directory)?)
}

/// Whether this process may load BPF programs at all: else the cause would be told as that of whatever is tried first.
fn can_record() -> anyhow::Result<()> {
    let has = proc::status("self").unwrap_or_default().effective;
    let has = |capability| proc::has(has, capability);
    let may = has(Capability::CAP_SYS_ADMIN)
        || (has(Capability::CAP_BPF) && has(Capability::CAP_PERFMON));
    let is_outside = is_of_the_machine();
    anyhow::ensure!(
        may && is_outside,
        "nothing can be recorded: {}\nrun the agent on the host: from there it observes the units of containers too",
        match (may, is_outside) {
            (false, true) =>
                "this process lacks the capabilities CAP_BPF and CAP_PERFMON, as in a container without privileges",
            _ =>
                "this process is in a user namespace, as in a container without privileges, and has no capabilities outside",
        }
    );
    Ok(())
}

/// Whether this process is in the first user namespace: in another one, capabilities count for nothing here.
fn is_of_the_machine() -> bool {
    // `PROC_USER_INIT_INO` (include/linux/proc_ns.h).
    const FIRST: u64 = 0xEFFF_FFFD;
    fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == FIRST)
}

/// Whether a directory is, or would be, on a BPF file system: asked before it is made.
fn is_on_bpffs(directory: &Path) -> Result<(), ProbeError> {
    let found = directory
        .ancestors()
        .find_map(|above| rustix::fs::statfs(above).ok());
    match found {
        Some(system) if system.f_type != libc::BPF_FS_MAGIC => {
            Err(ProbeError::NotBpffs(directory.to_owned()))
        }
        _ => Ok(()),
    }
}

async fn observe(config: Config, mut requests: mpsc::Receiver<Request>) -> anyhow::Result<()> {
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sizes = config.kernel.sizes();
    let (mut core, mut events) = Core::start(config, sizes)?;
    let mut log = core.take_kernel_log().map(watch).transpose()?;
    tracing::info!("observing {}", core.describe());
    if let Some(text) = kallsyms::missing(&core.hooks()) {
        tracing::warn!("{text}");
    }
    notify(&[NotifyState::Ready]);

    let mut retired: Option<Retired> = None;
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ask = tokio::time::interval(ASK);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            result = events.more(|item| core.take(item)) => {
                result.map_err(|error| CoreError::System("the ring buffer cannot be read", error))?;
                core.relieve()?;
                if retired.is_none() && core.has_many_gone() {
                    retired = core.retire()?;
                }
            }
            slots = Retired::over(&mut retired) => core.finish(&mut events, &slots?)?,
            Some(request) = requests.recv() => core.serve(&mut events, request)?,
            _ = round.tick() => {
                core.round()?;
                if retired.is_none() && core.is_retirement_due() {
                    retired = core.retire()?;
                }
                notify(&[NotifyState::Watchdog]);
            }
            result = hear(&mut log) => result?,
            _ = ask.tick(), if core.has_questions() => core.ask(),
            // Not what is ready at once: the runtime would look at nothing else.
            () = tokio::task::yield_now(), if core.is_saving() && (!events.is_more() || core.is_full()) => {
                core.save_next();
            }
            _ = end.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    notify(&[NotifyState::Stopping]);
    // The next agent would find them, but until then they are of no use.
    if retired.is_some() {
        let slots = Retired::over(&mut retired).await?;
        core.finish(&mut events, &slots)?;
    }
    events.drain(|item| core.take(item));
    core.compact()?;
    core.save_rest();
    core.end_shadows();
    core.tidy();
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the kernel programs say something, and passes it on; for ever if nobody hears them.
async fn hear(log: &mut Option<AsyncFd<KernelLog>>) -> io::Result<()> {
    let Some(log) = log else {
        return std::future::pending().await;
    };
    let mut ready = log.readable_mut().await?;
    // Cleared first: what comes while we read makes it ready again.
    ready.clear_ready();
    ready.get_inner_mut().flush();
    Ok(())
}

/// The control interface, in a thread of its own: what it takes to write an observation as JSON is not taken
/// from the ring buffer.
fn serve(config: &Config) -> anyhow::Result<mpsc::Receiver<Request>> {
    let (sender, requests) = mpsc::channel(REQUESTS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (listener, group) = {
        let _guard = runtime.enter();
        control::bind(&config.control.socket)?
    };
    let limits = Limits {
        connections: config.control.connections as usize,
        ..Limits::default()
    };
    let listen = config.metrics.listen.clone();
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let figures = async {
                    if let Some(listen) = &listen
                        && let Err(error) = metrics::serve(listen, sender.clone()).await
                    {
                        tracing::error!("no figures are given: {error}");
                    }
                };
                tokio::join!(
                    control::serve(listener, group, sender.clone(), limits),
                    figures
                );
            });
        })?;
    Ok(requests)
}

fn notify(states: &[NotifyState<'_>]) {
    // Nobody listens where it was not systemd that started us.
    let _ = sd_notify::notify(states);
}
