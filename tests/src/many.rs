//! Observations of very many facts, in the shapes that daemons give them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use harden_agent::observation::{
    Abi, AddressOperation, Executable, File, Host, Inode, Observation, Operation, Outcome, Run,
    RunKind, SCHEMA, Seen, Text, Word,
};

/// How the facts lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A mail spool: one directory, in which files are created, renamed and removed.
    Spool,
    /// Files that are read, deep in a tree.
    Tree,
    /// Directories that are made, with a few files each, some below directories that are written themselves.
    Directories,
    /// Names of which each begins with all those before it, in directories of such names.
    Prefixes,
    /// Files that are reached through symbolic links, and links that are made.
    Links,
    /// Names that are looked for in vain.
    Absent,
    /// Files all over the system, some in the homes of users.
    System,
    /// Processes: programs with a few files each, which also look at each other.
    Processes,
    /// Programs that use the same few files, which none of them made.
    Programs,
    /// Runs with a few files each, of which other runs have some too.
    Runs,
    /// Sockets: addresses of the network, and names.
    Addresses,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Spool,
        Self::Tree,
        Self::Directories,
        Self::Prefixes,
        Self::Links,
        Self::Absent,
        Self::System,
        Self::Processes,
        Self::Programs,
        Self::Runs,
        Self::Addresses,
    ];
}

/// An observation with `count` facts of this shape, beside those that every program has. Those of another `run` have the
/// same names.
///
/// # Errors
/// A name is wrong.
pub fn observation(shape: Shape, count: usize, run: u32) -> Result<Observation> {
    let mut many = Many::new(run)?;
    for number in 0..count {
        many.add(shape, number)?;
    }
    let mut runs = many.others;
    runs.insert(Word::new(format!("run-{run}"))?, many.run);
    let name = "many.service".into();
    let schema = SCHEMA;
    Ok(Observation { schema, name, runs })
}

const PROGRAM: &str = "/usr/sbin/many";
const REGULAR: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;

struct Many {
    ok: Word,
    absent: Word,
    run: Run,
    others: BTreeMap<Word, Run>,
    /// The number of the last inode.
    inodes: u64,
}

impl Many {
    fn new(number: u32) -> Result<Self> {
        let hooks = [
            "addresses",
            "capabilities",
            "exec",
            "files",
            "lookups",
            "path-operations",
            "signals",
            "syscalls",
        ];
        let started = format!("2026-01-01T00:{:02}:00Z", number % 60).parse()?;
        let run = Run {
            kind: RunKind::Invocation,
            label: None,
            invocation: None,
            stands_for: BTreeSet::new(),
            command: vec![PROGRAM.into()],
            uid: 0,
            started,
            ended: started,
            status: Some(0),
            host: Host {
                name: "host".into(),
                kernel: "6.1.0".into(),
                architecture: "x86_64".into(),
                libc: None,
            },
            hooks: hooks
                .map(|hook| (hook.to_owned(), "fexit".to_owned()))
                .into(),
            losses: BTreeMap::new(),
            filters: BTreeSet::new(),
            symlinks: BTreeMap::new(),
            executables: BTreeMap::new(),
            control: BTreeMap::new(),
        };
        let mut many = Self {
            ok: Word::new("ok")?,
            absent: Word::new("ENOENT")?,
            run,
            others: BTreeMap::new(),
            inodes: 0,
        };
        many.begin(PROGRAM)?;
        Ok(many)
    }

    /// A program is run that does what every program does.
    fn begin(&mut self, program: &str) -> Result<()> {
        let calls = ["execve", "openat", "read", "write", "mmap", "exit_group"];
        let facts = self.program(program);
        let seen = facts.syscalls.entry(Abi::Native).or_default();
        for call in calls {
            seen.insert(Word::new(call)?, Seen::default());
        }
        self.did(program, program, &[Operation::Execute], REGULAR);
        let library = "/usr/lib/x86_64-linux-gnu/libc.so.6";
        self.did(program, library, &[Operation::Read], REGULAR);
        Ok(())
    }

    fn add(&mut self, shape: Shape, number: usize) -> Result<()> {
        use Operation as O;
        match shape {
            Shape::Spool => {
                let name = format!("/var/spool/many/message-{number}");
                let uses: &[Operation] = match number % 4 {
                    0 => &[O::Create, O::RenameFrom],
                    1 => &[O::RenameTo],
                    2 => &[O::Create, O::Unlink],
                    _ => &[O::Read, O::Chmod],
                };
                self.did(PROGRAM, &name, uses, REGULAR);
            }
            Shape::Tree => {
                let (a, b, c) = (number % 7, number / 7 % 11, number / 77 % 13);
                let path = format!("/srv/many/{a}/{b}/{c}/x/y/z/{}/{number}", number / 1001);
                self.did(PROGRAM, &path, &[O::Stat, O::Read], REGULAR);
            }
            Shape::Directories => {
                let directory = format!("/var/lib/many/box-{}", number / 3);
                match number % 3 {
                    0 => self.did(PROGRAM, &directory, &[O::Mkdir], DIRECTORY),
                    1 => self.did(PROGRAM, &format!("{directory}/a"), &[O::Create], REGULAR),
                    _ => {
                        let path = format!("/opt/many-{number}/data/b");
                        self.did(PROGRAM, &path, &[O::Create], REGULAR);
                    }
                }
            }
            Shape::Prefixes => {
                let mut path = "/srv".to_owned();
                let mut rest = number;
                for _ in 0..3 {
                    path.push('/');
                    path.push_str(&"n".repeat(1 + rest % 100));
                    rest /= 100;
                }
                let operation = if number.is_multiple_of(2) {
                    O::Read
                } else {
                    O::Write
                };
                self.did(PROGRAM, &path, &[operation], REGULAR);
            }
            Shape::Links => {
                let path = format!("/srv/many/files/{number}");
                let link = format!("/srv/many/links/{}/{number}", number % 100);
                match number % 3 {
                    0 => self.did(PROGRAM, &link, &[O::Symlink, O::Unlink], REGULAR),
                    _ => self.did(PROGRAM, &path, &[O::Read], REGULAR),
                }
                let facts = self.program(PROGRAM);
                if let Some(file) = facts.files.get_mut(&Text::from(&path)) {
                    file.asked_as.insert(link.as_str().into());
                    self.run.symlinks.insert(link.into(), path.into());
                }
            }
            Shape::Absent => {
                let path = format!("/usr/lib/many/{}/{number}.so", number % 50);
                let absent = Outcome(self.absent.clone());
                let file = self.file(PROGRAM, &path);
                file.operations.entry(O::Stat, absent);
            }
            Shape::System => self.system(number),
            Shape::Processes => {
                let program = format!("/usr/lib/many/job-{}", number / 5);
                match number % 5 {
                    0 => self.begin(&program)?,
                    1 => {
                        let path = format!("/proc/{number}/stat");
                        self.did(&program, &path, &[O::Read], REGULAR);
                    }
                    _ => {
                        let path = format!("/var/lib/many/{number}");
                        self.did(&program, &path, &[O::Create], REGULAR);
                    }
                }
            }
            Shape::Programs => {
                let program = format!("/usr/lib/many/tool-{}", number / 4);
                match number % 4 {
                    0 => self.begin(&program)?,
                    other => {
                        let path = format!("/etc/many-{other}.conf");
                        self.did(&program, &path, &[O::Read], REGULAR);
                    }
                }
            }
            Shape::Runs => {
                if number.is_multiple_of(10) {
                    let next = Self::new(u32::try_from(number / 10)?)?.run;
                    let run = std::mem::replace(&mut self.run, next);
                    self.others
                        .insert(Word::new(format!("earlier-{number}"))?, run);
                }
                let path = format!("/srv/many/{}", number / 2 * 7 % 1_000_003);
                self.did(PROGRAM, &path, &[O::Read], REGULAR);
            }
            Shape::Addresses => self.address(number),
        }
        Ok(())
    }

    fn system(&mut self, number: usize) {
        use Operation as O;
        let path = match number % 8 {
            0 => format!("/etc/many.d/{number}.conf"),
            1 => format!("/home/user-{}/.many/{number}", number % 1000),
            2 => format!("/usr/share/many/{number}"),
            3 => format!("/var/log/many-{number}.log"),
            4 => format!("/tmp/many-{number}"),
            5 => format!("/run/many-{number}.sock"),
            6 => format!("/dev/many-{number}"),
            _ => format!("/opt/{}/lib/{number}", number % 100),
        };
        let uses: &[Operation] = match number % 8 {
            0 | 2 | 7 => &[O::Read],
            1 | 3 | 4 => &[O::Create, O::Write],
            5 => &[O::Bind],
            _ => &[O::Write],
        };
        self.did(PROGRAM, &path, uses, REGULAR);
    }

    fn address(&mut self, number: usize) {
        let (high, low) = (number / 250, number % 250);
        let address = match number % 3 {
            0 => format!("inet 10.{}.{}.{low}:443", high / 250, high % 250),
            1 => format!("unix @many-{number}"),
            _ => format!("unix /run/many/{number}"),
        };
        let ok = Outcome(self.ok.clone());
        let facts = self.program(PROGRAM);
        let addresses = facts.addresses.entry(AddressOperation::Connect);
        let outcomes = addresses.or_default().entry(address.into()).or_default();
        outcomes.insert(ok, Seen::default());
    }

    fn program(&mut self, path: &str) -> &mut Executable {
        self.run.executables.entry(path.into()).or_default()
    }

    fn file(&mut self, program: &str, path: &str) -> &mut File {
        self.program(program).files.entry(path.into()).or_default()
    }

    fn did(&mut self, program: &str, path: &str, operations: &[Operation], mode: u32) {
        let ok = Outcome(self.ok.clone());
        let seen = Seen::at(self.run.started).counted(Some(1), None);
        self.inodes += 1;
        let number = self.inodes;
        let file = self.file(program, path);
        file.resolved = true;
        for operation in operations {
            file.operations.add(*operation, ok.clone(), seen.clone());
        }
        let inode = Inode {
            device: 1,
            number,
            generation: 1,
            mode,
            uid: 0,
            gid: 0,
            rdev: 0,
            filesystem: 0xEF53,
            acl: None,
        };
        file.inodes = [inode].into_iter().collect();
    }
}
