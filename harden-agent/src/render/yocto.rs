//! What a Yocto recipe says to install the other files: `NAME.inc`, for `require NAME.inc`.

use std::fmt;

use crate::observation::Text;
use crate::output::{MARKER_PREFIX, file_stem};

use super::page::{Options, Page};
use super::{account, firejail, service, systemd};

/// The override syntax of a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// `do_install:append`: since Yocto 3.4 (Honister), and in the later releases of 3.1 (Dunfell)
    #[default]
    Colon,
    /// `do_install_append`: in earlier releases
    Underscore,
}

impl Syntax {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Colon => "colon",
            Self::Underscore => "underscore",
        }
    }
}

impl fmt::Display for Syntax {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A file that the recipe installs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    name: String,
    directory: String,
    becomes: String,
    needs_firejail: bool,
}

impl Installed {
    /// Every file that there may be.
    #[must_use]
    pub fn all(subject: &Text) -> [Self; 4] {
        [
            Self::profile(subject),
            Self::drop_in(subject),
            Self::service(subject),
            Self::account(subject),
        ]
    }

    /// What harden calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Firejail profile.
    fn profile(subject: &Text) -> Self {
        let name = firejail::file_name(subject);
        Self {
            becomes: name.clone(),
            directory: "${sysconfdir}/firejail".to_owned(),
            name,
            needs_firejail: true,
        }
    }

    /// The drop-in that confines the unit.
    fn drop_in(subject: &Text) -> Self {
        let name = systemd::file_name(subject);
        Self::for_unit(subject, name, "50-harden.conf", false)
    }

    /// The drop-in that starts the unit under Firejail.
    fn service(subject: &Text) -> Self {
        let name = service::file_name(subject);
        Self::for_unit(subject, name, "60-harden-firejail.conf", true)
    }

    /// The account.
    fn account(subject: &Text) -> Self {
        Self {
            name: account::file_name(subject),
            directory: "${nonarch_libdir}/sysusers.d".to_owned(),
            becomes: format!("{}.conf", file_stem(subject)),
            needs_firejail: false,
        }
    }

    fn for_unit(subject: &Text, name: String, becomes: &str, needs_firejail: bool) -> Self {
        Self {
            name,
            directory: format!("${{systemd_system_unitdir}}/{}.d", systemd::unit(subject)),
            becomes: becomes.to_owned(),
            needs_firejail,
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.directory, self.becomes)
    }
}

/// The name of the file.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.inc", file_stem(subject))
}

/// The text of the file. Without `files` it installs the profile.
#[must_use]
pub fn recipe(subject: &Text, files: &[Installed], syntax: Syntax, options: &Options) -> String {
    let only = [Installed::profile(subject)];
    let files = if files.is_empty() { &only } else { files };
    let sign = match syntax {
        Syntax::Colon => ':',
        Syntax::Underscore => '_',
    };
    let mut out = Page::new(options.clone());
    out.comment(&format!("What the recipe of {subject} needs"));
    out.line(&format!(
        "{MARKER_PREFIX}; it belongs beside the recipe, which says: require {}",
        file_name(subject)
    ));
    out.remark("The files that it installs belong into the directory files/ beside it");
    if files.contains(&Installed::account(subject)) {
        out.remark(&format!(
            "An image without systemd-sysusers has the account from openswitch-image.bbclass, or from its own recipe: \
             the lines useradd and groupadd in {}",
            account::file_name(subject)
        ));
    }
    let uses_firejail = files.iter().any(|file| file.needs_firejail);
    out.section(|out| {
        if uses_firejail {
            out.remark("In openswitch-image.bbclass, or the image's own recipe: IMAGE_INSTALL += \"firejail\"");
            out.line("DEPENDS += \"firejail\"");
            out.remark("DEPENDS is for the build; this is what has Firejail on the image");
            out.line(&format!("RDEPENDS{sign}${{PN}} += \"firejail\""));
        }
        out.line(&format!(
            "FILESEXTRAPATHS{sign}prepend := \"${{THISDIR}}/files:\""
        ));
        for file in files {
            out.line(&format!("SRC_URI += \"file://{}\"", address(&file.name)));
        }
    });
    out.section(|out| {
        out.remark("Since Yocto 5.1 (Styhead) it is UNPACKDIR instead of WORKDIR");
        out.line(&format!("do_install{sign}append() {{"));
        for file in files {
            out.line(&format!("    install -d '${{D}}{}'", file.directory));
            out.line(&format!(
                "    install -m 0644 '${{WORKDIR}}/{}' '${{D}}{}'",
                file.name,
                file.path()
            ));
        }
        out.line("}");
    });
    out.section(|out| {
        for file in files {
            out.line(&format!("FILES{sign}${{PN}} += \"{}\"", file.path()));
        }
    });
    out.text()
}

/// What stands before an `@` in an address is a user, and `%` begins a byte (`decodeurl` of bitbake's lib/bb/fetch2).
fn address(name: &str) -> String {
    name.replace('%', "%25").replace('@', "%40")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// The lines between `do_install:append() {` and `}`.
    fn body(text: &str, head: &str) -> String {
        let lines = text.lines().skip_while(|line| *line != head).skip(1);
        let body: Vec<&str> = lines.take_while(|line| *line != "}").collect();
        assert!(!body.is_empty(), "{text}");
        body.join("\n")
    }

    /// As `BitBake` does it, before a shell sees the function.
    fn expanded(text: &str) -> String {
        text.replace("${sysconfdir}", "/etc")
            .replace("${nonarch_libdir}", "/usr/lib")
            .replace("${systemd_system_unitdir}", "/lib/systemd/system")
    }

    #[test]
    fn a_shell_installs_what_it_says() {
        for name in [
            "d.service",
            "a@b.service",
            "/m.slice:sys-\\x2d.service",
            "x y';$(z)\n#",
        ] {
            let subject = Text::from(name);
            let files = Installed::all(&subject);
            let text = recipe(&subject, &files, Syntax::Colon, &Options::default());
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path().to_str().unwrap();
            let mut expected = Vec::new();
            for file in &files {
                fs::write(directory.path().join(&file.name), &file.name).unwrap();
                expected.push((expanded(&file.path()), &file.name));
            }
            let script = body(&text, "do_install:append() {")
                .replace("${D}", &format!("{root}/image"))
                .replace("${WORKDIR}", root);
            let script = expanded(&script);
            let status = Command::new("sh").args(["-e", "-c", &script]).status();
            assert!(status.unwrap().success(), "{script}");
            for (path, content) in expected {
                let found = fs::read_to_string(format!("{root}/image{path}"));
                let found = found.unwrap_or_else(|error| panic!("{path}: {error}\n{script}"));
                assert_eq!(found, *content);
            }
        }
    }

    #[test]
    fn the_older_syntax_has_no_colon_in_a_name() {
        let subject = Text::from("a@b.service");
        let text = recipe(&subject, &[], Syntax::Underscore, &Options::default());
        let rules = text.lines().filter(|line| !line.starts_with('#'));
        let rules: Vec<&str> = rules.collect();
        for line in [
            "RDEPENDS_${PN} += \"firejail\"",
            "SRC_URI += \"file://a%40b.service.profile\"",
            "do_install_append() {",
            "FILES_${PN} += \"${sysconfdir}/firejail/a@b.service.profile\"",
        ] {
            assert!(rules.contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn without_firejail_nothing_depends_on_it() {
        let subject = Text::from("d.service");
        let files = [Installed::drop_in(&subject)];
        let text = recipe(&subject, &files, Syntax::Colon, &Options::default());
        assert!(!text.contains("firejail"), "{text}");
    }

    proptest! {
        #[test]
        fn no_name_becomes_another_line(name in any::<Vec<u8>>(), bare: bool) {
            let subject = Text::from(name.as_slice());
            let options = Options { bare, ..Options::default() };
            let text = recipe(&subject, &Installed::all(&subject), Syntax::Colon, &options);
            for line in text.lines() {
                let is_known = line.is_empty()
                    || line.starts_with("# ")
                    || line == "do_install:append() {"
                    || line == "}"
                    || line.starts_with("    install -")
                    || ["DEPENDS += \"", "RDEPENDS:${PN} += \"", "FILESEXTRAPATHS:prepend := \"", "SRC_URI += \"",
                        "FILES:${PN} += \""].iter().any(|start| {
                            line.strip_prefix(start).is_some_and(|rest| rest.matches('"').count() == 1 && rest.ends_with('"'))
                        });
                prop_assert!(is_known, "{}", line);
            }
        }
    }
}
