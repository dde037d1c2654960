//! Reading the object, as far as it says what harden writes: calls by name, allowed whatever their arguments.

use serde_json::Value;

use super::{
    super::{
        line::{Read, Rules, Sandbox, Shape, Unread},
        source::Position,
    },
    ERRNO,
};

/// Says nothing of what is allowed.
const REMARKS: [&str; 2] = ["comment", "defaultErrnoRet"];

/// Reads the text of the file.
///
/// # Errors
/// It is no JSON object.
pub fn read(text: &str) -> Result<Read, serde_json::Error> {
    let members: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    let mut read = Read {
        rules: Rules::new(Sandbox::Oci),
        unread: Vec::new(),
    };
    let mut names = Vec::new();
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("defaultAction", Value::String(action)) if action == ERRNO => {}
            ("architectures", Value::Array(_)) => {}
            ("syscalls", Value::Array(entries)) => {
                for entry in entries {
                    match allowed(entry) {
                        Ok(more) => names.extend(more),
                        Err(reason) => read.pass_by(entry, reason),
                    }
                }
            }
            (name, _) if REMARKS.contains(&name) => {}
            _ => read.pass_by(
                &serde_json::json!({ name: value }),
                "harden does not judge this member",
            ),
        }
    }
    let action = members.get("defaultAction").and_then(Value::as_str);
    let action = action.filter(|action| *action == ERRNO).map(str::to_owned);
    read.rules
        .add("defaultAction", Shape::Each, action.into_iter());
    if let Some(list) = members.get("architectures").and_then(Value::as_array) {
        let list = list.iter().filter_map(Value::as_str).map(str::to_owned);
        read.rules.add("architectures", Shape::List, list);
    }
    read.rules.add("names", Shape::List, names.into_iter());
    Ok(read)
}

impl Read {
    fn pass_by(&mut self, value: &Value, reason: &'static str) {
        self.unread.push(Unread {
            position: Position {
                file: "oci".into(),
                number: 0,
            },
            line: value.to_string(),
            reason,
            is_fatal: false,
        });
    }
}

/// The names that an entry allows.
fn allowed(entry: &Value) -> Result<Vec<String>, &'static str> {
    let members = entry.as_object().ok_or("no entry of calls")?;
    let known = ["action", "comment", "names"];
    if members.keys().any(|name| !known.contains(&name.as_str())) {
        return Err("what depends on arguments or on the machine is not judged");
    }
    if members.get("action").and_then(Value::as_str) != Some("SCMP_ACT_ALLOW") {
        return Err("another action than SCMP_ACT_ALLOW is not judged");
    }
    let names = members.get("names").and_then(Value::as_array);
    let names = names.ok_or("no names")?.iter();
    Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
}
