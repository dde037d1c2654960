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
    /// `allow` is something else.
    #[error("allow has to be a table: [allow]")]
    Table,
    /// A list in it is something else.
    #[error("[allow] {0} has to be a list")]
    List(&'static str),
    /// A path that is no text cannot stand in TOML.
    #[error("a path that is not UTF-8 cannot stand in a file of overrides: {0}")]
    Path(String),
}

/// A file of overrides to which something was added.
#[derive(Debug)]
pub struct Accepted {
    /// Its text.
    pub text: String,
    /// What `[deny]` has, and what was not added for that.
    pub denied: Vec<String>,
}

/// The text with what is wished for, each with a remark; what is there already is not added, and what somebody denies is
/// not either.
///
/// # Errors
/// The text is no file of overrides, or would not be one any more.
pub fn accept<'w>(
    text: &str,
    wishes: impl IntoIterator<Item = (&'w Wish, String)>,
) -> Result<Accepted, AcceptError> {
    let overrides = Overrides::parse(text)?;
    let mut document: DocumentMut = text.parse()?;
    let mut denied = Vec::new();
    for (wish, remark) in wishes {
        if overrides.deny.denies(wish) {
            denied.push(wish.to_string());
            continue;
        }
        let (list, name) = (wish.list(), name(wish)?);
        let allow = document.entry("allow").or_insert(Item::Table(Table::new()));
        let allow = allow.as_table_like_mut().ok_or(AcceptError::Table)?;
        let array = allow
            .entry(list)
            .or_insert(Item::Value(Array::new().into()));
        let array = array.as_array_mut().ok_or(AcceptError::List(list))?;
        if array.iter().any(|one| one.as_str() == Some(&name)) {
            continue;
        }
        add(array, &name, &remark);
    }
    let text = with_line_ends_of(text, document.to_string());
    Overrides::parse(&text)?;
    Ok(Accepted { text, denied })
}

/// The new text, with the line ends of the one that somebody wrote, if those are all alike.
fn with_line_ends_of(old: &str, new: String) -> String {
    let (all, long) = (old.matches('\n').count(), old.matches("\r\n").count());
    if all == 0 || long < all {
        return new;
    }
    new.replace("\r\n", "\n").replace('\n', "\r\n")
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
        let accepted = accept(text, wishes()).unwrap();
        assert!(accepted.denied.is_empty());
        let now = accepted.text;
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
        assert_eq!(accept(&now, wishes()).unwrap().text, now);
        // Of nothing, too.
        assert!(Overrides::parse(&accept("", wishes()).unwrap().text).is_ok());
        assert!(accept("not toml", wishes()).is_err());
    }

    fn wishes() -> [Wish; 6] {
        let word = |text: &str| Word::new(text).unwrap();
        [
            Wish::Call(word("chroot")),
            Wish::Capability(word("chown")),
            Wish::Family(word("inet6")),
            Wish::Read("/home/a/x".into()),
            Wish::Write("/srv".into()),
            Wish::Write("/var/lib/d".into()),
        ]
    }

    fn accept_all(text: &str) -> Result<Accepted, AcceptError> {
        let wishes = wishes();
        accept(text, wishes.iter().map(|wish| (wish, "why".to_owned())))
    }

    #[test]
    fn what_somebody_denies_is_not_accepted() {
        let text = "[deny]\nsyscalls = ['chroot']\ncapabilities = ['chown']\nfamilies = ['inet6']\n\
                    paths = ['/home', '/srv/secret']\n";
        let accepted = accept_all(text).unwrap();
        let expected = [
            "syscalls = [\"chroot\"]",
            "capabilities = [\"chown\"]",
            "families = [\"inet6\"]",
            "read = [\"/home/a/x\"]",
            "write = [\"/srv\"]",
        ];
        assert_eq!(accepted.denied, expected);
        let overrides = Overrides::parse(&accepted.text).unwrap();
        let only = Overrides::parse("[allow]\nwrite = ['/var/lib/d']").unwrap();
        assert_eq!(overrides.allow, only.allow);
        assert_eq!(overrides.deny, Overrides::parse(text).unwrap().deny);
    }

    #[test]
    fn a_table_or_list_of_another_type_is_said() {
        for (text, expected) in [
            ("allow = 'x'", "expected a table"),
            ("allow = 1", "expected a table"),
            ("allow = [['read']]", "allow has to be a table: [allow]"),
            ("[allow]\nsyscalls = 'x'", "line 2"),
        ] {
            let error = accept_all(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn line_ends_stay_alike() {
        let text = "# ours\r\n[allow]\r\nread = [\"/etc/x\"]\r\n";
        let now = accept_all(text).unwrap().text;
        assert!(now.starts_with("# ours\r\n"));
        assert_eq!(
            now.matches('\n').count(),
            now.matches("\r\n").count(),
            "{now:?}"
        );
        assert!(!accept_all("[allow]\n").unwrap().text.contains('\r'));
    }
}
