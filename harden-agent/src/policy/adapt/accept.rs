//! Adds to a file of overrides what somebody accepts, and leaves all else in it as it is.

use toml_edit::{Array, DocumentMut, Item, Table, TomlError, Value};

use super::overrides::Overrides;
use crate::policy::denials::Wish;

/// Why a text stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It is no TOML.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// With it, the text would be no file of overrides.
    #[error(transparent)]
    Overrides(#[from] super::overrides::OverridesError),
    /// `allow` or a list in it is something else.
    #[error("[allow] {0} is no list")]
    Shape(&'static str),
    /// A path that is no text cannot stand in TOML.
    #[error("a path that is not UTF-8 cannot stand in a file of overrides: {0}")]
    Path(String),
}

/// The text with what is wished for, each with a remark; what is there already is not added.
///
/// # Errors
/// The text is no file of overrides, or would not be one any more.
pub fn accept<'w>(
    text: &str,
    wishes: impl IntoIterator<Item = (&'w Wish, String)>,
) -> Result<String, AcceptError> {
    let mut document: DocumentMut = text.parse()?;
    for (wish, remark) in wishes {
        let (list, name) = (wish.list(), name(wish)?);
        let allow = document.entry("allow").or_insert(Item::Table(Table::new()));
        let allow = allow.as_table_like_mut().ok_or(AcceptError::Shape(""))?;
        let array = allow
            .entry(list)
            .or_insert(Item::Value(Array::new().into()));
        let array = array.as_array_mut().ok_or(AcceptError::Shape(list))?;
        if array.iter().any(|one| one.as_str() == Some(&name)) {
            continue;
        }
        add(array, &name, &remark);
    }
    let text = document.to_string();
    Overrides::parse(&text)?;
    Ok(text)
}

/// Each on a line of its own, below its remark.
fn add(array: &mut Array, name: &str, remark: &str) {
    // A comment ends with its line, so a remark must be one.
    let remark: String = remark
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    let mut value = Value::from(name);
    value
        .decor_mut()
        .set_prefix(format!("\n    # {remark}\n    "));
    array.push_formatted(value);
    array.set_trailing_comma(true);
    array.set_trailing("\n");
}

/// The name that stands in the list.
fn name(wish: &Wish) -> Result<String, AcceptError> {
    match wish {
        Wish::Call(name) | Wish::Capability(name) | Wish::Family(name) => Ok(name.to_string()),
        Wish::Read(path) | Wish::Write(path) => std::str::from_utf8(path.as_bytes())
            .map(str::to_owned)
            .map_err(|_| AcceptError::Path(path.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Word;

    #[test]
    fn what_somebody_wrote_stays() {
        let text = "# ours\ncomment = \"agreed\"\n\n[allow]\nsyscalls = [\"read\"] # needed\n\n[deny]\npaths = [\"/home\"]\n";
        let wishes = [
            (
                Wish::Call(Word::new("ptrace").unwrap()),
                "denied\n[deny]\nx = 1".to_owned(),
            ),
            (Wish::Call(Word::new("read").unwrap()), String::new()),
            (
                Wish::Write("/srv/a\n\"b".into()),
                "by ReadWritePaths".to_owned(),
            ),
        ];
        let wishes = || wishes.iter().map(|(wish, remark)| (wish, remark.clone()));
        let now = accept(text, wishes()).unwrap();
        let overrides = Overrides::parse(&now).unwrap();
        assert_eq!(overrides.allow.syscalls.len(), 2, "{now}");
        assert_eq!(overrides.allow.write, ["/srv/a\n\"b".into()]);
        assert_eq!(overrides.comment.as_deref(), Some("agreed"));
        assert_eq!(overrides.deny.paths.len(), 1);
        assert!(
            now.starts_with("# ours\n") && now.contains("# needed"),
            "{now}"
        );
        // Once is enough.
        assert_eq!(accept(&now, wishes()).unwrap(), now);
        // Of nothing, too.
        assert!(Overrides::parse(&accept("", wishes()).unwrap()).is_ok());
        assert!(accept("allow = 1", wishes()).is_err());
        assert!(accept("not toml", wishes()).is_err());
    }
}
