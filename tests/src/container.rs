//! A Debian with a systemd of its own, on this machine's kernel: what `systemd-nspawn` boots from the disk
//! image of the virtual machines. No machined, no network, and nothing that is written there stays, but over a reboot of one
//! that is booted for that.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;

use crate::{Process, Scratch, as_patient, is_alive, leftovers, tree::cgroup_trees};

/// How long a boot may take. It takes about a second.
const BOOT: Duration = Duration::from_mins(1);

/// Boots. The mounts are in a namespace of their own, which goes with the last process in it. Arguments: the
/// image, an empty directory, the cgroups to be in.
const START: &str = r#"set -e
image=$1 root=$2
shift 2
for cgroup in "$@"; do
    echo 0 >"$cgroup/cgroup.procs"
done
mount -o ro,loop,noload "$image" "$root"
# Orderly shut down when the test is gone, whatever ended it.
exec setpriv --pdeathsig TERM systemd-nspawn --quiet --register=no --keep-unit --directory="$root" --volatile=overlay \
    --boot --private-network --capability=all --console=pipe
"#;

/// The same, of a system that can reboot: what it has written is there again. systemd-nspawn ends with 133 then
/// (`EXIT_FORCE_RESTART`, src/nspawn/nspawn.c), and the next one is to find its cgroup empty, without this shell.
const START_AGAIN: &str = r#"set -e
image=$1 root=$2
shift 2
mkdir "$root/image" "$root/written" "$root/system"
mount -o ro,loop,noload "$image" "$root/image"
mount -t tmpfs tmpfs "$root/written"
mkdir "$root/written/upper" "$root/written/work"
mount -t overlay -o "lowerdir=$root/image,upperdir=$root/written/upper,workdir=$root/written/work" overlay "$root/system"
boot='set -e
root=$1
shift
for cgroup in "$@"; do
    # Who has told it to reboot may not be gone yet.
    until find "$cgroup" -mindepth 1 -depth -type d -exec rmdir {} +; do
        sleep 0.05
    done
    echo 0 >"$cgroup/cgroup.procs"
done
exec setpriv --pdeathsig TERM systemd-nspawn --quiet --register=no --keep-unit --directory="$root" \
    --boot --private-network --capability=all --console=pipe'
exec setpriv --pdeathsig TERM /bin/sh -c '
boot=$1
shift
status=133
while [ $status = 133 ]; do
    status=0
    /bin/sh -c "$boot" sh "$@" || status=$?
done' sh "$boot" "$root/system" "$@"
"#;

/// Runs a command in there. Arguments: the first process, cgroups to be in, `--`, the command.
const ENTER: &str = r#"set -e
leader=$1
shift
while [ "$1" != -- ]; do
    echo 0 >"$1/cgroup.procs"
    shift
done
shift
exec nsenter --target "$leader" --all --wd=/ -- "$@"
"#;

/// A running container; gone with its processes, mounts and cgroups when dropped.
pub struct Container {
    leader: Pid,
    /// What starts it.
    starter: Pid,
    cgroups: Vec<Tree>,
    // Ends the thread that is systemd-nspawn's parent. Dropped before the thread is waited for.
    end: Option<mpsc::Sender<()>>,
    parent: Option<JoinHandle<()>>,
}

/// Its cgroup in one of the hierarchies that systemd uses: on a hybrid host there are two.
struct Tree {
    directory: PathBuf,
    root: PathBuf,
}

impl Container {
    /// Why this machine cannot boot one; `None` if it can.
    #[must_use]
    pub fn missing() -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("it needs root".to_owned());
        }
        let installed = Command::new("systemd-nspawn").arg("--version").output();
        if installed.is_err() {
            return Some("systemd-nspawn is not installed".to_owned());
        }
        let image = image();
        (!image.is_file()).then(|| {
            format!(
                "there is no {}: run `cargo xtask build --tests`, or name the image in HARDEN_TEST_ROOT",
                image.display()
            )
        })
    }

    /// Boots one, and waits until everything in it is up.
    ///
    /// # Errors
    /// It does not come up.
    pub fn boot() -> Result<Self> {
        Self::boot_by(START)
    }

    /// Boots one that can reboot.
    ///
    /// # Errors
    /// It does not come up.
    pub fn boot_again() -> Result<Self> {
        Self::boot_by(START_AGAIN)
    }

    /// Waits until it has rebooted, which it was told to do, and everything is up again.
    ///
    /// # Errors
    /// It does not come up again.
    pub fn reboots(&mut self) -> Result<()> {
        let deadline = Instant::now() + as_patient(BOOT);
        while is_alive(self.leader) {
            ensure!(Instant::now() < deadline, "it does not go down");
            thread::sleep(Duration::from_millis(20));
        }
        self.comes_up()
    }

    fn boot_by(script: &'static str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if let Some(missing) = Self::missing() {
            bail!(missing);
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroups = make_cgroups(&leftovers::container(number))?;
        let directories: Vec<_> = cgroups.iter().map(|tree| tree.directory.clone()).collect();
        let (sender, receiver) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        // Who starts systemd-nspawn is its parent for PR_SET_PDEATHSIG, and the threads of tests come and go.
        let parent = thread::spawn(move || {
            let started = start(script, &directories);
            let kept = match started {
                Ok((nspawn, root)) => {
                    let _ = sender.send(Ok(nspawn.id()));
                    Some((nspawn, root))
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                    None
                }
            };
            // Ends when the other end is dropped.
            let _ = ended.recv();
            drop(kept);
        });
        let mut container = Self {
            leader: Pid::from_raw(0),
            starter: Pid::from_raw(0),
            cgroups,
            end: Some(end),
            parent: Some(parent),
        };
        container.starter = receiver
            .recv()
            .context("the thread that starts it ended")??;
        container.comes_up()?;
        Ok(container)
    }

    fn comes_up(&mut self) -> Result<()> {
        self.leader = until_up(self.starter, self.leader)?;
        // For commands: a cgroup that has others in it may hold no process.
        for tree in &self.cgroups {
            fs::create_dir(tree.root.join("test"))?;
        }
        self.run(&["systemctl", "is-system-running", "--wait"])?;
        Ok(())
    }

    /// Its first process, as this machine numbers it.
    #[must_use]
    pub fn leader(&self) -> Pid {
        self.leader
    }

    /// Its root directory, seen from outside.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.leader).into()
    }

    /// The path of its root cgroup, below which its units are, in the version 2 tree of this machine.
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
        let name = self
            .cgroups
            .first()
            .and_then(|tree| tree.directory.file_name());
        Path::new("/")
            .join(name.unwrap_or_default())
            .join("payload")
    }

    /// The command in there, in all its namespaces, for more than [`run`](Self::run): it belongs to no unit.
    #[must_use]
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ENTER, "sh", &self.leader.to_string()]);
        command.args(self.cgroups.iter().map(|tree| tree.root.join("test")));
        command.arg("--").args(argv);
        command.current_dir("/").env_clear();
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command.envs([
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("SYSTEMD_PAGER", ""),
        ]);
        command
    }

    /// Runs a command in there to its end. How it ended is for the caller to see.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        let mut command = self.command(argv);
        command.stdin(Stdio::null());
        command.output().with_context(|| format!("{argv:?}"))
    }

    /// Writes a file in there, and the directories above it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        write(&self.root(), path, content.as_ref())
    }
}

/// Writes the file `path` of the system whose root directory is `root`.
pub(crate) fn write(root: &Path, path: &str, content: &[u8]) -> Result<()> {
    let file = root.join(path.trim_start_matches('/'));
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut open = fs::File::create(&file).with_context(|| format!("{}", file.display()))?;
    Ok(open.write_all(content)?)
}

impl Drop for Container {
    fn drop(&mut self) {
        for tree in &self.cgroups {
            // Version 2 only, and there only since 5.14; the rest is killed by its parent.
            let _ = fs::write(tree.directory.join("cgroup.kill"), "1");
        }
        self.end.take();
        if let Some(parent) = self.parent.take() {
            let _ = parent.join();
        }
        for tree in &self.cgroups {
            leftovers::remove_cgroup(&tree.directory);
        }
    }
}

/// `HARDEN_TEST_ROOT`, which `cargo xtask test` sets, else what xtask made last.
fn image() -> PathBuf {
    env::var_os("HARDEN_TEST_ROOT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm/debian/latest.ext4"),
        PathBuf::from,
    )
}

fn start(script: &str, cgroups: &[PathBuf]) -> Result<(Process, Scratch)> {
    let root = Scratch::new(Path::new("/run"))?;
    let mut nspawn = Command::new("unshare");
    nspawn.args(["--mount", "/bin/sh", "-c", script, "sh"]);
    nspawn.arg(image()).arg(root.path()).args(cgroups);
    // What runs in there is to be as free as on a machine: no filter of systemd-nspawn's.
    nspawn.env("SYSTEMD_SECCOMP", "0");
    Ok((Process::start(&mut nspawn)?, root))
}

/// The first process, another than the last one, once it takes commands.
fn until_up(starter: Pid, last: Pid) -> Result<Pid> {
    let deadline = Instant::now() + as_patient(BOOT);
    while Instant::now() < deadline {
        if let Some(leader) = leader(starter).filter(|leader| *leader != last) {
            let socket = format!("/proc/{leader}/root/run/systemd/private");
            if Path::new(&socket).exists() {
                return Ok(leader);
            }
        }
        ensure!(is_alive(starter), "systemd-nspawn has ended");
        thread::sleep(Duration::from_millis(20));
    }
    bail!("no systemd is up in the container")
}

/// The child, or one of a child, that is the first process of its own PID namespace.
fn leader(starter: Pid) -> Option<Pid> {
    let children = children(starter);
    let first = children.iter().copied().find(|child| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_ascii_whitespace().nth(1) == Some("1"))
    });
    first.or_else(|| children.into_iter().find_map(leader))
}

fn children(pid: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let numbers = list
        .split_ascii_whitespace()
        .filter_map(|one| one.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

/// Makes the cgroup in every hierarchy that systemd uses, the version 2 one first.
fn make_cgroups(name: &str) -> Result<Vec<Tree>> {
    leftovers::remove();
    let make = |tree: PathBuf| {
        let directory = tree.join(name);
        fs::create_dir(&directory).with_context(|| format!("{}", directory.display()))?;
        let root = directory.join("payload");
        Ok(Tree { directory, root })
    };
    cgroup_trees()?.into_iter().map(make).collect()
}
