use std::io::Write as _;

use super::*;

/// The file that is installed.
const SHIPPED: &str = include_str!("../../../../deploy/harden.toml");

fn parse(text: &str) -> Config {
    Config::parse(Path::new("harden.toml"), text.as_bytes()).expect(text)
}

fn refusal(text: &str) -> String {
    let error = Config::parse(Path::new("harden.toml"), text.as_bytes()).expect_err(text);
    error.to_string()
}

/// The shipped file with each `#key = value` in force.
fn uncommented() -> String {
    let lines = SHIPPED.lines().map(|line| {
        let option = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
        option.unwrap_or(line).to_owned() + "\n"
    });
    lines.collect()
}

#[test]
fn the_shipped_file_says_nothing_but_the_defaults() {
    assert_eq!(parse(""), Config::default());
    assert_eq!(parse(SHIPPED), Config::default());
    let options = |text: &str| {
        let table: toml::Table = toml::from_str(text).expect(text);
        let sections = table.values().filter_map(toml::Value::as_table);
        sections.map(toml::Table::len).sum::<usize>()
    };
    assert_eq!(options(SHIPPED), 0, "all are commented out");
    assert!(options(&uncommented()) > 0);
    assert_eq!(parse(&uncommented()), Config::default());
}

#[test]
fn the_shipped_file_has_every_option() {
    let shipped: toml::Table = toml::from_str(&uncommented()).expect("checked elsewhere");
    // What serde says is allowed is all there is.
    let allowed = |text: &str| {
        let message = refusal(text);
        let names: Vec<String> = message
            .split('`')
            .skip(3)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        names
    };
    let mut seen = 0;
    for section in allowed("unknown = 1") {
        let options = shipped[&section].as_table().expect("a section");
        for option in allowed(&format!("[{section}]\nunknown = 1")) {
            assert!(options.contains_key(&option), "{section}.{option}");
            seen += 1;
        }
    }
    let shipped: usize = shipped
        .values()
        .map(|section| section.as_table().map_or(0, toml::Table::len))
        .sum();
    assert_eq!(seen, shipped);
}

#[test]
fn every_option_is_taken() {
    let config = parse(
        "[units]\ninclude = ['web-*.service']\nexclude = ['web-2.service']\n\
         [state]\ndirectory = '/srv/harden'\ncompact_every = '30s'\nkeep_invocations = 1\nkeep_windows = 2\n\
         max_per_unit = 300000\nmax_total = 1000000\nmax_units = 20\n\
         [runs]\nwindow = '1h 30m'\n\
         [kernel]\npin = ''\nslots = 5\ncgroups = 6\nonce = 7\nring = 4096\ntasks = 8\n\
         tiers = ['files=tp_btf:sys_exit', 'lookups=none']\nlog_level = 'debug'\n\
         [control]\nsocket = '/run/other'\nconnections = 9\n\
         [metrics]\nlisten = '127.0.0.1:9464'\n\
         [log]\nlevel = 'warn'\n",
    );
    assert!(config.units.matches("web-1.service"));
    assert!(!config.units.matches("web-2.service"));
    assert_eq!(
        config.state,
        State {
            directory: PathBuf::from("/srv/harden"),
            compact_every: Duration::from_secs(30),
            keep_invocations: 1,
            keep_windows: 2,
            max_per_unit: 300_000,
            max_total: 1_000_000,
            max_units: 20,
        }
    );
    assert_eq!(config.runs.window, Some(Duration::from_mins(90)));
    assert_eq!(config.kernel.pin, None);
    let sizes = config.kernel.sizes();
    assert_eq!((sizes.slots, sizes.cgroups, sizes.once), (5, 6, 7));
    assert_eq!((sizes.ring, sizes.tasks), (4096, 8));
    assert_eq!(config.kernel.tiers.len(), 2);
    assert_eq!(config.kernel.log_level, Level::Debug);
    assert_eq!(config.control.socket, Path::new("/run/other"));
    assert_eq!(config.control.connections, 9);
    let tcp = "127.0.0.1:9464".parse().expect("an address");
    assert_eq!(config.metrics.listen, Some(Listen::Tcp(tcp)));
    assert_eq!(config.log.level, Level::Warn);
}

#[test]
fn the_sizes_are_those_of_the_probe_and_nothing_is_counted() {
    let (own, sizes) = (Config::default().kernel.sizes(), Sizes::default());
    assert_eq!(
        (own.slots, own.cgroups, own.once, own.ring, own.tasks),
        (sizes.slots, sizes.cgroups, sizes.once, 2 << 20, sizes.tasks)
    );
    assert_eq!(own.counted_slots, 0);
}

#[test]
fn none_has_its_own_spelling() {
    assert_eq!(parse("[runs]\nwindow = '0'").runs.window, None);
    assert_eq!(parse("[metrics]\nlisten = ''").metrics.listen, None);
    let path = "/run/harden/metrics";
    let unix = parse(&format!("[metrics]\nlisten = '{path}'"));
    assert_eq!(unix.metrics.listen, Some(Listen::Unix(path.into())));
    assert_eq!(
        parse("[units]\ninclude = []").units.include,
        Vec::<Pattern>::new()
    );
}

/// A refusal tells file, line, option, and what is allowed.
#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    for (text, told) in [
        (
            "\n[units]\ninlcude = []",
            "harden.toml:3: units.inlcude: unknown field `inlcude`, expected `include` or `exclude`; is `include` meant?",
        ),
        (
            "[unit]",
            "harden.toml:1: unit: unknown field `unit`, expected one of `units`, `state`, `runs`, `kernel`, `control`, \
             `metrics`, `log`; is `units` meant?",
        ),
        (
            "[log]\n# so much\nlevel = 'warning'",
            "harden.toml:3: log.level: unknown variant `warning`, expected one of `off`, `error`, `warn`, `info`, \
             `debug`, `trace`; is `warn` meant?",
        ),
        (
            "[units]\ninclude = ['a', 'b[']",
            "harden.toml:2: units.include: `b[` is no pattern of names: invalid range pattern; `*`, `?` and `[…]` are \
             as in the shell",
        ),
        (
            "[state]\ndirectory = 'lib'",
            "harden.toml:2: state.directory: invalid value: string \"lib\", expected a path that begins with `/`",
        ),
        (
            "[state]\nkeep_windows = 0",
            "harden.toml:2: state.keep_windows: invalid value: integer `0`, expected a number from 1 to 4294967295",
        ),
        (
            "[state]\ncompact_every = 300",
            "harden.toml:2: state.compact_every: invalid type: integer `300`, expected a time in quotation marks, such \
             as \"30s\", \"5m\", \"1h 30m\"",
        ),
        (
            "[state]\ncompact_every = '300'",
            "harden.toml:2: state.compact_every: invalid value: string \"300\", expected a time of a second or more, \
             such as \"30s\", \"5m\", \"1h 30m\"",
        ),
        (
            "[runs]\nwindow = '10ms'",
            "harden.toml:2: runs.window: invalid value: string \"10ms\", expected a time of a second or more, such as \
             \"30s\", \"5m\", \"1h 30m\", or \"0\" for none",
        ),
        (
            "[kernel]\nring = 5000",
            "harden.toml:2: kernel.ring: the ring buffer's size is a power of two, such as 8192, and 5000 is none",
        ),
        (
            "[kernel]\nring = 2048",
            "harden.toml:2: kernel.ring: invalid value: integer `2048`, expected a number from 4096 to 1073741824",
        ),
        (
            "[kernel]\nslots = -1",
            "harden.toml:2: kernel.slots: invalid value: integer `-1`, expected a number from 1 to 65535",
        ),
        (
            "[kernel]\ntiers = ['lookups=none', 'files=lsm:open']",
            "harden.toml:2: kernel.tiers: `files=lsm:open`: files has no hook lsm:open; it has lsm:file_open, \
             tp_btf:sys_exit, fexit:security_file_open, none",
        ),
        (
            "[control]\nconnections = 10000",
            "harden.toml:2: control.connections: invalid value: integer `10000`, expected a number from 1 to 512",
        ),
        (
            "[metrics]\nlisten = '0.0.0.0:9464'",
            "harden.toml:2: metrics.listen: invalid value: string \"0.0.0.0:9464\", expected the path of a unix socket, \
             127.0.0.1:PORT, [::1]:PORT, or \"\" for none; what the agent knows is not for other machines",
        ),
        ("[log\nlevel", "harden.toml:1: unclosed table, expected `]`"),
    ] {
        assert_eq!(refusal(text), told);
    }
    let long = format!("[control]\nsocket = '/{}'", "x".repeat(107));
    assert!(refusal(&long).contains("at most 107 bytes, and this one 108"));
    let error = Config::parse(Path::new("harden.toml"), b"[log]\n# \xff").expect_err("no text");
    assert!(error.to_string().starts_with("harden.toml: not UTF-8"));
}

#[test]
fn only_a_file_that_somebody_named_has_to_be_there() {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("harden.toml");
    let error = Config::read(Some(&path)).expect_err("there is none");
    assert!(error.to_string().contains("cannot be read: No such file"));
    let mut file = fs::File::create(&path).expect("a file");
    file.write_all(b"[runs]\nwindow = '0'\n").expect("written");
    let config = Config::read(Some(&path)).expect("valid");
    assert_eq!(config.runs.window, None);
    if !Path::new(DEFAULT_PATH).exists() {
        assert_eq!(Config::read(None).expect("the defaults"), Config::default());
    }
}

#[test]
fn exclude_wins_and_the_agent_never_observes_itself() {
    let units = |text: &str| parse(&format!("[units]\n{text}")).units;
    let all = Units::default();
    for name in [
        "nginx.service",
        ".hidden.service",
        r"tmpl@a-b\x2dc.service",
        "init.scope",
    ] {
        assert!(all.matches(name), "{name}");
    }
    assert!(!all.matches(OWN_UNIT));
    assert!(!units("include = ['harden.service']").matches(OWN_UNIT));

    let some =
        units("include = ['*.service', 'x[0-9].scope']\nexclude = ['user@*', 'ssh?.service']");
    assert!(some.matches("nginx.service"));
    assert!(some.matches("x7.scope"));
    assert!(!some.matches("xy.scope"));
    assert!(!some.matches("user@1000.service"));
    assert!(!some.matches("sshd.service"));
    assert!(some.matches("ssh.service"));
    assert!(!some.matches("nginx.service.d"));
    assert!(!units("include = []").matches("nginx.service"));
}
