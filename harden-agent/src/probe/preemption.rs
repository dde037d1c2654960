//! Whether this kernel lets a task be preempted inside a program.

use std::fs;

/// The mode in force, in parentheses: `none voluntary (full)`; debugfs has to be mounted.
const MODE: &str = "/sys/kernel/debug/sched/preempt";

/// Whether the kernel may skip a program because a preempted task is inside it. `false` where that is
/// unlikely: then it is seen when it happens.
#[must_use]
pub fn skips_programs() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    is_preemptive(&read(MODE), &read("/proc/cmdline"), &read("/proc/version"))
}

fn is_preemptive(mode: &str, command_line: &str, version: &str) -> bool {
    let preempts = |mode: &str| matches!(mode, "full" | "lazy");
    if let Some((_, rest)) = mode.split_once('(') {
        return preempts(rest.split(')').next().unwrap_or_default());
    }
    let asked = command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("preempt="))
        .next_back();
    if let Some(asked) = asked {
        return preempts(asked);
    }
    // The rest of a dynamic kernel's answer is its default, which nothing tells. From 7.0 on that
    // is at least lazy on x86, where the milder modes are gone (kernel/Kconfig.preempt).
    let built = |word: &str| version.split_whitespace().any(|known| known == word);
    built("PREEMPT") || built("PREEMPT_LAZY") || built("PREEMPT_RT") || major(version) >= 7
}

fn major(version: &str) -> u32 {
    version
        .strip_prefix("Linux version ")
        .and_then(|rest| rest.split('.').next())
        .and_then(|major| major.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::is_preemptive;

    #[test]
    fn the_mode_in_force_decides_where_it_is_told() {
        assert!(is_preemptive("none voluntary (full)\n", "", ""));
        assert!(is_preemptive("full (lazy)\n", "", ""));
        assert!(!is_preemptive(
            "none (voluntary) full\n",
            "preempt=full",
            ""
        ));
    }

    #[test]
    fn else_what_was_asked_for_or_built() {
        let version = "Linux version 6.12.0 (a@b) #1 SMP PREEMPT_DYNAMIC Debian";
        assert!(!is_preemptive("", "quiet", version));
        assert!(is_preemptive("", "quiet preempt=full", version));
        assert!(is_preemptive(
            "",
            "",
            "Linux version 7.2.1 (a@b) #1 SMP PREEMPT_DYNAMIC"
        ));
        assert!(is_preemptive(
            "",
            "",
            "Linux version 6.1.0 (a@b) #1 SMP PREEMPT Mon"
        ));
        assert!(!is_preemptive("", "", ""));
    }
}
