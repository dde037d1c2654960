//! Which units somebody means by a name, a short name or a pattern.

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern, PatternError};

use super::request::NameError;
use crate::{collect::unit::Unit, observation::Text};

/// The unit of `names` that `asked` means: its full name; `foo` for `foo.service`; one of many connections or sessions
/// for what it is kept under; the name without the manager before it, or without its ending, where one unit alone
/// has it.
///
/// # Errors
/// None has it, or several.
pub fn resolve(asked: &Text, names: &BTreeSet<Text>) -> Result<Text, NameError> {
    if let Some(name) = exact(asked).into_iter().find(|name| names.contains(name)) {
        return Ok(name);
    }
    let own_names = |is_meant: &dyn Fn(&[u8]) -> bool| -> Vec<Text> {
        let found = names.iter().filter(|name| is_meant(without_manager(name)));
        found.cloned().collect()
    };
    let asked_bytes = asked.as_bytes();
    let service = [asked_bytes, b".service"].concat();
    let mut found = own_names(&|own| own == asked_bytes || own == service);
    if found.is_empty() {
        found = own_names(&|own| stem(own) == Some(asked_bytes));
    }
    match found.len() {
        0 => Err(NameError::NotFound {
            unit: asked.clone(),
            near: suggest(asked, names),
        }),
        1 => Ok(found.remove(0)),
        _ => Err(NameError::Ambiguous {
            unit: asked.clone(),
            candidates: found,
        }),
    }
}

/// The full names that `asked` may mean, the likeliest first.
fn exact(asked: &Text) -> Vec<Text> {
    let kind = asked
        .to_string()
        .parse::<Unit>()
        .ok()
        .and_then(|unit| unit.kind());
    let mut names = vec![
        asked.clone(),
        Text::from([asked.as_bytes(), b".service"].concat()),
    ];
    names.extend(kind.map(|kind| Text::from(kind.to_string())));
    // A backslash of systemd's that was taken for one of ours.
    names.push(Text::from(asked.to_string()));
    names
}

/// The name without the manager that has the unit.
fn without_manager(name: &Text) -> &[u8] {
    let name = name.as_bytes();
    if !name.starts_with(b"/") {
        return name;
    }
    let end = name.iter().position(|byte| *byte == b':');
    end.map_or(name, |end| &name[end + 1..])
}

/// The name without its ending.
fn stem(own: &[u8]) -> Option<&[u8]> {
    let end = own.iter().rposition(|byte| *byte == b'.')?;
    Some(&own[..end])
}

/// A pattern of names, as those of `include` in `harden.toml`.
#[derive(Clone, Debug)]
pub struct Names {
    pattern: Pattern,
    name: Text,
}

impl Names {
    /// Whether that is a pattern, and no name.
    #[must_use]
    pub fn is_pattern(text: &Text) -> bool {
        text.as_bytes().iter().any(|byte| b"*?[".contains(byte))
    }

    /// The units that this name or pattern matches.
    ///
    /// # Errors
    /// It is no pattern.
    pub fn new(text: &Text) -> Result<Self, PatternError> {
        let pattern = Pattern::new(&String::from_utf8_lossy(text.as_bytes()))?;
        let name = text.clone();
        Ok(Self { pattern, name })
    }

    /// Whether it matches the unit of this name, with or without the manager before it.
    #[must_use]
    pub fn has(&self, unit: &Text) -> bool {
        const OPTIONS: MatchOptions = MatchOptions {
            case_sensitive: true,
            require_literal_separator: false,
            require_literal_leading_dot: false,
        };
        let matches = |name: &[u8]| {
            let name = String::from_utf8_lossy(name);
            self.pattern.matches_with(&name, OPTIONS)
        };
        let own = without_manager(unit);
        matches(unit.as_bytes())
            || matches(own)
            || exact(&self.name).contains(unit)
            || stem(own) == Some(self.name.as_bytes())
    }
}

/// As many as anybody reads.
const MOST: usize = 5;

/// The names like `asked`, the likeliest first.
#[must_use]
pub fn suggest<'a>(asked: &Text, names: impl IntoIterator<Item = &'a Text>) -> Vec<Text> {
    // A longer name is no typing error, and to compare two takes the product of their lengths.
    const LONGEST: usize = 256;
    let asked = asked.to_string().to_lowercase();
    if asked.len() > LONGEST {
        return Vec::new();
    }
    let mut found: Vec<(f64, &Text)> = names
        .into_iter()
        .filter(|name| name.as_bytes().len() <= LONGEST)
        .filter_map(|name| Some((likeness(&asked, &name.to_string().to_lowercase())?, name)))
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    found
        .into_iter()
        .take(MOST)
        .map(|(_, name)| name.clone())
        .collect()
}

/// 0 to 1, or nothing if they have nothing to do with each other.
fn likeness(asked: &str, name: &str) -> Option<f64> {
    // What people leave out: the kind of unit, the instance, the daemon's d.
    let stem = |name: &str| {
        let end = name.rfind('.').unwrap_or(name.len());
        name.get(..end).unwrap_or(name).to_owned()
    };
    if !asked.is_empty() && name.starts_with(asked) {
        return Some(1.0);
    }
    // The ending is no likeness: every service has the same.
    let likeness = strsim::jaro_winkler(&stem(asked), &stem(name));
    (likeness >= 0.85 || (asked.len() >= 3 && name.contains(asked))).then_some(likeness)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<Text> {
        [
            "nginx.service",
            "ssh.service",
            "sshd@1.service",
            "systemd-resolved.service",
            "user@1000.service/app.slice/foot.service",
            "cron.service",
        ]
        .map(Text::from)
        .to_vec()
    }

    fn first(asked: &str) -> Option<String> {
        suggest(&asked.into(), &names())
            .first()
            .map(Text::to_string)
    }

    #[test]
    fn what_was_probably_meant_comes_first() {
        for (asked, meant) in [
            ("ngnix.service", "nginx.service"),
            ("nginx", "nginx.service"),
            ("NGINX", "nginx.service"),
            ("sshd.service", "ssh.service"),
            ("resolved", "systemd-resolved.service"),
            ("foot.service", "user@1000.service/app.slice/foot.service"),
            ("crond", "cron.service"),
        ] {
            assert_eq!(first(asked).as_deref(), Some(meant), "{asked}");
        }
    }

    #[test]
    fn a_short_name_means_the_unit_that_alone_has_it() {
        let container = "/machine.slice/c/payload";
        let names: BTreeSet<Text> = [
            "nginx.service",
            "nginx.socket",
            "ssh@.service",
            "session-.scope",
            r"dev-disk\x2did.swap",
            r"twice\\x2did.swap",
            "cups.socket",
            "run:/usr/bin/true",
            &format!("{container}:nginx.service"),
            &format!("{container}:redis.service"),
            "/user.slice/u:a.scope",
            "/user.slice/u:a.mount",
        ]
        .map(Text::from)
        .into();
        for (asked, meant) in [
            // As systemctl has it.
            ("nginx", "nginx.service"),
            ("nginx.service", "nginx.service"),
            ("nginx.socket", "nginx.socket"),
            ("cups", "cups.socket"),
            ("redis", "/machine.slice/c/payload:redis.service"),
            ("redis.service", "/machine.slice/c/payload:redis.service"),
            ("ssh@4-10.0.0.1:22-10.0.0.2:50000.service", "ssh@.service"),
            ("session-c12.scope", "session-.scope"),
            (r"dev-disk\x2did.swap", r"dev-disk\x2did.swap"),
        ] {
            assert_eq!(resolve(&asked.into(), &names), Ok(meant.into()), "{asked}");
        }
        // Each as it is printed.
        for name in &names {
            let printed = name.to_string();
            let taken = Text::as_typed(printed.as_bytes());
            assert_eq!(resolve(&taken, &names).as_ref(), Ok(name), "{printed}");
        }
        let candidates = ["/user.slice/u:a.mount", "/user.slice/u:a.scope"];
        assert_eq!(
            resolve(&"a".into(), &names),
            Err(NameError::Ambiguous {
                unit: "a".into(),
                candidates: candidates.map(Text::from).into(),
            })
        );
    }

    #[test]
    fn hostile_names_mean_themselves_or_nothing() {
        let evil = Text::from(b"evil\n\xff.service");
        let names = BTreeSet::from([evil.clone()]);
        let printed = evil.to_string();
        assert_eq!(
            resolve(&Text::as_typed(printed.as_bytes()), &names),
            Ok(evil)
        );
        for asked in [
            &b""[..],
            b"\xff",
            b"/",
            b":",
            b"a\nb",
            b"[",
            b"\\x",
            &vec![b'x'; 70_000],
        ] {
            assert!(resolve(&Text::as_typed(asked), &names).is_err());
            let _ = Names::new(&asked.into()).map(|pattern| pattern.has(&asked.into()));
        }
    }

    #[test]
    fn a_pattern_stands_for_units_of_every_manager() {
        let has =
            |pattern: &str, name: &str| Names::new(&pattern.into()).unwrap().has(&name.into());
        assert!(has("ngin*", "nginx.service"));
        assert!(has("nginx.*", "/machine.slice/c/payload:nginx.service"));
        assert!(has(
            "/machine.slice/*",
            "/machine.slice/c/payload:nginx.service"
        ));
        assert!(has("nginx", "/machine.slice/c/payload:nginx.service"));
        assert!(!has("nginx", "nginx-debug.service"));
    }

    #[test]
    fn the_same_ending_is_no_likeness() {
        let names = ["dbus.service", "init.scope", "cron.service"].map(Text::from);
        for asked in ["x.service", "gdm.service", "never.service"] {
            assert!(suggest(&asked.into(), &names).is_empty(), "{asked}");
        }
    }

    #[test]
    fn what_is_like_nothing_gets_no_guess() {
        for asked in ["", "x", "postgresql@17-main", &"n".repeat(100_000)] {
            let found = suggest(&asked.into(), &names());
            assert!(asked.is_empty() || found.is_empty(), "{found:?}");
        }
    }
}
