//! What a directive can name without quotes.

/// The path, if it is a word to systemd, without quotes, escapes or specifiers.
pub(super) fn as_word(path: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(path).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@:".contains(&byte);
    (text.starts_with('/') && text.len() < 4096 && text.bytes().all(plain) && !text.contains("/.."))
        .then_some(text)
}
