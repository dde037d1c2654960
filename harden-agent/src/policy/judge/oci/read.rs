//! Reading a file: the runtime's, or a list of calls alone.

use serde_json::{Map, Value};

use super::{
    super::line::Read, CONFIG, condition::Container, config, host::Host, reader::Reader, seccomp,
};

/// Reads a text, of whatever machine.
///
/// # Errors
/// It is no JSON object.
pub fn read(text: &str) -> Result<Read, serde_json::Error> {
    read_file("oci", text, &Host::default())
}

/// Reads the text of the file `name`, for containers on `host`.
///
/// # Errors
/// It is no JSON object.
pub fn read_file(name: &str, text: &str, host: &Host) -> Result<Read, serde_json::Error> {
    let members: Map<String, Value> = serde_json::from_str(text)?;
    let mut reader = Reader::new(name);
    let is_config = members.contains_key(CONFIG) || members.contains_key("process");
    if is_config && !members.contains_key("defaultAction") {
        config::read(&members, &mut reader, host);
    } else {
        let container = Container {
            host,
            capabilities: None,
        };
        seccomp::read(&members, &mut reader, &container);
    }
    Ok(reader.done())
}
