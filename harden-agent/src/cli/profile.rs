//! What the commands that write files for a sandbox have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    observation::{Observation, Text},
    output::{Ours, Output, file_stem},
    policy::{
        Adapted, Decision, Id, Mode, Overrides, Paths, Terms, Widen,
        account::{Account, Accounts},
        adapt,
        firejail::{
            HOMES, Launch, Policy, Target, Version,
            service::{Service, UnitFile},
        },
        seccomp::Seccomp,
        systemd::DropIn,
    },
    render::{
        Options, account, firejail, login, oci,
        report::{self, Report},
        service, systemd, yocto,
    },
    target::{self, accounts::Login},
};

/// How the program will be started under Firejail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// `firejail --profile=FILE -- PROGRAM`: Firejail runs it through bash
    Shell,
    /// `firejail --profile=FILE PROGRAM`: no shell is needed, and none is allowed
    Direct,
}

/// The Firejail `target` as those who did what `observation` tells of start it.
fn started(
    target: &Target,
    asked: Option<Start>,
    observation: &Observation,
    logins: &mut Logins,
) -> Target {
    let subject = &observation.name;
    let users: BTreeSet<u32> = observation.runs.values().map(|run| run.uid).collect();
    let users: Vec<_> = users
        .into_iter()
        .map(|uid| (uid, logins.of(subject, uid)))
        .collect();
    Target {
        launch: launch(
            asked,
            users.iter().map(|(uid, login)| shell(*uid, login.as_ref())),
        ),
        homes: homes(subject, users.iter().map(|(_, login)| login.as_ref())),
        ..target.clone()
    }
}

/// The home directories of those who start it.
fn homes<'a>(
    subject: &Text,
    logins: impl Iterator<Item = Option<&'a Login>>,
) -> Decision<BTreeSet<Text>> {
    let homes: Option<_> = logins.map(|login| Some(login?.home.clone())).collect();
    let missing = HOMES.iter().find(|home| !Path::new(home).is_dir());
    match (homes, missing) {
        (Some(homes), None) if target::accounts::are_known(subject) => Decision::Given(homes),
        (_, Some(home)) => Decision::withheld(format!(
            "there is no {home} here, and without it Firejail would not start"
        )),
        _ => Decision::withheld(
            "who starts Firejail is not known here, whose home directory it would empty too",
        ),
    }
}

/// How to start it. Firejail's shell is the user's login shell: one that lets nobody in runs nothing, and what others
/// than bash need is not known.
fn launch(asked: Option<Start>, mut shells: impl Iterator<Item = String>) -> Launch {
    let shell = shells
        .find(|shell| !is_bash(shell))
        .unwrap_or_else(|| BASH.to_owned());
    match asked {
        Some(Start::Direct) => Launch::Direct,
        None if !is_bash(&shell) => Launch::Direct,
        _ => Launch::Shell(shell),
    }
}

/// What was looked up so far: a look-up reads files or asks a server, and a service of an agent has many runs.
#[derive(Clone, Debug, Default)]
struct Logins(BTreeMap<(Text, u32), Option<Login>>);

impl Logins {
    fn of(&mut self, subject: &Text, uid: u32) -> Option<Login> {
        let login = self.0.entry((subject.clone(), uid));
        login
            .or_insert_with(|| target::accounts::login(subject, uid))
            .clone()
    }
}

const BASH: &str = "/bin/bash";
const NOLOGIN: &str = "/usr/sbin/nologin";

fn is_bash(shell: &str) -> bool {
    shell.ends_with("/bash")
}

/// The login shell of `uid`. For a user that is not known, as it was recorded on another machine, what most have:
/// bash, and none for an account of the system's.
fn shell(uid: u32, login: Option<&Login>) -> String {
    /// `SYS_UID_MAX` of login.defs(5).
    const SYSTEM: std::ops::RangeInclusive<u32> = 1..=999;
    let usual = if SYSTEM.contains(&uid) { NOLOGIN } else { BASH };
    login.map_or_else(|| usual.to_owned(), |login| login.shell.to_string())
}

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Format {
    /// A Firejail profile, NAME.profile
    Firejail,
    /// A systemd drop-in, NAME.drop-in.conf
    Systemd,
    /// A systemd drop-in that starts the unit under Firejail, NAME.firejail.conf
    Service,
    /// The system call list of a container, NAME.seccomp.json
    Oci,
    /// An account for running without root, and what it needs, NAME.sysusers.conf
    Accounts,
    /// The part of a Yocto recipe that installs the files of the other formats, NAME.inc
    // Behind those: it installs what of them was written.
    Yocto,
    /// A login shell that starts the program under Firejail, NAME.login.sh
    Login,
    /// A report of everything, for people to read, NAME.report.md
    Report,
    /// Only the observation, NAME.observation.json
    Observation,
}

impl Format {
    /// The file for `subject`, with nothing in it yet; `None` for the observation, which every command
    /// writes in its own way.
    fn output(self, subject: &Text, syntax: report::Syntax) -> Option<Output> {
        let name = match self {
            Self::Firejail => firejail::file_name(subject),
            Self::Systemd => systemd::file_name(subject),
            Self::Service => service::file_name(subject),
            Self::Oci => oci::file_name(subject),
            Self::Yocto => yocto::file_name(subject),
            Self::Accounts => account::file_name(subject),
            Self::Login => login::file_name(subject),
            Self::Report => report::file_name(subject, syntax),
            Self::Observation => return None,
        };
        let ours = if self == Self::Oci {
            Ours::Json
        } else {
            Ours::Marker
        };
        Some(Output {
            name,
            content: Vec::new(),
            ours,
        })
    }
}

/// What is decided over, and how.
#[derive(Clone, Debug, Args)]
pub struct Decisions {
    /// Add the system calls that another version of the C library, or another kernel, uses instead of those seen
    #[arg(long, value_enum, default_value_t)]
    pub widen: Widen,
    /// Allow only the system calls that were seen, without the implicit ones that circumstances can cause
    #[arg(long, conflicts_with = "widen")]
    pub exact: bool,
    /// The kind of system call list [default: the recommended one; the file says which]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How far directories replace the files in them
    #[arg(long, value_enum, default_value_t)]
    pub paths: Paths,
    /// The directory with your own decisions, in NAME.toml for the unit or command NAME
    #[arg(long, value_name = "DIR", default_value = "/etc/harden/overrides")]
    pub overrides: PathBuf,
}

impl Decisions {
    /// What is decided over, with what somebody has decided before.
    ///
    /// # Errors
    /// The overrides cannot be read.
    pub fn adapt(&self, observation: &Observation) -> Result<Adapted> {
        let overrides = overrides(&self.overrides, &observation.name)?;
        Ok(adapt(observation, self.paths, &overrides))
    }

    /// For this machine.
    pub fn terms(&self) -> Terms {
        Terms {
            host: Some(crate::run::host::this()),
            widen: if self.exact { Widen::Exact } else { self.widen },
            mode: self.mode,
            paths: self.paths,
        }
    }
}

/// What is written, what for, and where to.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// What to write; separate several formats by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "firejail")]
    pub format: Vec<Format>,
    /// Write the files into this directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Write for this version of Firejail instead of the installed one
    #[arg(long, value_name = "VERSION")]
    pub firejail_version: Option<Version>,
    /// How the program will be started [default: shell if the login shell is bash, else direct]
    #[arg(long, value_enum)]
    pub start: Option<Start>,
    /// What is decided over
    #[command(flatten)]
    pub decisions: Decisions,
    /// For the format service: the output of `systemctl cat UNIT`, if the unit is on another system
    #[arg(long, value_name = "FILE")]
    pub unit_file: Option<PathBuf>,
    /// For the format yocto: the override syntax of the Yocto release
    #[arg(long, value_enum, default_value_t)]
    pub yocto_syntax: yocto::Syntax,
    /// For the format report: its syntax
    #[arg(long, value_enum, default_value_t)]
    pub report_syntax: report::Syntax,
    /// The prefix of the names of proposed accounts
    #[arg(long, value_name = "PREFIX", default_value = "ops")]
    pub account_prefix: String,
    /// Write rules and warnings only, without the evidence
    #[arg(long)]
    pub bare: bool,
    /// Leave out these warnings, by name; separate several names by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WARNING")]
    pub silence: Vec<Id>,
    /// Replace files of the same names even if harden did not write them
    #[arg(long)]
    pub force: bool,
}

impl ProfileArgs {
    /// The files asked for, with nothing in them yet: whether they can be written can be found out before
    /// anything is decided.
    pub fn empty(&self, subject: &Text) -> Vec<Output> {
        let formats: BTreeSet<&Format> = self.format.iter().collect();
        formats
            .into_iter()
            .filter_map(|format| format.output(subject, self.report_syntax))
            .collect()
    }

    /// Whether what somebody has decided about `subject` can be read.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_overrides(&self, subject: &Text) -> Result<()> {
        overrides(&self.decisions.overrides, subject).map(drop)
    }

    /// Asks the sandboxes that are written for, once for however many observations. Warnings about
    /// them go to standard error.
    ///
    /// # Errors
    /// The file with the unit cannot be read.
    pub fn renderer(&self) -> Result<Renderer> {
        let formats: BTreeSet<Format> = self.format.iter().copied().collect();
        let asked = target::firejail::ask(self.firejail_version, Launch::Direct);
        if formats.contains(&Format::Firejail) {
            for warning in &asked.warnings {
                eprintln!("warning: {warning}");
            }
        }
        let calls = formats
            .contains(&Format::Systemd)
            .then(target::systemd::calls)
            .flatten();
        let unit = self.unit_file.as_deref().map(|path| {
            let text = fs::read(path).with_context(|| path.display().to_string())?;
            anyhow::Ok(UnitFile::parse(&String::from_utf8_lossy(&text)))
        });
        Ok(Renderer {
            formats,
            target: asked.target,
            terms: self.decisions.terms(),
            decisions: self.decisions.clone(),
            calls,
            unit: unit.transpose()?,
            yocto_syntax: self.yocto_syntax,
            report_syntax: self.report_syntax,
            account_prefix: self.account_prefix.clone(),
            start: self.start,
            options: Options {
                bare: self.bare,
                silenced: self.silence.iter().copied().collect(),
                remarks: Vec::new(),
            },
            logins: Logins::default(),
        })
    }
}

/// Writes files for the sandboxes of one machine.
#[derive(Clone)]
pub struct Renderer {
    formats: BTreeSet<Format>,
    target: Target,
    terms: Terms,
    decisions: Decisions,
    /// The calls that its systemd knows.
    calls: Option<BTreeSet<String>>,
    /// The unit, where it is not one of this system's.
    unit: Option<UnitFile>,
    yocto_syntax: yocto::Syntax,
    report_syntax: report::Syntax,
    account_prefix: String,
    start: Option<Start>,
    options: Options,
    logins: Logins,
}

impl Renderer {
    /// What a Firejail profile would say.
    ///
    /// # Errors
    /// The overrides cannot be read.
    pub fn policy(&mut self, observation: &Observation) -> Result<Policy> {
        let adapted = self.decisions.adapt(observation)?;
        Ok(self.decide(&adapted.general))
    }

    fn decide(&mut self, general: &Observation) -> Policy {
        let target = started(&self.target, self.start, general, &mut self.logins);
        Policy::decide(general, target, &self.terms)
    }

    /// The pages that say why, by what they are called in speech, for a Firejail that was not asked.
    pub fn pages(observation: &Observation, terms: &Terms) -> [(&'static str, String); 2] {
        let options = Options::default();
        let target = started(
            &Target::default(),
            None,
            observation,
            &mut Logins::default(),
        );
        let policy = Policy::decide(observation, target, terms);
        let drop_in = DropIn::decide(observation, None, terms);
        [
            ("profile", firejail::profile(&policy, &options)),
            ("drop-in", systemd::drop_in(&drop_in, &options)),
        ]
    }

    /// The unit's files.
    fn unit_of(&self, name: &Text) -> Option<UnitFile> {
        let asked = || target::unit::installed(name);
        self.unit.clone().or_else(asked)
    }

    /// What the drop-in does to the unit's exposure, where that is asked for and the unit is known.
    fn exposure(&self, general: &Observation) -> Option<String> {
        let says = [Format::Systemd, Format::Report];
        if self.options.bare || !says.iter().any(|format| self.formats.contains(format)) {
            return None;
        }
        let unit = self.unit_of(&general.name)?.text;
        let drop_in = systemd::drop_in(&self.drop_in(general), &self.options);
        let before = target::systemd::exposure(&unit)?;
        let after = target::systemd::exposure(&format!("{unit}\n{drop_in}"))?;
        Some(format!(
            "Exposure, of 10, by systemd-analyze --offline security: {before} as the unit is, {after} with the drop-in"
        ))
    }

    /// What systemd is to refuse.
    fn drop_in(&self, general: &Observation) -> DropIn {
        DropIn::decide(general, self.calls.as_ref(), &self.terms)
    }

    /// The drop-in that starts the unit under Firejail.
    fn service(&mut self, adapted: &Adapted, options: &Options) -> Result<String> {
        let observation = &adapted.general;
        let unit = self.unit_of(&observation.name).with_context(|| {
            format!(
                "systemd has no unit {} here; --unit-file FILE takes what `systemctl cat` prints elsewhere",
                observation.name
            )
        })?;
        let mut policy = self.decide(observation);
        // A service's account has no shell that Firejail could start it through.
        if self.start.is_none() && unit.account().is_some() {
            policy.target.launch = Launch::Direct;
        }
        let profile = service::profile(&observation.name);
        let decided = Service::decide(observation, &unit, &policy, &profile);
        service::service(&decided, options)
    }

    /// The text of one format, or why it is left out; `None` for the observation, which every command writes in its
    /// own way.
    fn text(
        &mut self,
        format: Format,
        adapted: &Adapted,
        exposure: Option<&str>,
        written: &[Output],
    ) -> Option<Result<String>> {
        let general = &adapted.general;
        let mut options = Options {
            remarks: adapted.remarks.clone(),
            ..self.options.clone()
        };
        if matches!(format, Format::Systemd | Format::Report) {
            options.remarks.extend(exposure.map(str::to_owned));
        }
        Some(match format {
            Format::Firejail => Ok(firejail::profile(&self.decide(general), &options)),
            Format::Systemd => Ok(systemd::drop_in(&self.drop_in(general), &options)),
            Format::Service => self.service(adapted, &options),
            // JSON has no room for a list that is left out, and why.
            Format::Oci => oci::seccomp(&Seccomp::decide(general, &self.terms), &options),
            Format::Login => login::wrapper(&self.decide(general), general, &options),
            Format::Report => Ok(self.report(adapted, &options)),
            Format::Yocto => {
                let files = yocto::Installed::all(&general.name);
                let is_written = |file: &yocto::Installed| {
                    written.iter().any(|output| output.name == file.name())
                };
                let files: Vec<_> = files.into_iter().filter(is_written).collect();
                Ok(yocto::recipe(
                    &general.name,
                    &files,
                    self.yocto_syntax,
                    &options,
                ))
            }
            Format::Accounts => Ok(account::sysusers(&self.account(adapted), &options)),
            Format::Observation => return None,
        })
    }

    fn account(&self, adapted: &Adapted) -> Account {
        let accounts = Accounts {
            groups: target::accounts::groups(&adapted.exact),
            prefix: self.account_prefix.clone(),
        };
        Account::decide(&adapted.exact, &accounts, &self.terms)
    }

    fn report(&mut self, adapted: &Adapted, options: &Options) -> String {
        let report = Report {
            observation: &adapted.exact,
            policy: &self.decide(&adapted.general),
            drop_in: &self.drop_in(&adapted.general),
            account: &self.account(adapted),
        };
        report.text(self.report_syntax, options)
    }

    /// The files asked for, without the observation.
    ///
    /// # Errors
    /// The overrides cannot be read.
    pub fn outputs(&mut self, observation: &Observation) -> Result<Vec<Output>> {
        let adapted = self.decisions.adapt(observation)?;
        let exposure = self.exposure(&adapted.general);
        let mut outputs = Vec::new();
        for format in self.formats.clone() {
            let Some(mut output) = format.output(&observation.name, self.report_syntax) else {
                continue;
            };
            match self.text(format, &adapted, exposure.as_deref(), &outputs) {
                None => {}
                Some(Ok(text)) => {
                    output.content = text.into_bytes();
                    outputs.push(output);
                }
                Some(Err(error)) => eprintln!("warning: {} is not written: {error:#}", output.name),
            }
        }
        Ok(outputs)
    }
}

/// What somebody has decided about `subject`: nothing, where there is no file of it in the directory.
fn overrides(directory: &Path, subject: &Text) -> Result<Overrides> {
    let file = directory.join(format!("{}.toml", file_stem(subject)));
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Overrides::default());
        }
        text => text.with_context(|| file.display().to_string())?,
    };
    Overrides::parse(&text).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::SCHEMA;

    #[test]
    fn asked_for_nothing_a_stranger_starts_through_bash() {
        let nobody_yet = Observation {
            schema: SCHEMA,
            name: "d".into(),
            runs: BTreeMap::new(),
        };
        let launched = |start| {
            let target = Target::default();
            started(&target, start, &nobody_yet, &mut Logins::default()).launch
        };
        assert_eq!(launched(None), Launch::Shell(BASH.to_owned()));
        assert_eq!(launched(Some(Start::Direct)), Launch::Direct);
        assert_eq!(shell(u32::MAX - 7, None), BASH);
    }

    #[test]
    fn a_shell_that_lets_nobody_in_is_passed_by() {
        assert!(!is_bash("/usr/sbin/nologin"));
        assert!(!is_bash(""));
        assert!(is_bash("/usr/bin/bash"));
    }
}
