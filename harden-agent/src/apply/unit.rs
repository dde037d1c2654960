//! The unit: a service of this system.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _};

use anyhow::{Result, bail, ensure};

use crate::{
    machine::{proc, systemd},
    observation::{Text, unit_name},
};

/// A service of this system, by its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    name: String,
    /// Its other names too.
    names: Vec<String>,
}

/// The main process, before anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// As whom it runs.
    pub user: u32,
}

impl Unit {
    /// The service that is called so, with or without `.service`.
    ///
    /// # Errors
    /// No service of this system's systemd can be called so, or none is.
    pub fn find(typed: &OsStr) -> Result<Self> {
        let text = Text::as_typed(typed.as_bytes());
        let Some(name) = plain(&text) else {
            bail!("{text} cannot be the name of a service of this system");
        };
        ensure!(
            !name.ends_with("@.service"),
            "{name} is a template: name one of its instances"
        );
        let Some(properties) = systemd::properties(&name, &["Id", "Names", "LoadState"]) else {
            bail!("systemd does not answer");
        };
        let property = |name: &str| properties.get(name).map_or("", String::as_str);
        let state = property("LoadState");
        ensure!(
            state == "loaded",
            "{name} is no unit of this system: {state}"
        );
        // An alias has no drop-ins of its own.
        let Some(own) = plain(&Text::from(property("Id").as_bytes())) else {
            bail!("{name} is not a service with a name of its own");
        };
        let names = property("Names").split_whitespace();
        let names = names.map(str::to_owned).chain([name]).collect();
        Ok(Self { name: own, names })
    }

    /// The service that is called so, or was: one that is masked or gone may still have files of harden.
    ///
    /// # Errors
    /// No service of this system's systemd can be called so, or none is and nothing is installed for it.
    pub fn find_installed(typed: &OsStr) -> Result<Self> {
        Self::find(typed).or_else(|error| {
            let name = plain(&Text::as_typed(typed.as_bytes()));
            let installed = super::installed();
            let is_installed = |name: &String| {
                let name = Text::from(name.as_str());
                installed.iter().any(|one| one.unit == name)
            };
            match name.filter(is_installed) {
                Some(name) => Ok(Self {
                    names: vec![name.clone()],
                    name,
                }),
                None => Err(error),
            }
        })
    }

    /// Its own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether an observation of this name is of this unit, on whichever machine it was made; or of another instance of
    /// the same template.
    #[must_use]
    pub fn is_meant_by(&self, subject: &Text) -> bool {
        let own = String::from_utf8_lossy(unit_name(subject)).into_owned();
        let own = if own.ends_with(".service") {
            own
        } else {
            format!("{own}.service")
        };
        let template = |name: &str| name.split_once('@').map(|(start, _)| start.to_owned());
        self.names.iter().any(|name| {
            *name == own || template(name).is_some_and(|start| template(&own) == Some(start))
        })
    }

    /// These properties.
    ///
    /// # Errors
    /// systemd does not answer.
    pub(super) fn properties(&self, names: &[&str]) -> Result<BTreeMap<String, String>> {
        let Some(properties) = systemd::properties(&self.name, names) else {
            bail!("systemd does not answer");
        };
        Ok(properties)
    }

    /// Its main process.
    ///
    /// # Errors
    /// systemd does not answer, or the unit has none.
    pub(super) fn running(&self) -> Result<Before> {
        let properties = self.properties(&["MainPID", "ActiveState"])?;
        let property = |name: &str| properties.get(name).map_or("", String::as_str);
        let state = property("ActiveState");
        let status = proc::status(property("MainPID")).filter(|_| state == "active");
        let Some(user) = status.and_then(|status| status.user) else {
            ensure!(
                state != "active",
                "{} is active without a process, as a oneshot service may be: whether something is in force is seen in a \
                 daemon's main process",
                self.name
            );
            bail!(
                "{} has no main process to look at ({state}); start it first: systemctl start {}",
                self.name,
                self.name
            );
        };
        Ok(Before { user })
    }
}

/// The name, with `.service`, if it can be one (systemd.unit(5)), is not taken for an option, and leaves room for what
/// files are called after it.
fn plain(text: &Text) -> Option<String> {
    const LONGEST: usize = 200;
    let name = str::from_utf8(text.as_bytes()).ok()?;
    let name = if name.ends_with(".service") {
        name.to_owned()
    } else {
        format!("{name}.service")
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let is_plain = name != ".service"
        && name.len() <= LONGEST
        && !name.starts_with(['-', '.'])
        && name.bytes().all(known);
    is_plain.then_some(name)
}

#[cfg(test)]
impl Unit {
    /// One that no systemd was asked for.
    pub(super) fn called(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            names: vec![name.to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_services_are_taken() {
        let plain = |name: &str| plain(&name.into());
        assert_eq!(plain("nginx").as_deref(), Some("nginx.service"));
        assert_eq!(
            plain(r"a\x2db@c:d.service").as_deref(),
            Some(r"a\x2db@c:d.service")
        );
        let long = "a".repeat(200);
        for name in [
            "", ".service", "-rf", "../a", "a b", "a\nb", "a%b", "a$b", &long,
        ] {
            assert_eq!(plain(name), None, "{name}");
        }
        assert_eq!(super::plain(&Text::from(&b"\xff"[..])), None);
    }

    #[test]
    fn an_observation_is_of_the_unit_whatever_machine_made_it() {
        let unit = Unit::called("a@b.service");
        for (name, expected) in [
            ("a@b.service", true),
            ("/machine/payload:a@b.service", true),
            ("a@other.service", true),
            ("a@b", true),
            ("a.service", false),
            ("aa@b.service", false),
        ] {
            assert_eq!(unit.is_meant_by(&name.into()), expected, "{name}");
        }
    }
}
