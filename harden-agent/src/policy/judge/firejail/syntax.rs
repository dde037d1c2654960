//! Which arguments Firejail takes: with others it does not start (`profile_check_line` in src/firejail/profile.c of 0.9.72,
//! and what that calls).

use std::{borrow::Cow, collections::BTreeSet};

use super::super::{
    super::paths::{below, up},
    line::{Fault, fatal, not_judged},
    pattern::PathPattern,
};
use crate::observation::Text;

/// What Firejail takes in no path (`reject_meta_chars` in src/lib/common.c).
const REJECTED: &[char] = &['\\', '&', '!', '"', '<', '>', '%', '^', '{', '}', ';', ','];

/// Macros of directories below the home directory, which desktops name as they like (src/firejail/macros.c).
const DESKTOP: [&str; 6] = [
    "${DOWNLOADS}",
    "${MUSIC}",
    "${VIDEOS}",
    "${PICTURES}",
    "${DESKTOP}",
    "${DOCUMENTS}",
];

/// Conditions that there are.
const CONDITIONS: [&str; 9] = [
    "HAS_APPIMAGE",
    "HAS_NET",
    "HAS_NODBUS",
    "HAS_NOSOUND",
    "HAS_PRIVATE",
    "HAS_X11",
    "BROWSER_DISABLE_U2F",
    "BROWSER_ALLOW_DRM",
    "ALLOW_TRAY",
];

/// `?HAS_NET: LINE`
pub(super) fn condition(line: &str) -> Result<(), Fault> {
    let name = CONDITIONS.iter().find_map(|name| {
        let rest = line.strip_prefix('?')?.strip_prefix(name)?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        rest.strip_prefix(':').map(str::trim_start)
    });
    match name {
        None | Some("") => fatal("no condition that Firejail 0.9.72 knows, and it does not start"),
        Some(line) if line.starts_with("include") || line.starts_with("quiet") => {
            fatal("include and quiet do not stand behind a condition, and Firejail does not start")
        }
        Some(_) => not_judged("conditions are not judged"),
    }
}

/// The path of a line, before its macro is replaced.
pub(super) fn path(path: &str) -> Result<(), Fault> {
    let macros = ["${HOME}", "${PATH}", "${RUNUSER}"];
    let rest = macros.iter().find_map(|one| path.strip_prefix(one));
    if DESKTOP.iter().any(|one| path.starts_with(one)) {
        return not_judged("which directory this macro names is not known");
    }
    if path.starts_with("$HOME") {
        return fatal("Firejail takes ${HOME}, not $HOME, and does not start");
    }
    let rest = match rest {
        Some(rest) => rest,
        // It is looked for as it is, and its braces are not seen.
        None if path.starts_with("${CFG}") => {
            return fatal("a macro for include alone, and Firejail does not start");
        }
        None => path,
    };
    if rest.contains(REJECTED) || rest.contains(char::is_control) {
        return fatal("Firejail takes no such character in a path, and does not start");
    }
    if path.contains("..") {
        return fatal("Firejail takes no .. in a path, and does not start");
    }
    let of_process = path.strip_prefix("/proc/").unwrap_or_default();
    if of_process
        .split('/')
        .any(|name| matches!(name, "root" | "cwd" | "fd" | "exe"))
    {
        return not_judged("where this link in /proc leads is not known");
    }
    // The glob(3) of C has classes, and what reads patterns here has none.
    if ["[:", "[.", "[="].iter().any(|class| rest.contains(class)) {
        return not_judged("classes in patterns are not judged");
    }
    Ok(())
}

/// Where Firejail keeps the filters and the programs that it still needs when it has mounted everything.
const OWN: &str = "/run/firejail";

/// A line about a path that Firejail itself needs later.
pub(super) fn own(path: &str) -> Result<(), Fault> {
    let pattern = PathPattern::of(path);
    let is_named = |own: &[u8]| match &pattern {
        Some(pattern) => pattern.matches(own),
        None => path.as_bytes() == own,
    };
    let is_above = up(OWN.as_bytes()).any(is_named);
    let is_below = below(path.as_bytes(), OWN.as_bytes()).is_some();
    require(
        !is_above && !is_below,
        "Firejail itself needs /run/firejail when it has mounted this, and does not start",
    )
}

/// A path as realpath(3) sees it: without what is in it twice or means nothing (`clean_pathname` in src/firejail/util.c).
pub(super) fn clean(path: &str) -> Cow<'_, str> {
    let is_clean = !path.contains("//") && !path.contains("/./");
    if is_clean && (path == "/" || !path.ends_with('/') && !path.ends_with("/.")) {
        return Cow::Borrowed(path);
    }
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    Cow::Owned(format!("/{}", parts.join("/")))
}

/// The path that `whitelist` shows: not a directory of which all the rest is hidden (`extract_topdir`, `add_topdir` in
/// `src/firejail/fs_whitelist.c`).
pub(super) fn shown(path: &str) -> Result<(), Fault> {
    const WHOLE: &str = "whitelist hides all of the directory above, and Firejail takes no such one: it does not start";
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    match (first, second, third) {
        (Some("sys"), Some("module"), Some(_)) => Ok(()),
        (None | Some("proc" | "sys"), ..) | (Some("usr"), _, None) | (_, None, _) => fatal(WHOLE),
        _ => Ok(()),
    }
}

/// The argument of a directive about which there is nothing else to say.
pub(super) fn argument(
    name: &str,
    argument: Option<&str>,
    homes: &BTreeSet<Text>,
) -> Result<(), Fault> {
    const BARE: [&str; 27] = [
        "allusers",
        "apparmor-replace",
        "apparmor-stack",
        "deterministic-exit-code",
        "deterministic-shutdown",
        "keep-config-pulse",
        "machine-id",
        "netlock",
        "no3d",
        "noautopulse",
        "nodbus",
        "nodvd",
        "nogroups",
        "noinput",
        "noprinters",
        "noroot",
        "nosound",
        "notv",
        "nou2f",
        "novideo",
        "overlay",
        "overlay-tmpfs",
        "private-cache",
        "quiet",
        "tab",
        "tracelog",
        "writable-run-user",
    ];
    const EITHER: [&str; 5] = ["apparmor", "netfilter", "private-cwd", "private-lib", "x11"];
    let takes_none = BARE.contains(&name);
    let Some(argument) = argument else {
        let is_good = takes_none || EITHER.contains(&name);
        return require(
            is_good,
            "this directive needs an argument, and Firejail does not start",
        );
    };
    if takes_none {
        return fatal("this directive takes no argument, and Firejail does not start");
    }
    let is_good = match name {
        // `set_cpu` in src/firejail/cpu.c takes 32 of them.
        "cpu" => argument
            .split(',')
            .all(|one| one.parse::<u8>().is_ok_and(|one| one < 32)),
        "dbus-user" | "dbus-system" => matches!(argument, "filter" | "none"),
        "env" => argument.contains('='),
        "mkdir" | "mkfile" => is_own(argument, homes),
        "net" => argument != "lo",
        "rlimit-fsize" | "rlimit-as" => is_size(argument),
        "rlimit-cpu" | "rlimit-nofile" | "rlimit-nproc" | "rlimit-sigpending" => {
            argument.chars().all(|one| one.is_ascii_digit())
        }
        "timeout" => is_time(argument),
        "x11" => matches!(argument, "none" | "xephyr" | "xorg" | "xpra" | "xvfb"),
        _ => true,
    };
    require(
        is_good,
        "Firejail does not take this argument, and does not start",
    )
}

fn require(is_good: bool, reason: &'static str) -> Result<(), Fault> {
    if is_good { Ok(()) } else { fatal(reason) }
}

/// A positive number, perhaps with a unit (`parse_arg_size`).
fn is_size(text: &str) -> bool {
    let number = text.strip_suffix(['k', 'm', 'g']).unwrap_or(text);
    number.parse::<u64>().is_ok_and(|number| number > 0)
}

/// `hh:mm:ss`, and not nothing (`extract_timeout`).
fn is_time(text: &str) -> bool {
    let parts: Vec<Option<u32>> = text.splitn(3, ':').map(|part| part.parse().ok()).collect();
    parts.len() == 3
        && parts.iter().all(Option::is_some)
        && parts.iter().any(|part| *part != Some(0))
}

/// Below a home directory, /tmp or /run/user (`check` in `src/firejail/fs_mkdir.c`).
fn is_own(path: &str, homes: &BTreeSet<Text>) -> bool {
    let tops = ["${HOME}", "~", "${RUNUSER}", "/tmp", "/run/user/"];
    let mut homes = homes.iter().map(ToString::to_string);
    DESKTOP.iter().chain(&tops).any(|top| path.starts_with(top))
        || homes.any(|home| path.starts_with(&home))
}
