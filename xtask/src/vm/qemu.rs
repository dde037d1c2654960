//! A virtual machine: started, listened to, and ended whatever happens in it.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::emulator;
use crate::process;

/// What is booted, and with what.
pub struct Machine {
    /// The kernel.
    pub kernel: PathBuf,
    /// The first root file system.
    pub initramfs: PathBuf,
    /// A disk; what is written to it is forgotten.
    pub disk: Option<PathBuf>,
    /// The kernel's command line, beside what every guest has.
    pub parameters: String,
    /// Where the kernel's messages go.
    pub console: PathBuf,
}

/// Why there are no more lines.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The reader has seen enough.
    Told,
    /// The guest is gone.
    Gone,
    /// Time is up.
    Late,
}

impl Machine {
    fn command(&self) -> Command {
        let mut qemu = emulator::command();
        qemu.args(["-machine", "q35", "-smp", "2", "-m", "2048"]);
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none"]);
        if kvm() {
            qemu.args(["-accel", "kvm", "-cpu", "host"]);
        } else {
            // With a thread for each processor guests with 6.12 panicked (int3); docs/vm.md.
            qemu.args(["-accel", "tcg,thread=single", "-cpu", "max"]);
        }
        qemu.arg("-kernel").arg(&self.kernel);
        qemu.arg("-initrd").arg(&self.initramfs);
        if let Some(disk) = &self.disk {
            let disk = disk.display();
            qemu.arg("-drive")
                .arg(format!("file={disk},format=raw,if=virtio,snapshot=on"));
        }
        // Debian's list of security modules, where it has one, lacks bpf on 5.10. What guards against flaws of processors
        // and what clears memory costs much emulated, and no suite is about it.
        // An emulated timer is late on a busy machine: 5.10 takes that for a broken one, and panics.
        let parameters = format!(
            "console=ttyS0 no_timer_check panic=-1 quiet loglevel=4 rdinit=/init lsm=lockdown,yama,bpf mitigations=off init_on_alloc=0 {}",
            self.parameters
        );
        qemu.args(["-append", &parameters]);
        qemu.arg("-serial")
            .arg(format!("file:{}", self.console.display()));
        qemu.args([
            "-chardev",
            "stdio,id=results,signal=off",
            "-serial",
            "chardev:results",
        ]);
        qemu
    }

    /// Boots and gives every line of the second serial port to `read`, which says whether to go on.
    pub fn run(
        &self,
        patience: Duration,
        mut read: impl FnMut(&str) -> Result<bool>,
    ) -> Result<End> {
        let mut command = self.command();
        let shown = process::show(&command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = Killed(child.with_context(|| format!("could not start: {shown}"))?);
        let output = child.0.stdout.take().context("no pipe to the guest")?;

        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { return };
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match receive.recv_timeout(left) {
                Ok(line) => {
                    let line = String::from_utf8_lossy(&line);
                    if !read(line.trim_end_matches('\r'))? {
                        return Ok(End::Told);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(End::Late),
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Gone),
            }
        }
    }

    /// Boots with this terminal as the guest's.
    pub fn shell(&self) -> Result<()> {
        process::run(&mut self.command())
    }

    /// The last of what the kernel said.
    pub fn console_end(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// A child that does not outlive its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// How many guests run at once: an emulated one keeps one processor busy.
pub fn at_once() -> usize {
    if kvm() {
        return 1;
    }
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Does the kernel here run virtual machines? The device can be there, and open, on processors that
/// cannot; a guest hangs then.
fn kvm() -> bool {
    let device = Path::new("/dev/kvm");
    let opens = OpenOptions::new()
        .read(true)
        .write(true)
        .open(device)
        .is_ok();
    opens && virtualizes(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn virtualizes(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.any(|line| {
        line.split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm")
    })
}

/// Says how a boot ended that did not end well.
pub fn explain(end: &End, machine: &Machine, patience: Duration) -> Result<()> {
    let what = match end {
        End::Told => return Ok(()),
        End::Gone => "ended before its suites did".to_owned(),
        End::Late => format!("was killed after {} s", patience.as_secs()),
    };
    bail!(
        "the guest {what}; the end of its console, {}:\n{}",
        machine.console.display(),
        machine.console_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_say_whether_they_virtualize() {
        assert!(virtualizes("flags\t\t: fpu vmx sse\n"));
        assert!(!virtualizes("flags\t\t: fpu vmmcall\nbugs\t: svm\n"));
    }
}
