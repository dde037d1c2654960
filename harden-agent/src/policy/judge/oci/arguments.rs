//! Entries that hold for some arguments of a call alone, and whether what a program did is among these.

use harden_common::Argument;
use serde_json::Value;

use super::super::recorded::Case;

/// The entry of one call, as a line has it.
pub(super) struct Arguments {
    name: String,
    tests: Vec<Test>,
}

struct Test {
    index: u64,
    value: u64,
    second: u64,
    operator: String,
}

/// `CLONE_NEWNS`, `CLONE_NEWCGROUP`, `CLONE_NEWUTS`, `CLONE_NEWIPC`, `CLONE_NEWUSER`, `CLONE_NEWPID` and `CLONE_NEWNET` of
/// include/uapi/linux/sched.h.
const NAMESPACES: u64 = 0x7e02_0000;
/// What personality(2) is asked with.
const QUESTION: u64 = 0xffff_ffff;

impl Arguments {
    /// Of `{"args": […], "names": ["clone"]}`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let entry: Value = serde_json::from_str(text).ok()?;
        let name = entry["names"][0].as_str()?.to_owned();
        let tests = entry["args"].as_array()?.iter().map(|one| {
            let number = |name: &str| match &one[name] {
                Value::Null => Some(0),
                value => value.as_u64(),
            };
            Some(Test {
                index: number("index")?,
                value: number("value")?,
                second: number("valueTwo")?,
                operator: one["op"].as_str()?.to_owned(),
            })
        });
        Some(Self {
            name,
            tests: tests.collect::<Option<_>>()?,
        })
    }

    pub(super) fn is_of(&self, name: &str) -> bool {
        self.name == name
    }

    /// Whether the entry holds for each such call that the program made. Which arguments these had is known of few.
    pub(super) fn hold(&self, case: &Case<'_, '_>) -> bool {
        let [test] = &self.tests[..] else {
            return false;
        };
        if test.index != 0 {
            return false;
        }
        match (&self.name[..], &test.operator[..]) {
            // The masked bits are none of those that the program had set.
            ("clone", "SCMP_CMP_MASKED_EQ") => {
                let is_of_namespaces = test.value & !NAMESPACES == 0 && test.second == 0;
                is_of_namespaces && !case.asked_for(is_namespace)
            }
            ("personality", "SCMP_CMP_EQ") => {
                test.value == QUESTION && !case.asked_for(|one| one == Argument::PersonalitySet)
            }
            ("socket", "SCMP_CMP_NE") => {
                let vsock = u64::from(libc::AF_VSOCK.unsigned_abs());
                test.value == vsock && !case.used_family("vsock")
            }
            _ => false,
        }
    }
}

fn is_namespace(argument: Argument) -> bool {
    use Argument as A;
    matches!(
        argument,
        A::NamespaceMount
            | A::NamespaceCgroup
            | A::NamespaceUts
            | A::NamespaceIpc
            | A::NamespaceUser
            | A::NamespacePid
            | A::NamespaceNet
            | A::NamespaceAny
    )
}
