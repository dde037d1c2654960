//! `observation`

use super::{Content, Format};
use crate::output::{self, Ours, file_stem};

pub(super) const FORMAT: Format = Format {
    name: "observation",
    about: "Only the observation, NAME.observation.json",
    file_name: |subject, _| format!("{}.observation.json", file_stem(subject)),
    ours: Ours::Observation,
    content: |plan, _| Content::Written(output::Content::Observation(plan.observation())),
};
