//! The Debian image: a root file system with systemd, made once for each recipe. Virtual machines have it as
//! their disk, and suites that need a real systemd on this machine's own kernel boot a container from it.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::apt;
use crate::{process, workspace};

/// A root file system.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// What is installed besides the essential packages.
    packages: &'static [&'static str],
    /// The daemons among it, which are not started: suites start them.
    daemons: &'static [&'static str],
    /// The disk's size, in GiB.
    size: u64,
}

/// What every suite has.
pub const USUAL: Recipe = Recipe {
    packages: &[PACKAGES],
    daemons: &[DAEMONS],
    size: 2,
};

/// The same with the daemons of `cargo xtask daemons`.
pub const LARGE: Recipe = Recipe {
    packages: &[
        PACKAGES,
        "apache2,bind9,bind9-dnsutils,cups-client,cups-daemon,mariadb-server,postgresql",
    ],
    daemons: &[
        DAEMONS,
        "apache2 cups cups.path cups.socket mariadb mariadb.socket mariadb-extra.socket named postgresql",
    ],
    size: 4,
};

const PACKAGES: &str = "busybox-static,chrony,cron,curl,dbus,dnsmasq,firejail,haproxy,iproute2,kmod,libc6-i386,\
                        libpam-systemd,lighttpd,memcached,netcat-openbsd,nginx-light,openssh-server,procps,python3,\
                        redis-server,redis-tools,rsyslog,strace,stunnel4,systemd,systemd-sysv,util-linux";

const DAEMONS: &str =
    "chrony cron dnsmasq haproxy lighttpd memcached nginx redis-server rsyslog ssh stunnel.target";

/// Releases and the C library of each, oldest first: what the host builds runs on the same or a newer
/// one.
const RELEASES: &[(&str, (u32, u32))] = &[
    ("bookworm", (2, 36)),
    ("trixie", (2, 41)),
    ("sid", (u32::MAX, 0)),
];

/// Starts what is tested once the system is up.
const UNIT: &str = "[Unit]
Description=The suites of harden
After=dbus.service network.target systemd-user-sessions.service
# Not in a container.
ConditionPathExists=/harden/run

[Service]
Type=oneshot
ExecStart=/harden/run
TimeoutStartSec=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
";

/// What is done to the root file system, whose path comes as the first argument; the second are the daemons.
const FURNISH: &str = r#"set -e
cp "$0" "$1/etc/systemd/system/harden-suites.service"
for unit in $2; do
    systemctl --root="$1" disable --quiet "$unit"
done
systemctl --root="$1" enable --quiet harden-suites
# No terminal to wait for, and nothing that runs by the clock while times are measured.
systemctl --root="$1" mask --quiet serial-getty@ttyS0 apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer fstrim.timer
echo harden-vm >"$1/etc/hostname"
echo 127.0.0.1 localhost harden-vm >"$1/etc/hosts"
"#;

/// Where the disk image is, or will be: the name changes with the recipe.
pub fn image_file(recipe: &Recipe) -> Result<PathBuf> {
    let release = release()?;
    let mut hasher = DefaultHasher::new();
    (release, recipe.packages, recipe.daemons, UNIT, FURNISH).hash(&mut hasher);
    let name = format!("{release}-{:016x}.ext4", hasher.finish());
    Ok(workspace::vm().join("debian").join(name))
}

/// The disk image, made unless it is there.
pub fn image(recipe: &Recipe) -> Result<PathBuf> {
    let image = image_file(recipe)?;
    if !image.is_file() {
        let release = release()?;
        println!("vm: making a root file system of Debian {release}");
        fs::create_dir_all(workspace::vm().join("debian"))?;
        make(recipe, release, &image).context("could not make the root file system")?;
    }
    Ok(image)
}

/// The image of every suite, to be found by those that run without xtask too.
pub fn usual() -> Result<PathBuf> {
    let image = image(&USUAL)?;
    point_to(&image)?;
    Ok(image)
}

fn point_to(image: &Path) -> Result<()> {
    let link = image.with_file_name("latest.ext4");
    if fs::canonicalize(&link).ok() == fs::canonicalize(image).ok() {
        return Ok(());
    }
    if link.is_symlink() {
        fs::remove_file(&link)?;
    }
    let name = image.file_name().context("an image without a name")?;
    symlink(name, &link).with_context(|| format!("could not make {}", link.display()))
}

/// The oldest release whose C library will do for what is built here.
fn release() -> Result<&'static str> {
    let text = process::output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let version =
        parse_libc(&text).with_context(|| format!("no version of a C library: {text}"))?;
    let release = RELEASES.iter().find(|(_, libc)| *libc >= version);
    Ok(release
        .context("Debian has no C library as new as this machine's")?
        .0)
}

fn parse_libc(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn make(recipe: &Recipe, release: &str, image: &Path) -> Result<()> {
    let root = image.with_extension("root");
    remove(&root)?;
    let acquire = image.with_extension("apt");
    // mmdebstrap's apt is one of its own, and needs the machine's proxies.
    fs::write(&acquire, proxies()?)?;
    let mut strap = process::as_root("mmdebstrap");
    strap
        .args(["--variant=minbase", "--quiet"])
        .arg(format!("--keyring={}", apt::KEYRING))
        .arg(format!("--include={}", recipe.packages.join(",")))
        .arg(format!("--aptopt={}", acquire.display()))
        .arg(release)
        .arg(&root)
        .arg(apt::mirror()?);
    process::run(&mut strap)?;

    let unit = image.with_extension("service");
    fs::write(&unit, UNIT)?;
    let mut furnish = process::as_root("sh");
    furnish.args(["-c", FURNISH]).arg(&unit).arg(&root);
    process::run(furnish.arg(recipe.daemons.join(" ")))?;

    let partial = image.with_extension("partial");
    fs::File::create(&partial)?.set_len(recipe.size << 30)?;
    let mut mkfs = process::as_root("mkfs.ext4");
    process::run(mkfs.args(["-q", "-F", "-d"]).arg(&root).arg(&partial))?;
    remove(&root)?;
    fs::rename(&partial, image)?;
    Ok(())
}

/// How this machine's apt reaches its sources.
fn proxies() -> Result<String> {
    let text = process::output(Command::new("apt-config").arg("dump"))?;
    let keys = ["Acquire::http", "Acquire::https", "Dir::Etc::netrc"];
    let lines = text
        .lines()
        .filter(|line| keys.iter().any(|key| line.starts_with(key)));
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

fn remove(root: &Path) -> Result<()> {
    process::run(
        process::as_root("rm")
            .args(["-rf", "--one-file-system"])
            .arg(root),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_has_a_version() {
        assert_eq!(parse_libc("glibc 2.36\n"), Some((2, 36)));
        assert_eq!(parse_libc("musl"), None);
    }
}
