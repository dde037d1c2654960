//! The plan for one observation: each decision is made once, when a format first needs it.

use std::{cell::OnceCell, rc::Rc};

use super::{Content, Format, Request};
use crate::{
    machine,
    observation::{Observation, Text},
    output::Output,
    policy::{
        Adapted, Basis, Decision, UnitBasis,
        account::{Account, Accounts},
        firejail::{
            Launch, Profile,
            service::{Service, UnitFile},
        },
        login,
        oci::Seccomp,
        systemd::DropIn,
    },
    render::{Options, service, systemd},
};

/// All decisions about one observation.
pub struct Plan<'r> {
    request: &'r Request,
    observation: &'r Observation,
    adapted: &'r Adapted<'r>,
    general: Rc<Basis<'r>>,
    general_unit: OnceCell<UnitBasis<'r>>,
    exact_unit: OnceCell<UnitBasis<'r>>,
    firejail: OnceCell<Profile>,
    systemd: OnceCell<DropIn>,
    oci: OnceCell<Seccomp>,
    account: OnceCell<Account>,
    unit: OnceCell<Option<UnitFile>>,
    service: OnceCell<Result<Service, String>>,
    login: OnceCell<Decision<Vec<String>>>,
    exposure: OnceCell<Option<String>>,
}

/// What was written of a plan, and what was not.
#[derive(Clone, Debug, Default)]
pub struct Files<'o> {
    /// The files, in the order of the formats.
    pub written: Vec<Output<'o>>,
    /// Those that cannot be written.
    pub withheld: Vec<Withheld>,
}

/// A file that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

impl<'r> Plan<'r> {
    pub(super) fn new(
        request: &'r Request,
        observation: &'r Observation,
        adapted: &'r Adapted<'r>,
    ) -> Self {
        Self {
            request,
            observation,
            adapted,
            general: Rc::new(adapted.general.basis()),
            general_unit: OnceCell::new(),
            exact_unit: OnceCell::new(),
            firejail: OnceCell::new(),
            systemd: OnceCell::new(),
            oci: OnceCell::new(),
            account: OnceCell::new(),
            unit: OnceCell::new(),
            service: OnceCell::new(),
            login: OnceCell::new(),
            exposure: OnceCell::new(),
        }
    }

    /// What the plan is about: a unit or a command.
    #[must_use]
    pub fn subject(&self) -> &Text {
        &self.observation.name
    }

    /// What was recorded.
    #[must_use]
    pub fn observation(&self) -> &'r Observation {
        self.observation
    }

    /// What is decided over.
    #[must_use]
    pub fn adapted(&self) -> &Adapted<'r> {
        self.adapted
    }

    /// What is asked of it.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.request
    }

    /// What a Firejail profile says.
    #[must_use]
    pub fn firejail(&self) -> &Profile {
        self.firejail.get_or_init(|| {
            let target = self.request.target(self.general.observation());
            Profile::decide(&self.general, target, &self.request.decision_options)
        })
    }

    /// What a systemd drop-in says.
    #[must_use]
    pub fn systemd(&self) -> &DropIn {
        self.systemd.get_or_init(|| {
            DropIn::decide(
                self.general_unit(),
                self.request.calls(),
                &self.request.decision_options,
            )
        })
    }

    /// Which calls a container may make.
    #[must_use]
    pub fn oci(&self) -> &Seccomp {
        self.oci
            .get_or_init(|| Seccomp::decide(&self.general, &self.request.decision_options))
    }

    /// Whether it can do without root.
    #[must_use]
    pub fn account(&self) -> &Account {
        self.account.get_or_init(|| {
            let accounts = Accounts {
                groups: machine::accounts::groups(&self.adapted.exact.recorded),
                prefix: self.request.account_prefix.clone(),
            };
            Account::decide(self.exact_unit(), &accounts, &self.request.decision_options)
        })
    }

    fn general_unit(&self) -> &UnitBasis<'r> {
        let general = &self.adapted.general;
        self.general_unit
            .get_or_init(|| general.unit_basis_beside(&self.general))
    }

    fn exact_unit(&self) -> &UnitBasis<'r> {
        if self.adapted.is_exact() {
            return self.general_unit();
        }
        self.exact_unit
            .get_or_init(|| self.adapted.exact.unit_basis())
    }

    /// How its unit is started under Firejail.
    ///
    /// # Errors
    /// The unit is not known.
    pub fn service(&self) -> Result<&Service, &str> {
        let service = self.service.get_or_init(|| {
            let unit = self.unit().ok_or_else(|| {
                format!(
                    "systemd has no unit {} here; --unit-file FILE takes what `systemctl cat` prints elsewhere",
                    self.subject()
                )
            })?;
            let mut profile = self.firejail().clone();
            // A service's account has no shell that Firejail could start it through.
            if self.request.start.is_none() && unit.account().is_some() {
                profile.target.launch = Launch::Direct;
            }
            let path = service::profile(self.subject());
            Ok(Service::decide(&self.general, unit, &profile, &path))
        });
        service.as_ref().map_err(String::as_str)
    }

    /// The command that a login starts, word by word.
    #[must_use]
    pub fn login(&self) -> &Decision<Vec<String>> {
        self.login
            .get_or_init(|| login::command(self.general.observation()))
    }

    /// The unit's files.
    fn unit(&self) -> Option<&UnitFile> {
        let unit = self.unit.get_or_init(|| {
            let given = self.request.unit.clone();
            given.or_else(|| machine::unit::installed(self.subject()))
        });
        unit.as_ref()
    }

    /// How its pages are written.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            remarks: self.adapted.remarks.clone(),
            ..self.request.options.clone()
        }
    }

    /// The same, with what the drop-in does to the unit's exposure, where the unit is known.
    #[must_use]
    pub fn options_with_exposure(&self) -> Options {
        let mut options = self.options();
        let exposure = self.exposure.get_or_init(|| self.ask_exposure(&options));
        options.remarks.extend(exposure.clone());
        options
    }

    fn ask_exposure(&self, options: &Options) -> Option<String> {
        if options.bare {
            return None;
        }
        let unit = &self.unit()?.text;
        let drop_in = systemd::drop_in(self.systemd(), &self.request.options);
        let before = machine::systemd::exposure(unit)?;
        let after = machine::systemd::exposure(&format!("{unit}\n{drop_in}"))?;
        Some(format!(
            "Exposure, of 10, by systemd-analyze --offline security: {before} as the unit is, {after} with the drop-in"
        ))
    }

    /// The files of all formats that are asked for.
    #[must_use]
    pub fn files(mut self) -> Files<'r> {
        let mut files = Files::default();
        for &format in &self.request.formats {
            if format.is_observation() {
                // Nothing that was decided is in it, and of a million files that takes as much room as it does.
                self = Self::new(self.request, self.observation, self.adapted);
            }
            let mut output = self.empty(format);
            match (format.content)(&self, &files.written) {
                Content::Written(content) => {
                    output.content = content;
                    files.written.push(output);
                }
                Content::Withheld(reason) => files.withheld.push(Withheld {
                    name: output.name,
                    reason,
                }),
            }
        }
        files
    }

    fn empty(&self, format: &Format) -> Output<'static> {
        format.empty(self.subject(), self.request)
    }
}
