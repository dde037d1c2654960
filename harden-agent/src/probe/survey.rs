//! Every hook of every tier tried for real, and what the kernel makes of it. Nothing is observed
//! meanwhile, and nothing is left attached.

use std::time::{Duration, Instant};

use aya::{Btf as AyaBtf, Ebpf};

use super::{
    attach::{self, Ready, Refusal, attach_one},
    error::ProbeError,
    load::{Loaded as Programs, Purpose},
    sizes::Sizes,
    tiers::{Hook, TIERS},
};

/// What the kernel takes, of all that harden has to offer.
#[derive(Debug)]
pub struct Survey {
    /// The ways to know what a task belongs to, then the hooks of each fact, in the order of the
    /// table of tiers.
    pub tiers: Vec<Tiers>,
    /// How long it takes to load and attach what is chosen, maps and type information included.
    pub load: Duration,
}

/// The ways to one kind of fact, best first.
#[derive(Debug)]
pub struct Tiers {
    /// The fact's name in the observation.
    pub fact: &'static str,
    /// What a recording would use, or why it would use nothing.
    pub chosen: Result<String, String>,
    /// Each way, tried.
    pub attempts: Vec<Attempt>,
}

/// One hook, tried.
#[derive(Debug)]
pub struct Attempt {
    /// Its name in the observation.
    pub hook: String,
    /// What became of it.
    pub result: Result<Loaded, Refusal>,
}

/// What the kernel took.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Instructions that the verifier went through, over all programs of the hook; kernels before
    /// 5.16 do not tell (commit aba64c7da983).
    pub verified_instructions: Option<u32>,
    /// How long loading and attaching took.
    pub load: Duration,
}

/// The name of the attribution in the observation.
const ATTRIBUTION: &str = "attribution";

impl Survey {
    /// Loads what a recording would, then tries everything else. Takes about a second.
    ///
    /// # Errors
    /// [`ProbeError`] if not even calls can be observed.
    pub fn take(sizes: &Sizes) -> Result<Self, ProbeError> {
        let started = Instant::now();
        let mut programs = Programs::load(sizes, &[], Purpose::Command)?;
        let load = started.elapsed();
        let chosen = programs.hooks();
        programs.links.clear();
        let btf = AyaBtf::from_sys_fs().map_err(|error| ProbeError::Load(error.into()))?;
        let mut tiers: Vec<Tiers> = TIERS
            .iter()
            .filter_map(|hooks| {
                let fact = hooks.first()?.fact.name();
                let ebpf = &mut programs.ebpf;
                Some(Tiers {
                    fact,
                    chosen: said(chosen.get(fact)),
                    attempts: hooks
                        .iter()
                        .map(|hook| attempt(ebpf, *hook, &btf))
                        .collect(),
                })
            })
            .collect();
        drop(programs);
        let attribution = Tiers {
            fact: ATTRIBUTION,
            chosen: said(chosen.get(ATTRIBUTION)),
            attempts: vec![
                variant("task-storage", || Programs::load_with_task_storage(sizes)),
                variant("task-hash", || Programs::load_with_task_hash(sizes, &[])),
            ],
        };
        tiers.insert(0, attribution);
        Ok(Self { tiers, load })
    }
}

/// `none (…)` in an observation is a reason, anything else a name.
fn said(text: Option<&String>) -> Result<String, String> {
    let text = text.map_or("none", String::as_str);
    match text.strip_prefix("none") {
        Some(reason) => {
            let inner = reason.trim_start_matches(" (");
            Err(inner.strip_suffix(')').unwrap_or(inner).to_owned())
        }
        None => Ok(text.to_owned()),
    }
}

/// Whether the kernel takes one of the two objects.
fn variant(name: &str, load: impl FnOnce() -> Result<Programs, ProbeError>) -> Attempt {
    let started = Instant::now();
    let result = load().map(|programs| {
        drop(programs);
        Loaded {
            verified_instructions: None,
            load: started.elapsed(),
        }
    });
    Attempt {
        hook: name.to_owned(),
        result: result.map_err(|error| Refusal {
            hook: name.to_owned(),
            errno: None,
            reason: error.to_string(),
            log: String::new(),
        }),
    }
}

/// Loads and attaches one hook, then takes it out again: another fact may use the same program.
fn attempt(ebpf: &mut Ebpf, hook: Hook, btf: &AyaBtf) -> Attempt {
    programs(hook).for_each(|name| attach::unload(ebpf, name));
    let started = Instant::now();
    let result = attach_one(ebpf, hook, btf, &mut Ready::new());
    let load = started.elapsed();
    let verified_instructions = programs(hook)
        .map(|name| {
            ebpf.program(name)?
                .info()
                .ok()?
                .verified_instruction_count()
        })
        .sum();
    let result = result.map(drop);
    programs(hook).for_each(|name| attach::unload(ebpf, name));
    Attempt {
        hook: hook.name(),
        result: result.map(|()| Loaded {
            verified_instructions,
            load,
        }),
    }
}

fn programs(hook: Hook) -> impl Iterator<Item = &'static str> {
    hook.points.iter().map(|point| point.program)
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn a_reason_is_told_from_a_name() {
        let some = |text: &str| said(Some(&text.to_owned()));
        assert_eq!(some("none (a: b (c))"), Err("a: b (c)".to_owned()));
        assert_eq!(some("raw_tp:x"), Ok("raw_tp:x".to_owned()));
        assert_eq!(said(None), Err(String::new()));
    }
}
