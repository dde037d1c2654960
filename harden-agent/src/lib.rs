//! harden: confinement profiles for Linux daemons, from what the kernel saw them do.
//!
//! This crate is the program `harden` as a library. Data goes one way through it: the kernel programs record
//! ([`probe`]), [`collect`] makes facts of that, an [`observation`] keeps them with their evidence, [`policy`] decides
//! what a sandbox may refuse, and [`render`] writes files. A [`profile::Plan`] makes each decision about an observation
//! once, and hands it to the formats that need it. `ARCHITECTURE.md` in the repository has the whole picture.
//!
//! From [`observation`] to [`render`] everything is plain data: it needs no kernel, no root and no BPF. An observation
//! is a JSON file:
//!
//! ```
//! use harden_agent::observation;
//!
//! # let json = include_bytes!("../tests/fixtures/observation.json");
//! let observation = observation::from_json(json)?;
//! for (id, run) in &observation.runs {
//!     for (program, facts) in &run.executables {
//!         println!("{id}: {program} used {} paths", facts.files.len());
//!     }
//! }
//! # assert!(!observation.runs.is_empty());
//! # Ok::<(), observation::FormatError>(())
//! ```
//!
//! And this is what a Firejail profile would say of it:
//!
//! ```
//! use harden_agent::observation;
//! use harden_agent::policy::{Basis, DecisionOptions};
//! use harden_agent::policy::firejail::{Profile, Target};
//!
//! # let json = include_bytes!("../tests/fixtures/observation.json");
//! let observation = observation::from_json(json)?;
//! let profile = Profile::decide(&Basis::of(&observation), Target::default(), &DecisionOptions::default());
//! for warning in &profile.warnings {
//!     println!("{warning}");
//! }
//! # assert!(!profile.coverage.executables.is_empty());
//! # Ok::<(), observation::FormatError>(())
//! ```
//!
//! The library has no stable interface yet: it serves the program and its tests.

#![warn(unreachable_pub)]

pub mod agent;
pub mod apply;
pub mod audit;
pub mod cli;
pub mod collect;
mod crash_point;
pub mod doctor;
pub mod machine;
pub mod observation;
pub mod output;
mod plural;
pub mod policy;
pub mod probe;
pub mod profile;
mod regular_file;
pub mod render;
pub mod run;
pub mod trial;
