//! The files of a unit, as `systemctl cat` prints them: the fragment first, then the drop-ins in their order.

use super::command::Command;

/// What the `[Service]` section says, and what starts the unit on demand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFile {
    /// Names and values in the order in which systemd reads them.
    settings: Vec<(String, String)>,
    /// The same of the other sections.
    others: Vec<(String, String)>,
    /// The name in the first comment, as `systemctl cat` has it: `# /lib/systemd/system/NAME`.
    name: Option<String>,
    /// All of it, as it was read.
    pub text: String,
    /// The units that trigger this one, as systemd lists them.
    pub triggered_by: Vec<String>,
}

impl UnitFile {
    /// Reads the text of the files. As systemd does it (systemd.syntax(7)): a backslash at the end continues a
    /// line, and comments between its parts are passed by.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (mut settings, mut others) = (Vec::new(), Vec::new());
        let first = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# /"));
        let name = first.and_then(|path| path.rsplit('/').next());
        let mut is_service = false;
        let mut pending = String::new();
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with(['#', ';']) || (pending.is_empty() && trimmed.is_empty()) {
                continue;
            }
            if let Some(part) = line.strip_suffix('\\') {
                pending.push_str(part);
                pending.push(' ');
                continue;
            }
            let whole = std::mem::take(&mut pending) + line;
            let whole = whole.trim();
            if whole.starts_with('[') {
                is_service = whole == "[Service]";
            } else if let Some((name, value)) = whole.split_once('=') {
                let section = if is_service {
                    &mut settings
                } else {
                    &mut others
                };
                section.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Self {
            settings,
            others,
            name: name.map(str::to_owned),
            text: text.to_owned(),
            triggered_by: Vec::new(),
        }
    }

    /// The values of a setting that adds up: an empty one takes back those before it.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for value in self.values(name) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value);
            }
        }
        values
    }

    /// The value of a setting of which the last holds; `None` if it is not set, or set to nothing.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&str> {
        self.values(name).last().filter(|value| !value.is_empty())
    }

    /// The user other than root as whom its commands run: `+` and `!` have systemd start one as root all the same.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        let is_root = |command: &&str| Command::read(command).is_as_root();
        if self.list("ExecStart").iter().any(is_root) {
            return None;
        }
        let user = self.last("User");
        user.filter(|user| !["root", "0"].contains(user))
    }

    /// Whether a switch is on. Systemd's other words for it are `true`, `on`, `1`, `y` and `t`.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        let on = ["yes", "y", "true", "t", "on", "1"];
        self.last(name)
            .is_some_and(|value| on.iter().any(|word| value.eq_ignore_ascii_case(word)))
    }

    /// Whether it has this setting, with whatever value that is not nothing and not a word for no.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let off = ["no", "n", "false", "f", "off", "0"];
        self.last(name)
            .is_some_and(|value| !off.iter().any(|word| value.eq_ignore_ascii_case(word)))
    }

    /// The socket of the same name, or of one of its other names, that it requires or is enabled with.
    pub(super) fn own_socket(&self) -> Option<&str> {
        let words = |wanted: &'static [&str]| {
            let settings = self.others.iter();
            let named = settings.filter(move |(name, _)| wanted.contains(&name.as_str()));
            named.flat_map(|(_, value)| value.split_whitespace())
        };
        let stem = |name: &'_ str| name.rsplit_once('.').map(|(stem, _)| stem.to_owned());
        let names = self.name.as_deref().into_iter().chain(words(&["Alias"]));
        let stems: Vec<String> = names.filter_map(stem).collect();
        let mut sockets = words(&["Requires", "BindsTo", "Also"]);
        sockets.find(|name| {
            name.strip_suffix(".socket")
                .is_some_and(|socket| stems.iter().any(|stem| stem == socket))
        })
    }

    /// Whether it is set at all, to nothing too.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    fn values<'a>(&'a self, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
        let settings = self.settings.iter();
        let named = settings.filter(move |(other, _)| other == name);
        named.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_read_is_what_systemd_reads() {
        let unit = UnitFile::parse(
            "# /lib/systemd/system/d.service\n[Unit]\nExecStart=not this\n\n[Service]\nType = notify\n\
             ExecStart=/bin/d \\\n  # a remark\n  --all\nExecStartPre=one\nExecStartPre=\nExecStartPre=two\n\
             \n# /etc/systemd/system/d.service.d/x.conf\n[Service]\nType=simple\nNoNewPrivileges=on\n\
             RestrictNamespaces=no\nUser=\n",
        );
        assert_eq!(unit.last("Type"), Some("simple"));
        assert_eq!(unit.list("ExecStart"), ["/bin/d    --all"]);
        assert_eq!(unit.list("ExecStartPre"), ["two"]);
        assert!(unit.is_on("NoNewPrivileges") && unit.has("NoNewPrivileges"));
        assert!(!unit.has("RestrictNamespaces"));
        assert_eq!(unit.last("User"), None);
    }

    #[test]
    fn who_steps_down_itself_is_started_as_root() {
        for (command, account) in [
            ("/bin/d", Some("www")),
            ("-!/bin/d", None),
            ("+/bin/d", None),
        ] {
            let unit = UnitFile::parse(&format!("[Service]\nUser=www\nExecStart={command}\n"));
            assert_eq!(unit.account(), account, "{command}");
        }
    }

    #[test]
    fn a_socket_of_its_own_is_found_in_its_files() {
        let socket = |text: &str| UnitFile::parse(text).own_socket().map(str::to_owned);
        let cups = "# /lib/systemd/system/cups.service\n[Unit]\nRequires=dbus.socket cups.socket\n";
        assert_eq!(socket(cups).as_deref(), Some("cups.socket"));
        let syslog = "# /lib/systemd/system/rsyslog.service\n[Unit]\nRequires=syslog.socket\n[Service]\n\
                      ExecStart=/bin/x\n[Install]\nAlias=syslog.service\n";
        assert_eq!(socket(syslog).as_deref(), Some("syslog.socket"));
        assert_eq!(
            socket("# /lib/systemd/system/d.service\n[Unit]\nRequires=dbus.socket\n"),
            None
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            let unit = UnitFile::parse(&text);
            for (name, value) in &unit.settings {
                prop_assert!(!name.contains('\n') && !value.contains('\n'));
            }
        }
    }
}
