//! What no log shows, and how to have it shown.

use serde::Serialize;

use super::action::Action;

/// Something that no log shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// What.
    pub what: String,
    /// How to switch it on.
    pub how: String,
}

/// What this machine says of its logging. Nothing where a file from elsewhere is read.
#[derive(Clone, Debug, Default)]
pub struct LogState {
    /// Whether the kernel has an audit subsystem, and it was not switched off at boot.
    pub is_auditing: Option<bool>,
    /// `/proc/sys/kernel/seccomp/actions_logged`
    pub actions: Option<String>,
}

/// What the logs do not show; `state` is this machine's.
#[must_use]
pub fn unseen(state: &LogState) -> Vec<Unseen> {
    let mut all = Vec::new();
    let mut add = |what: String, how: &str| {
        all.push(Unseen {
            what,
            how: how.to_owned(),
        });
    };
    if state.is_auditing == Some(false) {
        add(
            "this kernel makes no record at all: it has no audit subsystem, or audit=0 is on its command line".to_owned(),
            "boot without audit=0, with a kernel that has CONFIG_AUDITSYSCALL",
        );
    }
    if let Some(actions) = &state.actions {
        let logged: Vec<&str> = actions.split_ascii_whitespace().collect();
        let names = Action::all().filter_map(Action::logged_as);
        let missing: Vec<&str> = names.filter(|name| !logged.contains(name)).collect();
        if !missing.is_empty() {
            add(
                format!(
                    "this machine logs no call whose action is one of: {}",
                    missing.join(", ")
                ),
                "add them to the sysctl kernel.seccomp.actions_logged",
            );
        }
    }
    add(
        "Firejail: its filters answer EPERM by default, and the kernel logs no such call"
            .to_owned(),
        "`seccomp-error-action log` in the profile or in /etc/firejail/firejail.config lets each call through and logs \
         it; `seccomp-error-action kill` ends the program, and logs it; `seccomp-log yes` in firejail.config logs the \
         calls and goes on refusing them",
    );
    add(
        "systemd: with SystemCallErrorNumber= in the unit, the kernel logs no refused call; nor does it ever log those of \
         RestrictAddressFamilies= and other directives that answer with an error"
            .to_owned(),
        "without SystemCallErrorNumber= the process is killed, and the call logged; SystemCallLog= logs calls without \
         refusing them; SYSTEMD_LOG_SECCOMP=1 in the environment of systemd itself logs all refused calls",
    );
    add(
        "containers: runtimes answer EPERM or ENOSYS by default, and the kernel logs no such call"
            .to_owned(),
        "in the runtime's seccomp file, SCMP_ACT_LOG as the action logs calls without refusing them",
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_so_and_what_this_machine_adds() {
        let usual = unseen(&LogState::default());
        assert_eq!(usual.len(), 3);
        let full = "kill_process kill_thread trap errno user_notif trace log\n";
        let state = |actions: &str, is_auditing| LogState {
            is_auditing: Some(is_auditing),
            actions: Some(actions.to_owned()),
        };
        assert_eq!(unseen(&state(full, true)), usual);
        let less = unseen(&state("kill_process trap", false));
        assert_eq!(less.len(), 5);
        assert!(
            less[1]
                .what
                .ends_with("kill_thread, errno, user_notif, trace, log")
        );
    }
}
