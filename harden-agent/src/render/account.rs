//! An account as a file of sysusers.d(5), with what it needs elsewhere in comments.

use crate::observation::Text;
use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::account::{
    Account, FileCapabilities, Obstacle, Proposal, Recommendation, Remedy,
};

use super::page::{Options, Page};

/// The name of the file.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.sysusers.conf", file_stem(subject))
}

/// The text of the file. Where the program has to stay root, it is comments alone.
#[must_use]
pub fn sysusers(account: &Account, options: &Options) -> String {
    let mut out = Page::new(options.clone());
    out.comment(&format!("Account for {}", account.subject));
    let stem = account.name.given().cloned();
    let stem = stem.unwrap_or_else(|| file_stem(&account.subject));
    out.line(&format!(
        "{MARKER_PREFIX}; it belongs at /etc/sysusers.d/{stem}.conf"
    ));
    out.coverage(&account.coverage);
    out.warnings(&account.warnings);
    out.section(|out| recommendation(account, out));
    out.section(|out| {
        for obstacle in &account.obstacles {
            out.comment(&told(obstacle));
            out.evidence("by", &obstacle.evidence);
        }
    });
    out.text()
}

fn recommendation(account: &Account, out: &mut Page) {
    match account.recommendation() {
        Recommendation::Unknown(reasons) => out.reasons("account", &reasons.into()),
        Recommendation::NotRoot => {
            let users: Vec<String> = account.users.iter().map(ToString::to_string).collect();
            out.comment(&format!(
                "No account is needed: it is not started as root, but as {}",
                users.join(", ")
            ));
        }
        Recommendation::Nameless(reasons) => {
            out.reasons("account", &reasons.to_vec().into());
        }
        Recommendation::StaysRoot => out.comment("It has to stay root, for the reasons below"),
        Recommendation::Proposed(proposal) => proposed(&proposal, out),
    }
}

fn proposed(proposal: &Proposal<'_>, out: &mut Page) {
    let Proposal { name, groups, .. } = proposal;
    out.comment("What was seen can be done without root, with what is below");
    for group in &proposal.nameless_groups {
        out.comment(&format!("The group {group} has no name here: make one"));
    }
    let others = if groups.is_empty() {
        String::new()
    } else {
        format!(" -G {}", groups.join(","))
    };
    out.comment(&format!(
        "By hand: useradd -M -U -r{others} -s /bin/false {name}"
    ));
    for group in groups {
        out.comment(&format!(
            "where it is missing, before that: groupadd {group}"
        ));
    }
    for line in &proposal.unit {
        out.comment(&format!("In the unit: {line}"));
    }
    if let Some(step_down) = &proposal.step_down {
        out.comment(&format!(
            "For Firejail, which AmbientCapabilities= does not get through, instead of it: ExecStart=!{step_down} \
             COMMAND. Record it so, and write the profile again"
        ));
    }
    for file in &proposal.files {
        file_capabilities(file, out);
    }
    out.line(&format!("u {name} - - - /usr/sbin/nologin"));
    for group in groups {
        out.line(&format!("m {name} {group}"));
    }
}

fn file_capabilities(file: &FileCapabilities<'_>, out: &mut Page) {
    let path = file.program.to_string();
    let Ok(path) = shlex::try_quote(&path) else {
        return;
    };
    out.comment(&format!(
        "Where no unit starts it: setcap {}+ep {path} && getcap {path}",
        file.names.join(",")
    ));
    if file.is_interpreter {
        out.comment(&format!(
            "That gives them to every script: take them away once it runs, with setcap -r {path}"
        ));
    }
}

fn told(obstacle: &Obstacle) -> String {
    format!("{}: for {}", remedy(&obstacle.remedy), obstacle.what)
}

/// What to do.
pub(super) fn remedy(remedy: &Remedy) -> String {
    match remedy {
        Remedy::User => {
            "nothing, if it acts for one user, as which systemd starts it; for several it stays root".to_owned()
        }
        Remedy::Directory { directive, name } => format!("{directive}={name}"),
        Remedy::Move { directive, to } => {
            format!("keep it in {to}, which {directive}= makes")
        }
        Remedy::Own { line } => format!("in tmpfiles.d: {line}"),
        Remedy::Look { command } => {
            format!("look who may connect, and put it into that group: {command}")
        }
        Remedy::Group { name } => format!("the group {name}"),
        Remedy::Capability { name } => name.clone(),
        Remedy::Root { reason } => format!("root: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::observation::arbitrary::observation;
    use crate::observation::{CapabilityCheck, Observation, Operation};
    use crate::policy::account::{Accounts, is_name};
    use crate::policy::fixture::Fixture;
    use crate::policy::{Commands, DecisionOptions};

    fn rendered(observation: &Observation) -> String {
        let accounts = Accounts {
            groups: [(42, "ovsdb-client".to_owned())].into(),
            prefix: "ops".to_owned(),
        };
        let account = Account::decide(
            &Commands::of(observation.clone()).unit_basis(),
            &accounts,
            &DecisionOptions::default(),
        );
        sysusers(&account, &Options::default())
    }

    fn restd() -> Fixture {
        let mut fixture = Fixture::new()
            .executable("/usr/bin/restd")
            .capability("net_bind_service", CapabilityCheck::Granted)
            .capability("setuid", CapabilityCheck::Granted)
            .file_of(
                "/run/openvswitch/db.sock",
                Operation::Connect,
                0o140_770,
                42,
            )
            .file_of("/var/log/restd/log", Operation::Create, 0o100_644, 0);
        fixture.run().uid = 0;
        fixture
    }

    fn lines(observation: &Observation) -> Vec<String> {
        let text = rendered(observation);
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn an_account_with_its_groups_and_what_the_unit_needs() {
        let mut observation = restd().observation();
        observation.name = "restd.service".into();
        assert_eq!(
            lines(&observation),
            [
                "u opsrestd - - - /usr/sbin/nologin",
                "m opsrestd ovsdb-client"
            ]
        );
        let text = rendered(&observation);
        for line in [
            "# By hand: useradd -M -U -r -G ovsdb-client -s /bin/false opsrestd\n",
            "# In the unit: AmbientCapabilities=CAP_NET_BIND_SERVICE\n",
            "ExecStart=!/usr/bin/setpriv --reuid=opsrestd --regid=opsrestd --init-groups \
             --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service -- COMMAND",
            "# Where no unit starts it: setcap cap_net_bind_service+ep /usr/bin/restd && getcap /usr/bin/restd\n",
            "# In the unit: LogsDirectory=restd\n",
            "# In the unit: SupplementaryGroups=ovsdb-client\n",
            "# In the unit: User=opsrestd\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn an_interpreter_with_capabilities_gives_them_to_every_script() {
        let mut fixture = Fixture::new()
            .executable("/usr/bin/python3.11")
            .capability("net_raw", CapabilityCheck::Granted);
        fixture.run().uid = 0;
        let text = rendered(&fixture.observation());
        assert!(
            text.contains("with setcap -r /usr/bin/python3.11\n"),
            "{text}"
        );
    }

    #[test]
    fn who_has_to_stay_root_gets_no_account_and_the_reason() {
        let observation = restd()
            .capability("sys_admin", CapabilityCheck::Granted)
            .observation();
        assert_eq!(lines(&observation), [""; 0]);
        assert!(rendered(&observation).contains("# root: with this capability"));
    }

    #[test]
    fn who_is_not_root_needs_no_account_and_blindness_gives_none() {
        let mut fixture = restd();
        fixture.run().uid = 1000;
        assert_eq!(lines(&fixture.observation()), [""; 0]);
        let mut fixture = restd();
        fixture.run().hooks.clear();
        assert_eq!(lines(&fixture.observation()), [""; 0]);
    }

    /// Of root, and nothing hidden.
    fn watch_as_root(observation: &mut Observation) {
        for run in observation.runs.values_mut() {
            run.uid = 0;
            for fact in ["capabilities", "files"] {
                run.hooks.insert(fact.to_owned(), String::new());
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_what_was_decided(mut observation in observation()) {
            watch_as_root(&mut observation);
            let accounts = Accounts {
                groups: (0..1000).map(|gid| (gid, format!("group{gid}"))).collect(),
                prefix: "ops".to_owned(),
            };
            let account = Account::decide(&Commands::of(observation.clone()).unit_basis(), &accounts, &DecisionOptions::default());
            let is_proposed = account.users.contains(&0) && account.blind().is_empty() && account.root().next().is_none();
            let name = account.name.given().filter(|_| is_proposed);
            let mut expected: Vec<String> = name.iter().map(|name| format!("u {name} - - - /usr/sbin/nologin")).collect();
            let named = account.groups.iter().filter(|item| is_name(&item.value));
            expected.extend(name.iter().flat_map(|name| {
                named.clone().map(move |group| format!("m {name} {}", group.value))
            }));
            let text = sysusers(&account, &Options::default());
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            prop_assert_eq!(lines.collect::<Vec<_>>(), expected);
        }

        #[test]
        fn whatever_was_observed_every_line_is_one_of_two(mut observation in observation()) {
            watch_as_root(&mut observation);
            for line in rendered(&observation).split('\n') {
                let words: Vec<&str> = line.split(' ').collect();
                let sound = match words[..] {
                    [""] | ["#", ..] => line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                    ["u", name, "-", "-", "-", "/usr/sbin/nologin"] => is_name(name),
                    ["m", name, group] => is_name(name) && is_name(group),
                    _ => false,
                };
                prop_assert!(sound, "{line:?}");
            }
        }
    }
}
