//! Which distribution this is, as far as installing packages goes.

/// How packages are installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Debian, Ubuntu or a descendant: apt-get.
    Debian,
    /// Anything else, by its own name: `setup` only says what to install.
    Other(String),
}

impl Distribution {
    /// Reads the text of /etc/os-release.
    pub fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map_or("", |value| value.trim().trim_matches(['"', '\'']))
        };
        let mut families = value("ID_LIKE").split_whitespace().chain([value("ID")]);
        if families.any(|id| id == "debian" || id == "ubuntu") {
            return Self::Debian;
        }
        let name = [value("PRETTY_NAME"), value("ID"), "this distribution"];
        Self::Other(
            name.into_iter()
                .find(|n| !n.is_empty())
                .map_or_else(String::new, Into::into),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_descendants_have_apt() {
        for text in [
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n",
            "ID=ubuntu\nID_LIKE=debian\n",
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
            "ID='debian'",
        ] {
            assert_eq!(Distribution::parse(text), Distribution::Debian, "{text}");
        }
    }

    #[test]
    fn others_are_named() {
        let fedora = "NAME=\"Fedora Linux\"\nID=fedora\nPRETTY_NAME=\"Fedora Linux 44\"\n";
        let other = |name: &str| Distribution::Other(name.to_owned());
        assert_eq!(Distribution::parse(fedora), other("Fedora Linux 44"));
        assert_eq!(Distribution::parse("ID=arch"), other("arch"));
        assert_eq!(Distribution::parse(""), other("this distribution"));
    }

    #[test]
    fn a_key_is_not_found_inside_another() {
        let text = "VARIANT_ID=debian\nID=void\n";
        assert_eq!(
            Distribution::parse(text),
            Distribution::Other("void".into())
        );
    }
}
