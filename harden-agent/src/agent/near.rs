//! Which name was meant, where there is none as it was given.

use crate::observation::Text;

/// As many as anybody reads.
const MOST: usize = 5;

/// The names like `asked`, the likeliest first.
#[must_use]
pub fn near<'a>(asked: &Text, names: impl IntoIterator<Item = &'a Text>) -> Vec<Text> {
    // Longer ones are nobody's typing error, and the measure takes the product of the lengths.
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
    let whole = strsim::jaro_winkler(asked, name);
    let stems = strsim::jaro_winkler(&stem(asked), &stem(name));
    let likeness = whole.max(stems);
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
        near(&asked.into(), &names()).first().map(Text::to_string)
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
    fn what_is_like_nothing_gets_no_guess() {
        for asked in ["", "x", "postgresql@17-main", &"n".repeat(100_000)] {
            let found = near(&asked.into(), &names());
            assert!(asked.is_empty() || found.is_empty(), "{found:?}");
        }
    }
}
