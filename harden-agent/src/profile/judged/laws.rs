//! The laws of the matcher.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::select};

use super::arbitrary::observation;
use crate::{
    observation::{Fact, Observation, Text},
    policy::{
        Commands, Compatibility, DecisionOptions, Generalisation, Mode,
        firejail::{Profile, Target},
        judge::{
            Judge, Judgement, Read, Recorded, Refusal, Rules, Sandbox, Surroundings, firejail, oci,
            systemd,
        },
        oci::Seccomp,
        systemd::DropIn,
    },
    render::{self, Options},
};

fn decision_options() -> impl Strategy<Value = DecisionOptions> {
    let mode = select(
        &[
            None,
            Some(Mode::Allowlist),
            Some(Mode::SandboxDefault),
            Some(Mode::Denylist),
        ][..],
    );
    let compatibility = select(&[Compatibility::Exact, Compatibility::Libc][..]);
    let generalisation = select(&[Generalisation::Normal, Generalisation::Exact][..]);
    (mode, compatibility, generalisation).prop_map(|(mode, compatibility, generalisation)| {
        DecisionOptions {
            host: None,
            compatibility,
            mode,
            generalisation,
        }
    })
}

/// All that is decided over an observation.
struct Decided {
    firejail: Profile,
    systemd: DropIn,
    oci: Seccomp,
}

impl Decided {
    fn of(observation: &Observation, decision_options: &DecisionOptions) -> Self {
        let commands = Commands::of(observation.clone());
        let basis = commands.basis();
        Self {
            firejail: Profile::decide(&basis, Target::default(), decision_options),
            systemd: DropIn::decide(&commands.unit_basis(), None, decision_options),
            oci: Seccomp::decide(&basis, decision_options),
        }
    }

    fn rules(&self, sandbox: Sandbox) -> Rules {
        let said = match sandbox {
            Sandbox::Firejail => firejail::said(&self.firejail),
            Sandbox::Systemd => systemd::said(&self.systemd),
            Sandbox::Oci => oci::said(&self.oci),
        };
        Rules::of(sandbox, said)
    }

    /// What is read of the file that is written; none if there is no file.
    fn read(&self, sandbox: Sandbox, options: &Options) -> Option<Read> {
        Some(match sandbox {
            Sandbox::Firejail => {
                firejail::read(&render::firejail::profile(&self.firejail, options))
            }
            Sandbox::Systemd => systemd::read(&render::systemd::drop_in(&self.systemd, options)),
            Sandbox::Oci => {
                let allowed = self.oci.allowed.given()?;
                let text = render::oci::seccomp(&self.oci, allowed, options).unwrap();
                oci::read(&text).unwrap()
            }
        })
    }
}

fn homes() -> BTreeSet<Text> {
    [Text::from("/root")].into()
}

/// Whether a fact may be refused, although it was recorded.
fn is_left_out(refusal: &Refusal<'_>) -> bool {
    match refusal {
        // What no line can take back.
        Refusal::Always(why) => *why != firejail::UNLESS_LIFTED,
        Refusal::Line(_) => false,
    }
}

fn judged<'r, 'a>(
    rules: &'r Rules,
    recorded: &Recorded<'a>,
    around: &Surroundings,
) -> Vec<(Fact<'a>, Judgement<'r>)> {
    let judge = Judge::new(rules, around);
    let cases = recorded.cases();
    cases.map(|case| (case.fact, judge.judge(&case))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_was_recorded_is_allowed(observation in observation(), decision_options in decision_options()) {
        let decided = Decided::of(&observation, &decision_options);
        let recorded = Recorded::of(&observation);
        let around = Surroundings::of(&observation, homes());
        for sandbox in Sandbox::ALL {
            let rules = decided.rules(sandbox);
            let judge = Judge::new(&rules, &around);
            for case in recorded.cases() {
                if let Judgement::Refused(refusal) = judge.judge(&case) {
                    let is_left_out = is_left_out(&refusal);
                    prop_assert!(is_left_out, "{:?}: {} {:?}", sandbox, case.fact, refusal);
                }
            }
        }
    }

    #[test]
    fn without_a_line_exactly_what_rests_on_it_alone_is_refused(
        observation in observation(),
        decision_options in decision_options(),
    ) {
        let decided = Decided::of(&observation, &decision_options);
        let recorded = Recorded::of(&observation);
        let around = Surroundings::of(&observation, homes());
        for sandbox in Sandbox::ALL {
            let rules = decided.rules(sandbox);
            let before = judged(&rules, &recorded, &around);
            for line in rules.lines() {
                let fewer = rules.without(line);
                let after = judged(&fewer, &recorded, &around);
                for ((fact, before), (_, after)) in before.iter().zip(after) {
                    let rests = before.rests_on().any(|one| one == line);
                    let is_lost = !before.is_refused() && after.is_refused();
                    prop_assert_eq!(is_lost, rests, "{} without {}: {} was {}", fact, line, after, before);
                }
            }
        }
    }

    #[test]
    fn what_was_written_and_read_judges_as_what_was_decided(
        observation in observation(),
        decision_options in decision_options(),
        bare: bool,
    ) {
        let decided = Decided::of(&observation, &decision_options);
        let recorded = Recorded::of(&observation);
        let around = Surroundings::of(&observation, homes());
        let options = Options { bare, ..Options::default() };
        for sandbox in Sandbox::ALL {
            let rules = decided.rules(sandbox);
            let Some(read) = decided.read(sandbox, &options) else {
                prop_assert!(rules.lines().is_empty());
                continue;
            };
            // The files of the user's own that a profile includes.
            let mut unread = read.unread.iter();
            prop_assert!(
                unread.all(|one| one.line.starts_with("include ")),
                "{:?}: a line that is written is not read: add it to read.rs of this sandbox in policy/judge: {:?}",
                sandbox,
                read.unread
            );
            prop_assert_eq!(&read.rules, &rules);
            prop_assert_eq!(judged(&read.rules, &recorded, &around), judged(&rules, &recorded, &around));
        }
    }
}
