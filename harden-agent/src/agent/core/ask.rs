//! What systemd says of a unit: which of its processes ran which command.
//!
//! A command of a few milliseconds is over before anybody can ask, but systemd keeps for each line of a unit
//! the process that ran it last; so it is asked a little later, and once for many questions.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{Core, word};
use crate::{
    agent::{
        journal::Record,
        state::State,
        systemd::{Description, Error, Role, Systemd},
    },
    collect::unit::Unit,
    observation::{ControlCommand, Text, Word},
};

/// How long after its cause a question is asked.
const LATER: Duration = Duration::from_millis(300);
/// Questions that wait for an answer at one time.
const AT_ONCE: usize = 8;

/// How often a question is asked to which there was no answer, where there is somebody to ask: one for each second
/// of an emulated machine's start.
const TRIES: u32 = 60;

/// Questions that are due, and answers.
pub(super) struct Questions {
    systemd: Arc<Systemd>,
    /// By the unit's own cgroup.
    due: BTreeMap<u64, (Question, Instant)>,
    /// To which there was no answer: at boot, the first units start before there is a bus, and systemd has more to
    /// do than to answer.
    unanswered: BTreeMap<u64, Question>,
    waiting: usize,
    sender: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

/// About a unit.
struct Question {
    unit: Unit,
    /// How often it was asked.
    tries: u32,
}

/// What systemd said.
pub(super) struct Answer {
    cgroup: u64,
    question: Question,
    said: Result<Description, Error>,
}

impl Default for Questions {
    fn default() -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        Self {
            systemd: Arc::new(Systemd::at(Path::new("/"))),
            due: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            waiting: 0,
            sender,
            answers,
        }
    }
}

impl Questions {
    /// A cgroup became known: if it is a unit's own, it is worth a question.
    pub(super) fn born(&mut self, state: &State, cgroup: u64) {
        if let Some(unit) = state.invoked(cgroup) {
            self.ask(cgroup, unit);
        }
    }

    /// A program began.
    pub(super) fn executed(&mut self, state: &State, slot: u32) {
        if let Some(cgroup) = state.unexplained(slot)
            && let Some(unit) = state.invoked(cgroup)
        {
            self.ask(cgroup, unit);
        }
    }

    /// A unit's own cgroup is gone.
    pub(super) fn gone(&mut self, state: &State, cgroup: u64) {
        self.born(state, cgroup);
    }

    /// Only the system's own systemd can be asked.
    fn ask(&mut self, cgroup: u64, unit: &Text) {
        let Ok(unit) = unit.to_string().parse::<Unit>() else {
            return;
        };
        if unit.is_of_system() {
            let question = Question { unit, tries: 0 };
            self.due
                .entry(cgroup)
                .or_insert_with(|| (question, Instant::now() + LATER));
        }
    }

    /// Has what nobody answered asked again, if there is somebody to ask. To be called once a second.
    pub(super) fn repeat(&mut self, state: &State) {
        self.unanswered
            .retain(|cgroup, _| state.has_cgroup(*cgroup));
        if self.unanswered.is_empty() || !self.systemd.has_bus() {
            return;
        }
        let now = Instant::now();
        for (cgroup, question) in std::mem::take(&mut self.unanswered) {
            self.due.entry(cgroup).or_insert((question, now));
        }
    }

    /// Asks what is due. The answers come by [`Self::answer`].
    pub(super) fn send(&mut self) {
        let now = Instant::now();
        while self.waiting < AT_ONCE {
            let due = self.due.iter().find(|(_, (_, when))| *when <= now);
            let Some(cgroup) = due.map(|(cgroup, _)| *cgroup) else {
                return;
            };
            let Some((mut question, _)) = self.due.remove(&cgroup) else {
                return;
            };
            question.tries += 1;
            self.waiting += 1;
            let (systemd, sender) = (Arc::clone(&self.systemd), self.sender.clone());
            tokio::spawn(async move {
                let said = systemd.describe(question.unit.name()).await;
                let answer = Answer {
                    cgroup,
                    question,
                    said,
                };
                // The core may be ending.
                let _ = sender.send(answer);
            });
        }
    }

    /// An answer that has come.
    fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.waiting -= 1;
        Some(answer)
    }
}

impl Core {
    /// Whether a question or an answer is awaited.
    #[must_use]
    pub(crate) fn has_questions(&self) -> bool {
        self.questions.waiting > 0 || !self.questions.due.is_empty()
    }

    /// Takes in what systemd has said, and asks what is due. Has to be called within a runtime.
    pub(crate) fn ask(&mut self) {
        while let Some(answer) = self.questions.answer() {
            self.answered(answer);
        }
        self.questions.send();
    }

    fn answered(&mut self, answer: Answer) {
        let Answer {
            cgroup,
            question,
            said,
        } = answer;
        let said = match said {
            Ok(said) => said,
            Err(error) => {
                tracing::debug!("{}: {error}", question.unit);
                let is_final = matches!(error, Error::NoSuchUnit(_));
                if !is_final && question.tries < TRIES {
                    self.questions.unanswered.insert(cgroup, question);
                }
                return;
            }
        };
        let Some(id) = self.state.invocation_id(cgroup) else {
            return;
        };
        if self.state.is_succeeded(cgroup) {
            // What systemd says by now is of the unit's next invocation.
            return;
        }
        if let Some(invocation) = said.invocation.as_deref().map(word) {
            match self.state.invocation(cgroup) {
                None => self.record(Record::Invocation {
                    cgroup,
                    id,
                    invocation: Some(invocation),
                }),
                Some(known) if *known == invocation => {}
                Some(_) => self.invoked_again(cgroup, invocation, &said),
            }
        }
        let filters = said.filters.iter().filter_map(|name| Word::new(*name).ok());
        self.confined_by(cgroup, filters.collect());
        for ran in said.roles {
            // A pid of an earlier invocation is in no command of this one: it does no harm.
            if self.state.is_explained(cgroup, ran.pid) || !self.state.has_command(cgroup, ran.pid)
            {
                continue;
            }
            self.record(Record::Command {
                cgroup,
                command: ran.pid,
                role: role(ran.role),
                argv: ran
                    .argv
                    .iter()
                    .map(|argument| Text::from(argument.as_bytes()))
                    .collect(),
                uid: said.uid,
            });
        }
        if said.main_pid.is_none() && self.state.is_gone(cgroup) && said.exit_status.is_some() {
            self.record(Record::Ended {
                cgroup,
                status: said.exit_status,
            });
        }
    }
}

impl Core {
    /// Notes what the unit whose own cgroup this is, is confined by already.
    pub(super) fn confined_by(&mut self, cgroup: u64, filters: BTreeSet<Word>) {
        if !self.state.is_confined_by(cgroup, &filters) {
            self.record(Record::Filtered { cgroup, filters });
        }
    }

    /// The unit was started again, if it was in this cgroup: then a command is in it that nobody knew.
    fn invoked_again(&mut self, cgroup: u64, invocation: Word, said: &Description) {
        let mut before = self.state.commands(cgroup);
        let is_new = |pid: &u32| !self.state.is_explained(cgroup, *pid);
        let started: Vec<u32> = said
            .roles
            .iter()
            .map(|ran| ran.pid)
            .filter(is_new)
            .collect();
        let entered = started.iter().filter(|&pid| before.remove(pid)).count();
        let Some(time) = said.started.filter(|_| entered > 0) else {
            return;
        };
        self.record(Record::Again {
            cgroup,
            id: self.state.identify(cgroup, &invocation),
            invocation,
            time,
            before,
        });
    }
}

fn role(role: Role) -> Option<ControlCommand> {
    match role {
        Role::Start => None,
        Role::Condition => Some(ControlCommand::Condition),
        Role::StartPre => Some(ControlCommand::StartPre),
        Role::StartPost => Some(ControlCommand::StartPost),
        Role::Reload => Some(ControlCommand::Reload),
        Role::Stop => Some(ControlCommand::Stop),
        Role::StopPost => Some(ControlCommand::StopPost),
    }
}
