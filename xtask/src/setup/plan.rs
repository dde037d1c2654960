//! What is to be done, worked out from what was found: plain data in, plain data out. What
//! `--dry-run` prints and what is executed are the same steps.

use std::{collections::BTreeSet, fmt};

use super::{
    apt::{self, Offers},
    distribution::Distribution,
    needs::{self, Need, Scope},
    toolchain,
};

/// What was found on the machine.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a tool that is there or not"
)]
pub struct Facts {
    /// How packages are installed.
    pub distribution: Distribution,
    /// The LLVM release of the compiler for kernel programs, if there is such a compiler.
    pub compiler_llvm: Option<u32>,
    /// The linker for that LLVM is there.
    pub linker: bool,
    /// cargo-deb is there.
    pub cargo_deb: bool,
    /// shh is there, or could not be built before.
    pub shh: bool,
    /// rustup is there, and has not failed before.
    pub rustup: bool,
    /// The packages of [`needs::PROGRAMS`] that are there.
    pub installed: BTreeSet<String>,
    /// What apt has on offer; empty where nobody had to ask.
    pub offers: Offers,
    /// apt's package lists.
    pub lists: Lists,
}

/// How far apt's package lists can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// As this run found them.
    #[default]
    Found,
    /// An installation failed that may do with newer ones.
    Stale,
    /// Fetched in this run: what they do not have is not to be had.
    Fetched,
}

/// One thing to do, by one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does to the machine.
    pub what: String,
    /// What that is good for.
    pub why: String,
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// The command runs as root.
    pub root: bool,
    /// There is another way should this fail.
    pub may_fail: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = if self.root { ", as root" } else { "" };
        write!(
            f,
            "{} ({}): `{}`{root}",
            self.what,
            self.why,
            self.argv.join(" ")
        )
    }
}

/// What is to be done, in order, and what cannot be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order. The ones after the first may change once the first is done.
    pub steps: Vec<Step>,
    /// What this machine lacks and no step provides, and the build cannot do without.
    pub missing: Vec<String>,
    /// What cannot be had here; what needs it is left out.
    pub unavailable: Vec<String>,
}

/// Works out what `scope` still needs.
pub fn plan(facts: &Facts, scope: Scope) -> Plan {
    let mut plan = Plan::default();
    compiler(facts, &mut plan);
    if scope.packages() && !facts.cargo_deb {
        plan.steps.push(cargo_deb());
    }
    if scope == Scope::Bench && !facts.shh {
        plan.steps.push(shh());
    }
    programs(facts, scope, &mut plan);
    // Without its lists apt cannot tell which packages it has: all else waits for them.
    let update = update_lists();
    if facts.lists == Lists::Stale || plan.steps.contains(&update) {
        plan.steps.retain(|step| *step != update);
        plan.steps.insert(0, update);
    }
    plan
}

fn compiler(facts: &Facts, plan: &mut Plan) {
    if facts.compiler_llvm.is_none() {
        let debian = facts.distribution == Distribution::Debian;
        let packages = apt::choose_compiler(&facts.offers);
        if facts.rustup {
            plan.steps.push(rustup());
        } else if let (true, Some(packages)) = (debian, packages) {
            let why = "compiles the kernel programs";
            plan.steps.push(apt_install(facts, &packages, why));
        } else if debian && facts.lists != Lists::Fetched {
            plan.steps.push(update_lists());
        } else {
            plan.missing.push(format!(
                "a Rust compiler, {}.{} or newer, with the source of its standard library and LLVM {} to {}: \
                 install rustup, then `{}`",
                needs::OLDEST_RUST.0,
                needs::OLDEST_RUST.1,
                needs::LLVM.start(),
                needs::LLVM.end(),
                rustup().argv.join(" ")
            ));
        }
    }
    if !facts.linker {
        plan.steps.push(bpf_linker(facts.compiler_llvm));
    }
}

fn programs(facts: &Facts, scope: Scope, plan: &mut Plan) {
    let here = |need: &Need| {
        need.packages
            .iter()
            .any(|&name| facts.installed.contains(name))
    };
    let needed = needs::PROGRAMS
        .iter()
        .filter(|need| need.is_in(scope) && !here(need));

    let mut packages = Vec::new();
    for need in needed {
        let line = || format!("{}: {}", need.packages.join(" or "), need.why);
        if facts.distribution != Distribution::Debian {
            // The benchmark says of each tool that is not there that it was not measured.
            let lines = match scope {
                Scope::Bench => &mut plan.unavailable,
                _ => &mut plan.missing,
            };
            lines.push(line());
            continue;
        }
        match need
            .packages
            .iter()
            .find(|&&name| facts.offers.contains_key(name))
        {
            Some(&package) => packages.push(package),
            None if facts.lists == Lists::Fetched => plan.unavailable.push(line()),
            None => {
                plan.steps.push(update_lists());
                return;
            }
        }
    }
    if !packages.is_empty() {
        let why = match scope {
            Scope::Tests => "the programs that the tests run",
            Scope::Bench => "the programs that the benchmark runs",
            Scope::Build | Scope::Package | Scope::Demo => "the programs of the demonstration",
        };
        plan.steps.push(apt_install(facts, &packages, why));
    }
}

fn step(what: String, why: &str, argv: &[&str]) -> Step {
    Step {
        what,
        why: why.to_owned(),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        root: false,
        may_fail: false,
    }
}

/// Fetches the package lists.
pub fn update_lists() -> Step {
    let why = "apt does not know, or cannot find, the packages that are needed";
    let argv = [
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=300",
        "--quiet",
        "update",
    ];
    Step {
        root: true,
        ..step("fetch the package lists".into(), why, &argv)
    }
}

fn apt_install(facts: &Facts, packages: &[impl AsRef<str>], why: &str) -> Step {
    let names: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    let argv = [&["sh", "xtask/src/setup/apt-install.sh"], names.as_slice()].concat();
    Step {
        root: true,
        // Old lists name packages that the mirror has replaced since: worth a second try.
        may_fail: facts.lists != Lists::Fetched,
        ..step(format!("install {}", names.join(", ")), why, &argv)
    }
}

fn rustup() -> Step {
    let toolchain = needs::RUSTUP_TOOLCHAIN;
    let argv = [
        "rustup",
        "toolchain",
        "install",
        toolchain,
        "--no-self-update",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
        "--component",
        "clippy",
    ];
    Step {
        may_fail: true,
        ..step(
            format!("install Rust {toolchain} with rust-src"),
            "compiles the kernel programs",
            &argv,
        )
    }
}

/// Built in half the time, and hardly slower: what they do takes them seconds, and LLVM and xz are no Rust.
const DEBUG: &str = "--debug";

fn bpf_linker(llvm: Option<u32>) -> Step {
    // Only a compiler that is there tells its LLVM; until then this is an announcement.
    let (major, root, why) = llvm.map_or_else(
        || {
            let why = "links the kernel programs; NN is the LLVM of the compiler above";
            ("NN".to_owned(), "target/tools".to_owned(), why)
        },
        |llvm| {
            let root = toolchain::linker_root(llvm).display().to_string();
            (llvm.to_string(), root, "links the kernel programs")
        },
    );
    let features = format!("llvm-{major},rust-llvm-{major}");
    let version = needs::BPF_LINKER;
    let argv = [
        "cargo",
        "install",
        "bpf-linker",
        "--version",
        version,
        "--locked",
        "--no-default-features",
        "--features",
        &features,
        DEBUG,
        "--root",
        &root,
    ];
    step(format!("build bpf-linker {version}"), why, &argv)
}

fn cargo_deb() -> Step {
    let version = needs::CARGO_DEB;
    let root = toolchain::cargo_deb_root().display().to_string();
    let argv = [
        "cargo",
        "install",
        "cargo-deb",
        "--version",
        version,
        "--locked",
        DEBUG,
        "--root",
        &root,
    ];
    step(
        format!("build cargo-deb {version}"),
        "makes the package",
        &argv,
    )
}

/// It is compared with as it is used, so it is built for use.
fn shh() -> Step {
    let version = needs::SHH;
    let root = toolchain::shh_root().display().to_string();
    let argv = [
        "cargo",
        "install",
        "systemd-hardening-helper",
        "--version",
        version,
        "--locked",
        "--root",
        &root,
    ];
    Step {
        may_fail: true,
        ..step(
            format!("build shh {version}"),
            "a tool to compare with",
            &argv,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has everything.
    fn ready() -> Facts {
        Facts {
            distribution: Distribution::Debian,
            compiler_llvm: Some(22),
            linker: true,
            cargo_deb: true,
            shh: true,
            rustup: true,
            installed: needs::PROGRAMS
                .iter()
                .map(|need| need.packages[0].to_owned())
                .collect(),
            offers: Offers::new(),
            lists: Lists::Found,
        }
    }

    fn all_offers() -> Offers {
        let programs = needs::PROGRAMS.iter().flat_map(|need| need.packages);
        let compiler = ["rustc-web", "cargo-web", "rust-web-src"].iter();
        programs
            .chain(compiler)
            .map(|&name| (name.to_owned(), (1, 96)))
            .collect()
    }

    fn count(scope: Scope) -> usize {
        let needed = needs::PROGRAMS.iter().filter(|need| need.is_in(scope));
        needed.count()
    }

    fn whats(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|step| step.what.as_str()).collect()
    }

    #[test]
    fn nothing_to_do_where_everything_is() {
        for scope in [
            Scope::Build,
            Scope::Package,
            Scope::Demo,
            Scope::Tests,
            Scope::Bench,
        ] {
            assert_eq!(plan(&ready(), scope), Plan::default());
        }
    }

    #[test]
    fn rustup_comes_before_root() {
        let facts = Facts {
            compiler_llvm: None,
            linker: false,
            offers: all_offers(),
            ..ready()
        };
        let steps = plan(&facts, Scope::Build).steps;
        assert_eq!(steps[0], rustup());
        assert!(steps.iter().all(|step| !step.root));
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn apt_where_rustup_fails() {
        let facts = Facts {
            compiler_llvm: None,
            linker: false,
            rustup: false,
            offers: all_offers(),
            ..ready()
        };
        let plan = plan(&facts, Scope::Build);
        assert_eq!(
            whats(&plan),
            [
                "install rustc-web, cargo-web, rust-web-src",
                "build bpf-linker 0.10.3"
            ]
        );
    }

    #[test]
    fn lists_are_fetched_once_and_first() {
        let bare = Facts {
            compiler_llvm: None,
            linker: false,
            rustup: false,
            installed: BTreeSet::new(),
            ..ready()
        };
        let before = plan(&bare, Scope::Tests);
        assert_eq!(whats(&before)[0], "fetch the package lists");
        let fetches = before
            .steps
            .iter()
            .filter(|step| **step == update_lists())
            .count();
        assert_eq!(fetches, 1);

        let after = plan(
            &Facts {
                lists: Lists::Fetched,
                ..bare
            },
            Scope::Tests,
        );
        assert!(!after.steps.contains(&update_lists()));
        assert_eq!(after.missing.len(), 1, "no compiler is on offer");
        assert_eq!(after.unavailable.len(), count(Scope::Tests));
    }

    #[test]
    fn a_failed_installation_is_tried_again_with_fresh_lists() {
        let bare = Facts {
            installed: BTreeSet::new(),
            offers: all_offers(),
            ..ready()
        };
        assert!(plan(&bare, Scope::Demo).steps[0].may_fail);
        let failed = Facts {
            lists: Lists::Stale,
            ..bare
        };
        assert_eq!(plan(&failed, Scope::Demo).steps[0], update_lists());
        let fetched = Facts {
            lists: Lists::Fetched,
            ..failed
        };
        let last = &plan(&fetched, Scope::Demo).steps[0];
        assert_eq!(last.what, "install firejail, python3");
        assert!(!last.may_fail);
    }

    #[test]
    fn the_second_best_package_will_do() {
        let mut facts = Facts {
            offers: all_offers(),
            ..ready()
        };
        facts.installed.remove("nginx-light");
        facts.offers.remove("nginx-light");
        assert_eq!(whats(&plan(&facts, Scope::Tests)), ["install nginx"]);
        facts.installed.insert("nginx".into());
        assert_eq!(plan(&facts, Scope::Tests), Plan::default());
    }

    #[test]
    fn elsewhere_the_list_is_for_the_user() {
        let facts = Facts {
            distribution: Distribution::Other("Fedora Linux 44".into()),
            compiler_llvm: None,
            rustup: false,
            installed: BTreeSet::new(),
            ..ready()
        };
        let plan = plan(&facts, Scope::Tests);
        assert!(plan.steps.is_empty());
        assert_eq!(plan.missing.len(), 1 + count(Scope::Tests));
    }

    #[test]
    fn the_benchmark_does_without_tools() {
        let facts = Facts {
            distribution: Distribution::Other("Fedora Linux 44".into()),
            shh: false,
            installed: BTreeSet::new(),
            ..ready()
        };
        let plan = plan(&facts, Scope::Bench);
        assert_eq!(whats(&plan), ["build shh 2026.3.8"]);
        assert!(plan.steps[0].may_fail);
        assert!(plan.missing.is_empty());
        assert_eq!(plan.unavailable.len(), count(Scope::Bench));
    }

    #[test]
    fn the_linker_matches_the_compiler() {
        let facts = Facts {
            compiler_llvm: Some(21),
            linker: false,
            ..ready()
        };
        let steps = plan(&facts, Scope::Build).steps;
        assert!(steps[0].argv.contains(&"llvm-21,rust-llvm-21".to_owned()));
    }

    #[test]
    fn only_those_who_package_get_cargo_deb() {
        let facts = Facts {
            cargo_deb: false,
            ..ready()
        };
        for scope in [Scope::Build, Scope::Demo] {
            assert_eq!(plan(&facts, scope), Plan::default());
        }
        for scope in [Scope::Package, Scope::Tests] {
            assert_eq!(whats(&plan(&facts, scope)), ["build cargo-deb 3.8.0"]);
        }
    }

    #[test]
    fn the_build_installs_no_test_programs() {
        let facts = Facts {
            installed: BTreeSet::new(),
            offers: all_offers(),
            ..ready()
        };
        assert_eq!(plan(&facts, Scope::Build), Plan::default());
        assert_eq!(
            whats(&plan(&facts, Scope::Demo)),
            ["install firejail, python3"]
        );
    }
}
