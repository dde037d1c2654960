//! `private`: empty directories in the place of /home and /root (`fs_private` in `src/firejail/fs_home.c`, the same
//! from 0.9.72 to 0.9.80).

use crate::observation::{Facet, Text};

use super::super::basis::Basis;
use super::super::evidence::{Decision, Evidence, Item};
use super::super::homes;
use super::super::paths::{components, is_within, parent};
use super::super::places::{Place, Places};
use super::files::Files;
use super::target::Target;

/// What becomes empty, no matter who starts Firejail. Where one is missing, it does not start.
pub const HOMES: [&str; 2] = ["/home", "/root"];

/// What Firejail puts into the home directory of who starts it, by the login shell (`skel`).
const SKELETON: [&[u8]; 4] = [b".bashrc", b".cshrc", b".inputrc", b".zshrc"];

/// Decides on the home directories, after `files` has decided on hiding them.
pub(super) fn decide(basis: &Basis<'_>, target: &Target, files: &Files) -> Decision<Vec<Item>> {
    let places = basis.places();
    if let Some(reason) = basis.coverage().blind(Facet::Files) {
        return Decision::withheld(reason);
    }
    let hidden = |home: &str| files.blacklist.iter().any(|item| item.value == home);
    let shown: Vec<&str> = HOMES.into_iter().filter(|home| !hidden(home)).collect();
    if shown.is_empty() {
        return Decision::withheld("the lines blacklist /home and blacklist /root hide more");
    }
    let directories = HOMES.map(str::as_bytes);
    let mut there = directories.to_vec();
    let mut reasons = target.homes.clone().into_reasons();
    for home in target.homes.given().into_iter().flatten() {
        if is_at_home(home.as_bytes()) {
            there.extend(up(home.as_bytes()));
        } else {
            reasons.push(format!(
                "Firejail would empty {home} too, the home directory of who starts it"
            ));
        }
    }
    reasons.append(homes::needed(&directories, &there, basis));
    reasons.extend(skeletons(places));
    let items = shown.into_iter().map(|home| looked_for(home, places));
    Decision::given_unless(reasons, items.collect())
}

fn is_at_home(path: &[u8]) -> bool {
    HOMES.iter().any(|home| is_within(path, home.as_bytes()))
}

/// A directory and those above it.
fn up(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| (*path != b"/").then(|| parent(path)))
}

/// What was not there, and would be.
fn skeletons(places: &[Place<'_>]) -> Vec<String> {
    let names = places.iter().flat_map(Place::all_names);
    let at_home = names.filter(|path| is_at_home(path));
    let own = |path: &&[u8]| {
        components(path)
            .next_back()
            .is_some_and(|name| SKELETON.contains(&name))
    };
    at_home
        .filter(own)
        .map(|path| {
            let path = Text::from(path);
            format!("{path} was looked for, and Firejail may put one there")
        })
        .collect()
}

fn looked_for(home: &str, places: &Places<'_>) -> Item {
    let mut evidence = Evidence::default();
    for place in places.touching(&[home.as_bytes()]) {
        for one in &place.uses {
            evidence.add(place.run, place.executable, one.seen);
        }
    }
    Item {
        note: Some("nothing was found there".to_owned()),
        ..Item::new(home, evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::DecisionOptions;
    use super::super::super::fixture::{Fixture, names};
    use super::super::Profile;
    use super::*;
    use crate::observation::Operation;

    fn decided(fixture: Fixture, homes: Option<&[&str]>) -> Decision<Vec<Item>> {
        let target = Target {
            homes: match homes {
                Some(homes) => Decision::Given(homes.iter().map(Text::from).collect()),
                None => Decision::withheld("it is not known who starts it"),
            },
            ..Target::default()
        };
        Profile::decide(
            &Basis::of(&fixture.observation()),
            target,
            &DecisionOptions::default(),
        )
        .home
    }

    fn looking(path: &str) -> Fixture {
        let daemon = Fixture::new().executable("/usr/sbin/d");
        daemon.file(path, Operation::Read, "ENOENT")
    }

    const ROOT: Option<&[&str]> = Some(&["/root"]);

    #[test]
    fn homes_are_empty_where_nothing_was_found() {
        assert_eq!(names(&decided(looking("/root/.rnd"), ROOT)), ["/root"]);
        let both = looking("/root/.rnd").file("/home/x", Operation::Stat, "ENOENT");
        assert_eq!(names(&decided(both, ROOT)), ["/home", "/root"]);
        let own = looking("/home/joe/.rnd").file("/home/joe", Operation::Stat, "ok");
        assert_eq!(names(&decided(own, Some(&["/home/joe"]))), ["/home"]);
    }

    #[test]
    fn why_not() {
        for (fixture, homes, why) in [
            (looking("/srv/x"), ROOT, "hide more"),
            (looking("/root/.rnd"), None, "not known"),
            (
                looking("/root/.rnd"),
                Some(&["/var/lib/redis"][..]),
                "/var/lib/redis",
            ),
            (looking("/root/.inputrc"), ROOT, "may put one there"),
            (
                looking("/root/.rnd").file("/home/ann", Operation::Stat, "ok"),
                Some(&["/home/joe"]),
                "/home/ann was used",
            ),
        ] {
            let decision = decided(fixture, homes);
            assert!(decision.given().is_none(), "{why}");
            assert!(decision.reasons().join(", ").contains(why), "{decision:?}");
        }
    }
}
