//! Every hook of every tier tried for real, and what the kernel makes of it. Nothing is observed
//! meanwhile, and nothing is left attached.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aya::{Btf as AyaBtf, Ebpf};

use super::{
    attach::{self, Refusal},
    btf::Btf,
    load::{self, HASH_OBJECT, Probe, ProbeError, STORAGE_OBJECT, Sizes},
    offsets,
    tiers::{Fact, Hook, TIERS},
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
    /// What a recording would use; the text of the observation if that is none.
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

/// A program that the kernel took.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Instructions that the verifier went through; kernels before 5.16 do not tell.
    pub verified_instructions: Option<u32>,
    /// How long loading it took: the verifier and the compiler.
    pub load: Duration,
}

/// The name of the attribution in the observation.
const ATTRIBUTION: &str = "attribution";

impl Survey {
    /// Tries everything, then loads what a recording would. Takes a few hundred milliseconds.
    ///
    /// # Errors
    /// [`ProbeError`] if not even calls can be observed.
    pub fn take(sizes: &Sizes) -> Result<Self, ProbeError> {
        let started = Instant::now();
        let probe = Probe::load(sizes)?;
        let load = started.elapsed();
        let chosen = probe.hooks();
        drop(probe);

        let kernel = Kernel::read()?;
        let storage = kernel.variant(STORAGE_OBJECT, "task-storage", sizes);
        let hash = kernel.variant(HASH_OBJECT, "task-hash", sizes);
        let object = match &storage.result {
            Ok(_) => STORAGE_OBJECT,
            Err(_) => HASH_OBJECT,
        };
        let mut ebpf = kernel.open(object, sizes)?;
        let mut tiers = vec![Tiers {
            fact: ATTRIBUTION,
            chosen: said(chosen.get(ATTRIBUTION)),
            attempts: vec![storage, hash],
        }];
        tiers.extend(TIERS.iter().filter_map(|hooks| {
            let fact = hooks.first()?.fact.name();
            Some(Tiers {
                fact,
                chosen: said(chosen.get(fact)),
                attempts: hooks
                    .iter()
                    .map(|hook| kernel.attempt(&mut ebpf, *hook))
                    .collect(),
            })
        }));
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

/// What is known of the kernel before anything is loaded.
struct Kernel {
    btf: AyaBtf,
    offsets: Vec<(&'static str, u32)>,
}

impl Kernel {
    fn read() -> Result<Self, ProbeError> {
        Ok(Self {
            offsets: offsets::resolve(&Btf::read(Path::new(load::VMLINUX))?)?,
            btf: AyaBtf::from_sys_fs().map_err(|error| ProbeError::Load(error.into()))?,
        })
    }

    fn open(&self, object: &[u8], sizes: &Sizes) -> Result<Ebpf, ProbeError> {
        load::open(object, sizes, &self.offsets, &self.btf)
    }

    /// Whether the kernel takes an object: its maps, and the program that uses all of them.
    fn variant(&self, object: &[u8], name: &'static str, sizes: &Sizes) -> Attempt {
        let calls = TIERS.iter().copied().flatten();
        let calls: Vec<_> = calls.filter(|hook| hook.fact == Fact::Syscalls).collect();
        let result = match self.open(object, sizes) {
            Err(error) => Err(Refusal::of_object(name, &error)),
            Ok(mut ebpf) => match calls.first() {
                Some(hook) => self.attempt(&mut ebpf, **hook).result,
                None => Err(Refusal::unheard(name, "no hook for calls".to_owned())),
            },
        };
        Attempt {
            hook: name.to_owned(),
            result,
        }
    }

    /// Loads and attaches one hook. It stays attached until `ebpf` is dropped, and idle: no cgroup
    /// is observed.
    fn attempt(&self, ebpf: &mut Ebpf, hook: Hook) -> Attempt {
        let started = Instant::now();
        let result = attach::load(ebpf, hook, &self.btf).and_then(|()| {
            let load = started.elapsed();
            attach::attach(ebpf, hook)?;
            Ok(Loaded {
                verified_instructions: attach::verified_instructions(ebpf, hook),
                load,
            })
        });
        Attempt {
            hook: hook.name(),
            result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn a_reason_is_told_from_a_name() {
        assert_eq!(
            said(Some(&"none (a: b (c))".to_owned())),
            Err("a: b (c)".to_owned())
        );
        assert_eq!(
            said(Some(&"raw_tp:x".to_owned())),
            Ok("raw_tp:x".to_owned())
        );
        assert_eq!(said(None), Err(String::new()));
    }
}
