//! Parts of the documentation that are generated, each between two markers of its page.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace;

/// Writes `text` between `<!-- NAME -->` and `<!-- /NAME -->` of a page of this checkout; what stands around them
/// stays. Did anything change?
pub fn update(page: &str, name: &str, text: &str) -> Result<bool> {
    let file = workspace::root().join(page);
    let old = fs::read_to_string(&file).with_context(|| format!("could not read {page}"))?;
    let new = replace(&old, name, text).with_context(|| no_place(page, name))?;
    if new == old {
        return Ok(false);
    }
    fs::write(&file, new).with_context(|| format!("could not write {page}"))?;
    Ok(true)
}

/// What stands between the markers of a page.
pub fn read(page: &str, name: &str) -> Result<String> {
    let file = workspace::root().join(page);
    let text = fs::read_to_string(&file).with_context(|| format!("could not read {page}"))?;
    let (_, part, _) = split(&text, name).with_context(|| no_place(page, name))?;
    Ok(part.to_owned())
}

fn no_place(page: &str, name: &str) -> String {
    format!("{page} has no place for a generated part, <!-- {name} -->")
}

/// What stands before the first marker, between both, and after the second.
fn split<'a>(page: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = page.split_once(&format!("<!-- {name} -->"))?;
    let (part, after) = rest.split_once(&format!("<!-- /{name} -->"))?;
    Some((before, part, after))
}

fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, _old, after) = split(page, name)?;
    Some(format!(
        "{before}<!-- {name} -->\n\n{text}\n<!-- /{name} -->{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = "before\n<!-- x -->\nold\n<!-- /x -->\nafter\n";
        let new = replace(page, "x", "new\n").expect("there are markers");
        assert!(new.starts_with("before\n<!-- x -->\n\nnew\n"), "{new}");
        assert!(new.ends_with("\n<!-- /x -->\nafter\n"), "{new}");
        assert_eq!(replace(&new, "x", "new\n").as_deref(), Some(new.as_str()));
        assert_eq!(replace("no markers", "x", "new"), None);
    }
}
