//! `observation`

use super::{Content, Format};
use crate::{
    observation,
    output::{Ours, file_stem},
};

pub(super) const FORMAT: Format = Format {
    name: "observation",
    about: "Only the observation, NAME.observation.json",
    file_name: |subject, _| format!("{}.observation.json", file_stem(subject)),
    ours: Ours::Observation,
    content: |plan, _| match observation::to_json(plan.observation()) {
        Ok(json) => Content::Bytes(json),
        Err(error) => Content::Withheld(error.to_string()),
    },
};
