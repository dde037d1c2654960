//! A drop-in that has a unit started under Firejail: `NAME.d/60-harden-firejail.conf`.

use crate::observation::Text;
use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::firejail::service::{Service, Setting};

use super::page::{Options, Page};
use super::{firejail, systemd};

/// The name of the file in the user's directory.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.firejail.conf", file_stem(subject))
}

/// Where the profile has to lie. The name's characters are none that systemd or a shell looks at.
#[must_use]
pub fn profile(subject: &Text) -> String {
    format!("/etc/firejail/{}", firejail::file_name(subject))
}

/// The text of the drop-in, for a `service` with these `settings`.
#[must_use]
pub fn service(service: &Service, settings: &[Setting], options: &Options) -> String {
    let mut out = Page::new(options.clone());
    let unit = systemd::unit(&service.subject);
    out.comment(&format!("{} under Firejail", service.subject));
    out.line(&format!(
        "{MARKER_PREFIX}; it belongs at /etc/systemd/system/{unit}.d/60-harden-firejail.conf, and the profile at {}",
        profile(&service.subject)
    ));
    for line in &service.left {
        out.comment(&format!("Look: {line}"));
    }
    out.section(|out| {
        out.line("[Service]");
        for setting in settings {
            write(setting, out);
        }
    });
    out.text()
}

fn write(setting: &Setting, out: &mut Page) {
    let name = setting.name;
    out.remark(&setting.why);
    if setting.replaces {
        out.line(&format!("{name}="));
    }
    for value in &setting.values {
        out.line(&format!("{name}={value}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::observation::arbitrary::observation;
    use crate::policy::firejail::{Profile, Target, service::UnitFile};
    use crate::policy::{Basis, DecisionOptions};

    proptest! {
        #[test]
        fn what_is_written_reads_as_what_was_decided(
            observation in observation(),
            command in "[ -~]{0,40}",
            bare: bool,
        ) {
            let text = format!(
                "[Service]\nType=notify\nExecStart=/bin/d {command}\nExecReload=/bin/kill -HUP $MAINPID\n\
                 CapabilityBoundingSet=CAP_CHOWN\nSystemCallFilter=@system-service\n"
            );
            let unit = UnitFile::parse(&text);
            let basis = Basis::of(&observation);
            let profile = Profile::decide(&basis, Target::default(), &DecisionOptions::default());
            let path = super::profile(&observation.name);
            let decided = Service::decide(&basis, &unit, &profile, &path);
            let Some(settings) = decided.settings.given() else {
                prop_assert!(command.trim_end().ends_with('\\'));
                return Ok(());
            };
            let text = service(&decided, settings, &Options { bare, ..Options::default() });
            let read = UnitFile::parse(&text);
            for setting in settings {
                prop_assert_eq!(read.list(setting.name), setting.values.clone());
            }
            let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
            let ours = lines.filter(|line| *line != "[Service]").count();
            let expected: usize = settings
                .iter()
                .map(|setting| setting.values.len() + usize::from(setting.replaces))
                .sum();
            prop_assert_eq!(ours, expected);
        }
    }
}
