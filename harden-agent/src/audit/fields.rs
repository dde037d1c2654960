//! `KEY=VALUE` of a record, as the kernel writes them (`audit_seccomp`, kernel/auditsc.c) and as `ausearch --interpret`
//! does.

use std::borrow::Cow;

/// The fields of the kernel's record, in its order.
const KEYS: [&str; 15] = [
    "auid", "uid", "gid", "ses", "subj", "pid", "comm", "reason", "exe", "sig", "arch", "syscall",
    "compat", "ip", "code",
];

/// What may stand behind the kernel's fields: auditd's own, behind a separator (`log_format = ENRICHED`), and the same
/// as rsyslog writes it.
const SEPARATORS: [&[u8]; 2] = [b"\x1d", b"#035"];

/// The fields of one record.
#[derive(Debug, Default)]
pub(super) struct Fields<'l> {
    values: [Value<'l>; KEYS.len()],
    /// The one behind which there is nothing.
    last: Option<usize>,
    /// Whether auditd's own follow.
    is_enriched: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Value<'l> {
    #[default]
    None,
    Plain(&'l [u8]),
    Quoted(&'l [u8]),
    /// In an interpreted record names are not escaped: a program's may hold another field. Then neither is known.
    Twice,
}

impl<'l> Fields<'l> {
    pub(super) fn parse(mut body: &'l [u8]) -> Self {
        let mut fields = Self::default();
        for separator in SEPARATORS {
            if let Some(at) = find(body, separator) {
                body = &body[..at];
                fields.is_enriched = true;
            }
        }
        let mut rest = body;
        while let Some((key, value)) = next(&mut rest) {
            if rest.is_empty() && !fields.is_enriched {
                fields.last = Some(key);
            }
            let slot = &mut fields.values[key];
            *slot = match slot {
                Value::None => value,
                _ => Value::Twice,
            };
        }
        fields
    }

    /// Whether nothing follows it: it may be a part of a value.
    pub(super) fn is_last(&self, key: &str) -> bool {
        self.last.is_some_and(|last| KEYS[last] == key)
    }

    /// Whether the kernel's fields are whole, as others follow.
    pub(super) fn is_enriched(&self) -> bool {
        self.is_enriched
    }

    fn value(&self, key: &str) -> Value<'l> {
        let at = KEYS.iter().position(|known| *known == key);
        at.map_or(Value::None, |at| self.values[at])
    }

    /// As it stands there.
    pub(super) fn get(&self, key: &str) -> Option<&'l [u8]> {
        match self.value(key) {
            Value::Plain(value) | Value::Quoted(value) => Some(value),
            Value::None | Value::Twice => None,
        }
    }

    pub(super) fn number(&self, key: &str) -> Option<u32> {
        str::from_utf8(self.get(key)?).ok()?.parse().ok()
    }

    /// What the kernel writes as hexadecimal digits where it holds a space, a quote, or what is no printable ASCII
    /// (`audit_log_untrustedstring`), and in quotes otherwise.
    pub(super) fn untrusted(&self, key: &str) -> Option<Cow<'l, [u8]>> {
        match self.value(key) {
            Value::Quoted(value) => Some(value.into()),
            Value::None | Value::Twice | Value::Plain(b"(null)") => None,
            Value::Plain(value) if self.is_interpreted() => Some(value.into()),
            Value::Plain(value) => Some(unhex(value).map_or(value.into(), Cow::Owned)),
        }
    }

    /// Whether names are in the place of the kernel's numbers.
    fn is_interpreted(&self) -> bool {
        let is_code = |code: &[u8]| code.starts_with(b"0x");
        self.get("code").is_some_and(|code| !is_code(code))
    }
}

/// Takes the next field whose key is known from the beginning of `rest`, whatever comes before it.
fn next<'l>(rest: &mut &'l [u8]) -> Option<(usize, Value<'l>)> {
    loop {
        *rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return None;
        }
        if let Some((key, length)) = key(rest) {
            let (value, after) = value(&rest[length..], holds_spaces(key));
            *rest = after;
            return Some((key, value));
        }
        let end = rest.iter().position(u8::is_ascii_whitespace);
        *rest = &rest[end.unwrap_or(rest.len())..];
    }
}

fn key(text: &[u8]) -> Option<(usize, usize)> {
    let is = |key: &&str| text.strip_prefix(key.as_bytes()).is_some_and(begins_value);
    let at = KEYS.iter().position(is)?;
    Some((at, KEYS[at].len() + 1))
}

fn begins_value(text: &[u8]) -> bool {
    text.first() == Some(&b'=')
}

/// A label of `AppArmor`: `subj==firefox (enforce)`; a name that ausearch has interpreted.
fn holds_spaces(key: usize) -> bool {
    matches!(KEYS[key], "subj" | "comm" | "exe")
}

fn value(text: &[u8], holds_spaces: bool) -> (Value<'_>, &[u8]) {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let end = quoted.iter().position(|byte| *byte == b'"');
        return match end {
            Some(end) => (Value::Quoted(&quoted[..end]), &quoted[end + 1..]),
            None => (Value::Plain(text), b""),
        };
    }
    let mut end = 0;
    loop {
        let word = text[end..].iter().position(u8::is_ascii_whitespace);
        let Some(word) = word else {
            return (Value::Plain(text), b"");
        };
        end += word;
        let rest = text[end..].trim_ascii_start();
        if !holds_spaces || key(rest).is_some() || rest.is_empty() {
            return (Value::Plain(&text[..end]), rest);
        }
        end = text.len() - rest.len();
    }
}

pub(super) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    use bstr::ByteSlice as _;
    text.find(what)
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let upper = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.iter().all(upper) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::Fields;

    fn name(body: &str, key: &str) -> Option<String> {
        let fields = Fields::parse(body.as_bytes());
        let name = fields.untrusted(key)?;
        Some(String::from_utf8_lossy(&name).into_owned())
    }

    #[test]
    fn names_are_had_back() {
        let name = |body: &str| name(body, "exe");
        assert_eq!(name("exe=\"/a\" code=0x0").as_deref(), Some("/a"));
        assert_eq!(name("exe=2F2020 code=0x0").as_deref(), Some("/  "));
        assert_eq!(name("exe=(null) code=0x0"), None);
        // No hexadecimal digits of the kernel's, and interpreted ones.
        assert_eq!(name("exe=2f20 code=0x0").as_deref(), Some("2f20"));
        assert_eq!(name("exe=ADD0 code=kill").as_deref(), Some("ADD0"));
        assert_eq!(
            name("exe=/a b sig=SIGSYS code=kill").as_deref(),
            Some("/a b")
        );
        assert_eq!(name("exe=\"/a b").as_deref(), Some("\"/a b"));
    }

    #[test]
    fn a_label_with_spaces_hides_nothing() {
        let body = "subj==firefox (enforce) pid=7 comm=\"a\" exe=\"/a\"";
        let fields = Fields::parse(body.as_bytes());
        assert_eq!(fields.get("subj"), Some(&b"=firefox (enforce)"[..]));
        assert_eq!(fields.number("pid"), Some(7));
    }

    #[test]
    fn a_name_that_holds_a_field_makes_neither_known() {
        let body = "pid=7 comm=x exe=/usr/sbin/other exe=/tmp/x sig=0 syscall=mkdir code=log";
        assert_eq!(name(body, "exe"), None);
        assert_eq!(name(body, "comm").as_deref(), Some("x"));
        let body = "comm=x syscall=ptrace exe=/a syscall=mkdir code=log";
        assert!(Fields::parse(body.as_bytes()).get("syscall").is_none());
    }

    #[test]
    fn what_auditd_adds_is_none_of_the_kernels() {
        for separator in ["\x1d", "#035"] {
            let body = format!("syscall=83 code=0x0{separator}SYSCALL=x syscall=1");
            let fields = Fields::parse(body.as_bytes());
            assert_eq!(fields.get("syscall"), Some(&b"83"[..]));
            assert_eq!(fields.get("code"), Some(&b"0x0"[..]));
        }
    }
}
