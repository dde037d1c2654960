//! What was recorded, with all that one fact alone does not say: where its path leads, what the program had made itself
//! before, and whether it asked in vain.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use harden_common::Argument;

use crate::observation::{
    Abi, ControlCommand, Deed, Executable, Fact, Join, Observation, Operation, Run, RunKind, Seen,
    Test, Text, Word, argument,
};

use super::super::{
    basis::joined,
    calls::Asked,
    elsewhere,
    paths::{Links, entry_towards, up},
    places::{self, Place, changes_entry},
    refused, sockets,
};

/// An observation, prepared for judging its facts.
pub struct Recorded<'a> {
    runs: Vec<Scene<'a>>,
    /// Of the main process, and of all commands of the unit.
    vain: [Rc<Vain>; 2],
    /// By the invocation, whose file systems live as long as it does; and whether its paths are those of another root.
    made: HashMap<(&'a Word, bool), Made>,
}

/// What was asked for in vain.
struct Vain {
    /// Calls that the kernel does not have.
    calls: HashSet<(Abi, Word)>,
    /// Socket families of which every socket was refused.
    families: HashSet<Word>,
    /// The other families.
    made: BTreeSet<Word>,
}

/// What was made in one invocation.
#[derive(Default)]
struct Made {
    by_main: HashSet<Vec<u8>>,
    by_others: HashSet<Vec<u8>>,
    /// What was removed, by whichever command.
    removed: HashSet<Vec<u8>>,
}

struct Scene<'a> {
    id: &'a Word,
    test: Test<'a>,
    run: &'a Run,
    links: Links<'a>,
    programs: Vec<Program<'a>>,
}

struct Program<'a> {
    command: Option<ControlCommand>,
    path: &'a Text,
    facts: &'a Executable,
    /// By the command, and by all commands of the unit that run the program.
    worked: [Rc<Worked>; 2],
    /// Its paths are those of another root.
    is_elsewhere: bool,
}

/// What a program did, but for what was refused each time.
struct Worked {
    calls: BTreeSet<String>,
    arguments: BTreeSet<String>,
}

/// One fact, with what is known around it.
#[derive(Clone, Copy)]
pub struct Case<'c, 'a> {
    recorded: &'c Recorded<'a>,
    scene: &'c Scene<'a>,
    program: &'c Program<'a>,
    /// What one executable did.
    pub fact: Fact<'a>,
    /// When first, and how often.
    pub seen: Option<&'a Seen>,
}

impl<'a> Recorded<'a> {
    /// Prepares. The work grows with the facts.
    #[must_use]
    pub fn of(observation: &'a Observation) -> Self {
        let runs = observation.runs.keys().zip(observation.tests());
        let runs: Vec<Scene<'_>> = runs
            .map(|(id, (test, run))| Scene::of(id, test, run))
            .collect();
        let mut made: HashMap<(&Word, bool), Made> = HashMap::new();
        for scene in &runs {
            for program in &scene.programs {
                let made = made
                    .entry((scene.life(), program.is_elsewhere))
                    .or_default();
                let own = match program.command {
                    None => &mut made.by_main,
                    Some(_) => &mut made.by_others,
                };
                own.extend(scene.entries(program, is_making));
                made.removed.extend(scene.entries(program, is_removal));
            }
        }
        let own = Rc::new(Vain::of(observation));
        let all = match joined(observation) {
            Some(all) => Rc::new(Vain::of(&all)),
            None => Rc::clone(&own),
        };
        Self {
            vain: [own, all],
            runs,
            made,
        }
    }

    /// Every fact of every run.
    pub fn cases(&self) -> impl Iterator<Item = Case<'_, 'a>> {
        self.runs.iter().flat_map(move |scene| {
            scene.programs.iter().flat_map(move |program| {
                program.facts.sightings().map(move |(what, seen)| Case {
                    recorded: self,
                    scene,
                    program,
                    fact: Fact {
                        command: program.command,
                        executable: program.path,
                        what,
                    },
                    seen,
                })
            })
        })
    }
}

impl Vain {
    fn of(observation: &Observation) -> Self {
        let calls = Asked::of(observation).unanswered.into_keys();
        let mut vain = Self {
            calls: calls.map(|(abi, name)| (abi, name.clone())).collect(),
            families: HashSet::new(),
            made: BTreeSet::new(),
        };
        for (family, (_, without)) in sockets::families(observation) {
            if without {
                vain.families.insert(family.clone());
            } else {
                vain.made.insert(family.clone());
            }
        }
        vain
    }
}

impl Worked {
    fn of(run: &Run, facts: &Executable) -> Self {
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        Self {
            calls: owned(refused::calls(run, facts)),
            arguments: refused::arguments(run, facts)
                .into_iter()
                .map(|argument| argument.name().to_owned())
                .collect(),
        }
    }

    /// Of all commands that run the program, where there are several.
    fn of_unit(run: &Run, path: &Text) -> Option<Rc<Self>> {
        let others = run.control.values();
        let others = others.filter_map(|programs| programs.get(path));
        let all: Vec<&Executable> = run
            .executables
            .get(path)
            .into_iter()
            .chain(others)
            .collect();
        let [first, others @ ..] = all.as_slice() else {
            return None;
        };
        if others.is_empty() {
            return None;
        }
        let mut facts = (*first).clone();
        for other in others {
            facts.join((*other).clone());
        }
        Some(Rc::new(Self::of(run, &facts)))
    }
}

impl<'a> Scene<'a> {
    fn of(id: &'a Word, test: Test<'a>, run: &'a Run) -> Self {
        let main = run.executables.iter().map(|program| (None, program));
        let others = run.control.iter().flat_map(|(command, programs)| {
            programs
                .iter()
                .map(move |program| (Some(*command), program))
        });
        let programs = main.chain(others).map(|(command, (path, facts))| {
            let own = Rc::new(Worked::of(run, facts));
            Program {
                command,
                path,
                facts,
                worked: [Rc::clone(&own), Worked::of_unit(run, path).unwrap_or(own)],
                is_elsewhere: elsewhere::began_there(run, facts),
            }
        });
        let programs = programs.collect();
        Self {
            id,
            test,
            run,
            links: Links::new(&run.symlinks),
            programs,
        }
    }

    /// What its own file systems live as long as: the invocation that it is a part of, or itself where that is not known.
    fn life(&self) -> &'a Word {
        self.run.invocation.as_ref().unwrap_or(self.test.id)
    }

    /// The paths of entries to which the program did something of a kind.
    fn entries(&self, program: &Program<'a>, is_one: fn(Operation) -> bool) -> Vec<Vec<u8>> {
        let deeds = program.facts.deeds().filter(|deed| match deed {
            Deed::File(_, operation, outcome) => is_one(*operation) && places::is_done(outcome),
            Deed::Address(_, _, outcome) => places::is_done(outcome),
            _ => false,
        });
        let places = deeds.filter_map(|deed| self.place_anywhere(program, deed));
        let found = places.filter(|place| place.done().any(is_one));
        found.map(|place| place.path.into_owned()).collect()
    }

    fn place(&self, program: &Program<'a>, deed: Deed<'a>) -> Option<Place<'a>> {
        if program.is_elsewhere {
            return None;
        }
        self.place_anywhere(program, deed)
    }

    /// In the program's own root, which may be another than this machine's.
    fn place_anywhere(&self, program: &Program<'a>, deed: Deed<'a>) -> Option<Place<'a>> {
        let program = (program.path, program.facts);
        places::of_deed(self.test, self.run, &self.links, program, deed)
    }
}

impl<'a> Case<'_, 'a> {
    /// The machine's architecture, as `uname -m` has it.
    pub(super) fn architecture(&self) -> &'a [u8] {
        self.scene.run.host.architecture.as_bytes()
    }

    /// The run that showed it.
    #[must_use]
    pub fn test(&self) -> Test<'a> {
        self.scene.test
    }

    /// The identifier of that run: of a window its own, where the test is the invocation.
    #[must_use]
    pub fn run(&self) -> &'a Word {
        self.scene.id
    }

    /// Whether the run was root's.
    pub(super) fn began_as_root(&self) -> bool {
        self.scene.run.uid == 0
    }

    /// Whether the program may have had capabilities of its own. Another user's program has none, and is denied every one
    /// whatever a bounding set says, unless its file gives it some (`cap_bprm_creds_from_file`, security/commoncap.c).
    pub(in super::super) fn may_have_capabilities(&self) -> bool {
        self.began_as_root() || self.has_file_capabilities()
    }

    /// Whether the user of the run is known: of a unit, systemd says it together with the command.
    pub(super) fn is_user_known(&self) -> bool {
        self.scene.run.kind == RunKind::Command || !self.scene.run.command.is_empty()
    }

    /// The user of the run, at its beginning.
    pub(super) fn uid(&self) -> u32 {
        self.scene.run.uid
    }

    /// Whether the program's file gives it capabilities.
    pub(super) fn has_file_capabilities(&self) -> bool {
        !self.program.facts.file_capabilities.is_empty()
    }

    /// Why the fact asks for nothing, whatever the sandbox: in what the main process did, or, with `all`, in what all
    /// commands of the unit did.
    pub(super) fn vain(&self, all: bool) -> Option<&'static str> {
        let vain = &self.recorded.vain[usize::from(all)];
        match self.fact.what {
            Deed::Syscall(abi, name) if vain.calls.contains(&(abi, name.clone())) => {
                Some("no call of this kernel")
            }
            Deed::Family(family) if vain.families.contains(family) => {
                Some("every socket of the family was refused")
            }
            Deed::Socket(_, outcome) if !places::is_done(outcome) => Some("it was refused"),
            Deed::Argument(name)
                if argument(name).is_some()
                    && !self.program.worked[usize::from(all)]
                        .arguments
                        .contains(name.as_str()) =>
            {
                Some("the call was refused each time")
            }
            _ => None,
        }
    }

    /// Whether such a call of the unit worked, at least once.
    pub(super) fn called(&self, name: &str) -> bool {
        self.program.worked[1].calls.contains(name)
    }

    /// Whether root did it from beginning to end, as far as is known.
    pub(super) fn is_roots(&self) -> bool {
        const OTHERS: [&str; 4] = ["setfsuid", "setresuid", "setreuid", "setuid"];
        self.began_as_root() && !OTHERS.iter().any(|name| self.called(name))
    }

    /// Whether the unit made no socket of the family: one that is used was made by another process.
    pub(super) fn is_handed_over(&self, family: &str) -> bool {
        let mut made = self.recorded.vain[1].made.iter();
        !made.any(|one| one.as_str() == family)
    }

    /// What the executable did.
    pub(super) fn facts(&self) -> &'a Executable {
        self.program.facts
    }

    /// Where the path of the fact leads, if it has one of this machine's.
    pub(super) fn place(&self) -> Option<Place<'a>> {
        self.scene.place(self.program, self.fact.what)
    }

    /// The same in the program's own root.
    pub(super) fn place_anywhere(&self) -> Option<Place<'a>> {
        self.scene.place_anywhere(self.program, self.fact.what)
    }

    /// Whether the program asked for one of these things of the kernel, whatever the answer was.
    pub(super) fn asked_for(&self, is_one: impl Fn(Argument) -> bool) -> bool {
        self.program.facts.said().any(is_one)
    }

    /// Whether the program used sockets of a family.
    pub(super) fn used_family(&self, family: &str) -> bool {
        let mut deeds = self.program.facts.deeds();
        deeds.any(|deed| match deed {
            Deed::Family(one) => one.as_str() == family,
            Deed::Socket(one, _) => one.family.as_str() == family,
            _ => false,
        })
    }

    fn made(&self) -> Option<&Made> {
        let life = (self.scene.life(), self.program.is_elsewhere);
        self.recorded.made.get(&life)
    }

    /// Whether what leads to `path` in `directory` was made in the same invocation: by the main process, or, `all` told, by another
    /// command of the unit. A file that was made in a directory that was there before is not there without that.
    pub(super) fn is_made(&self, path: &[u8], directory: &[u8], all: bool) -> bool {
        let Some(made) = self.made() else {
            return false;
        };
        entry_towards(path, directory)
            .is_some_and(|at| made.by_main.contains(at) || all && made.by_others.contains(at))
    }

    /// Whether `path` was made in the same invocation, and is there at its end.
    pub(super) fn is_left(&self, path: &[u8]) -> bool {
        let Some(made) = self.made() else {
            return false;
        };
        let is_made = made.by_main.contains(path) || made.by_others.contains(path);
        is_made && !up(path).any(|at| made.removed.contains(at))
    }
}

fn is_making(operation: Operation) -> bool {
    changes_entry(operation) && !is_removal(operation)
}

fn is_removal(operation: Operation) -> bool {
    use Operation as O;
    matches!(operation, O::Unlink | O::Rmdir | O::RenameFrom)
}
