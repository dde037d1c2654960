use proptest::prelude::*;

use super::*;
use crate::observation::Text;
use crate::policy::Overrides;

/// The guide's line, with names in the place of its `<process>` and `<process path>`.
const BODY: &str = "auid=1000 uid=1000 gid=1000 ses=1 pid=4643 comm=\"restd\" exe=\"/usr/bin/restd\" sig=31 \
                    arch=c000003e syscall=201 compat=0 ip=0x7f9a25feebed code=0x0";
const STAMP: &str = "audit(1428331621.110:4)";

/// The same as BODY, as `ausearch --interpret` has it.
const INTERPRETED: &str = "auid=rest uid=rest gid=rest ses=1 pid=4643 comm=restd exe=/usr/bin/restd sig=SIGSYS arch=x86_64 \
                           syscall=time compat=0 ip=0x7f9a25feebed code=kill";

/// The record in every form that has the kernel's own stamp.
fn forms() -> Vec<String> {
    let kernel = format!("audit: type=1326 {STAMP}: {BODY}");
    let message = |text: &str| serde_json::Value::from(text).to_string();
    vec![
        // As the guide has it: /var/log/syslog and /var/log/messages.
        format!("Apr 6 10:47:01 debian kernel: [12255.533062] {kernel}"),
        format!("2015-04-06T10:47:01.110+00:00 debian kernel: [12255.533062] {kernel}"),
        // rsyslog on a kernel without times; journalctl; busybox.
        format!("Apr 06 10:47:01 debian kernel: {kernel}"),
        format!("Apr  6 10:47:01 debian kern.notice kernel: [12255.533062] {kernel}"),
        // dmesg, plain, with --ctime, --decode and --raw, and /dev/kmsg.
        format!("[12255.533062] {kernel}"),
        format!("[Mon Apr  6 10:47:01 2015] {kernel}"),
        format!("kern  :notice: [12255.533062] {kernel}"),
        format!("<5>[12255.533062] {kernel}"),
        format!("5,3212,12255533062,-;{kernel}"),
        format!("5,3212,12255533062,-,caller=T4643;{kernel}"),
        // Kernels before 3.15.
        format!("Apr 6 10:47:01 debian kernel: [12255.533062] type=1326 {STAMP}: {BODY}"),
        // auditd: its own file, enriched, from several machines, older than the kernel; and on its way through syslog.
        format!("type=SECCOMP msg={STAMP}: {BODY}"),
        format!(
            "type=SECCOMP msg={STAMP}: {BODY}\x1dARCH=x86_64 SYSCALL=time AUID=\"rest\" UID=\"rest\" GID=\"rest\""
        ),
        format!("type=SECCOMP msg={STAMP}: {BODY}ARCH=x86_64 SYSCALL=time AUID=\"rest\""),
        format!("node=debian type=SECCOMP msg={STAMP}: {BODY}"),
        format!("type=1326 msg={STAMP}: {BODY}"),
        format!("type=UNKNOWN[1326] msg={STAMP}: {BODY}"),
        format!("Apr  6 10:47:01 debian audispd: node=debian type=SECCOMP msg={STAMP}: {BODY}"),
        format!(
            "Apr  6 10:47:01 debian audisp-syslog[612]: type=SECCOMP msg={STAMP}: {BODY}#035ARCH=x86_64"
        ),
        // The journal: from the audit subsystem, and from the kernel's log.
        format!(
            "{{\"_TRANSPORT\":\"audit\",\"_AUDIT_TYPE\":\"1326\",\"_AUDIT_TYPE_NAME\":\"SECCOMP\",\"_AUDIT_ID\":\"4\",\
             \"_SOURCE_REALTIME_TIMESTAMP\":\"1428331621110000\",\"MESSAGE\":{}}}",
            message(&format!("SECCOMP {BODY}"))
        ),
        format!(
            "{{\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"0\",\"SYSLOG_IDENTIFIER\":\"kernel\",\"MESSAGE\":{}}}",
            message(&kernel)
        ),
        // AppArmor's label, and the reason of Linux 3.5.
        format!(
            "type=SECCOMP msg={STAMP}: {}",
            BODY.replace(" pid", " subj==rest (enforce) pid")
        ),
        format!(
            "audit: type=1326 {STAMP}: {}",
            BODY.replace(" sig", " reason=\"seccomp\" sig")
        ),
        // Names that the kernel has to escape are written so.
        format!(
            "type=SECCOMP msg={STAMP}: {}",
            BODY.replace("\"/usr/bin/restd\"", "2F7573722F62696E2F7265737464")
        ),
    ]
}

fn taken(lines: &[String]) -> (Events, Taken) {
    let mut intake = Intake::new(None);
    let mut taken = Taken::default();
    for line in lines {
        intake.piece(&mut taken, Piece::line(line.as_bytes()));
    }
    (intake.finish(), taken)
}

fn record(line: &str) -> Record {
    let mut all = Line::all(Piece::line(line.as_bytes()));
    match all.pop() {
        Some(Line::Record(record)) if all.is_empty() => *record,
        other => panic!("{line}: {all:?} {other:?}"),
    }
}

#[test]
fn the_guides_line_decodes_to_the_same_call_in_every_form() {
    for line in forms() {
        let record = record(&line);
        let call = &record.call;
        assert_eq!(
            format!("{} {}", call.convention, call.name),
            "x86_64 time",
            "{line}"
        );
        assert_eq!(record.action, Action::KillThread, "{line}");
        assert_eq!(record.process.pid, Some(4643), "{line}");
        let name = |name: &Option<Text>| name.as_ref().map(ToString::to_string);
        assert_eq!(
            name(&record.process.executable).as_deref(),
            Some("/usr/bin/restd"),
            "{line}"
        );
        assert_eq!(
            name(&record.process.name).as_deref(),
            Some("restd"),
            "{line}"
        );
        let time = record.time.map(jiff::Timestamp::as_millisecond);
        assert_eq!(time, Some(1_428_331_621_110), "{line}");
    }
}

#[test]
fn the_guides_line_as_it_is_printed() {
    let record = record(
        "Apr 6 10:47:01 debian kernel: [12255.533062] audit: type=1326 audit(1428331621.110:4): auid=1000 uid=1000 gid=1000 \
         ses=1 pid=4643 comm=<process> exe=\"<process path>\" sig=31 arch=c000003e syscall=201 compat=0 \
         ip=0x7f9a25feebed code=0x0",
    );
    assert_eq!(record.call.name.as_str(), "time");
    assert_eq!(record.process.name, Some(Text::from("<process>")));
    assert_eq!(
        record.process.executable,
        Some(Text::from("<process path>"))
    );
}

#[test]
fn all_forms_of_one_record_are_one_record() {
    let forms = forms();
    let (events, taken) = taken(&forms);
    assert_eq!(events.len(), 1);
    assert_eq!(events.values().next().unwrap().count, 1);
    assert_eq!(taken.records, 1);
    assert_eq!(taken.duplicates, forms.len() as u64 - 1);
}

#[test]
fn what_ausearch_interprets_says_the_same() {
    let line = format!("type=SECCOMP msg=audit(04/06/2015 10:47:01.110:4) : {INTERPRETED}");
    let interpreted = record(&line);
    let plain = record(&format!("type=SECCOMP msg={STAMP}: {BODY}"));
    assert_eq!(interpreted.call, plain.call);
    assert_eq!(interpreted.action, plain.action);
    assert_eq!(interpreted.process, plain.process);
    // In the time zone and language of whoever ran it.
    assert_eq!(interpreted.time, None);
}

#[test]
fn the_journals_short_output_has_no_stamp_and_is_counted_once_too() {
    let short = format!("Apr 06 10:47:01 debian audit[4643]: SECCOMP {BODY}");
    let old = format!("Apr 06 10:47:01 debian audit[4643]: <audit-1326> {BODY}");
    for line in [&short, &old] {
        let record = record(line);
        assert_eq!((record.time, record.call.name.as_str()), (None, "time"));
    }
    let kernel = format!("Apr 06 10:47:01 debian kernel: audit: type=1326 {STAMP}: {BODY}");
    for lines in [
        vec![short.clone()],
        vec![short.clone(), kernel.clone()],
        vec![kernel, short],
    ] {
        let (events, _) = taken(&lines);
        let counts: Vec<u64> = events.values().map(|times| times.count).collect();
        assert_eq!(counts, [1]);
    }
}

#[test]
fn who_else_writes_such_a_line_is_not_believed() {
    let kernel = format!("audit: type=1326 {STAMP}: {BODY}");
    let journal = |transport: &str, facility: &str| {
        let message = serde_json::Value::from(kernel.clone());
        format!(
            "{{\"_TRANSPORT\":\"{transport}\",\"SYSLOG_FACILITY\":\"{facility}\",\"SYSLOG_IDENTIFIER\":\"kernel\",\
             \"MESSAGE\":{message}}}"
        )
    };
    let lines = [
        format!("Apr 6 10:47:01 debian evil: {kernel}"),
        format!("Apr 6 10:47:01 debian evil[7]: [1.2] {kernel}"),
        format!("Apr 6 10:47:01 debian evil: kernel: [1.2] {kernel}"),
        format!("Apr 6 10:47:01 debian evil: audit[1]: SECCOMP {BODY}"),
        format!("13,3212,12255533062,-;{kernel}"),
        format!("<13>[1.2] {kernel}"),
        journal("syslog", "0"),
        journal("stdout", "0"),
        journal("journal", "0"),
    ];
    let (events, taken) = taken(&lines);
    assert!(events.is_empty());
    assert_eq!(taken.not_the_kernels, lines.len() as u64);
    let others = [
        journal("kernel", "1"),
        format!("type=USER_CMD msg={STAMP}: pid=1 msg='cmd=type=SECCOMP msg={STAMP}: {BODY}'"),
        format!("audit: type=1400 {STAMP}: apparmor=\"DENIED\""),
        "nothing of the kind".to_owned(),
    ];
    let (events, taken) = self::taken(&others);
    assert!(events.is_empty());
    assert_eq!(taken.records, 0);
}

#[test]
fn a_record_without_a_call_is_counted() {
    let lines = [
        format!("type=SECCOMP msg={STAMP}: auid=1000 pid=4643"),
        format!("type=SECCOMP msg={STAMP}"),
        "type=1326".to_owned(),
        format!(
            "audit: type=1326 {STAMP}: {}",
            BODY.replace("syscall=201", "syscall=a=b")
        ),
    ];
    let (events, taken) = taken(&lines);
    assert!(events.is_empty());
    assert_eq!(taken.unclear, lines.len() as u64);
}

/// What is taken of the bytes of a log, however they are torn.
fn of_bytes(bytes: &[u8]) -> (Vec<Record>, Taken) {
    let mut records = Vec::new();
    let mut intake = Intake::new(None);
    let mut taken = Taken::default();
    let gaps = crate::machine::logs::stream(bytes, |piece| {
        let lines = Line::all(piece).into_iter();
        records.extend(lines.filter_map(|line| match line {
            Line::Record(record) => Some(*record),
            _ => None,
        }));
        intake.piece(&mut taken, piece);
    });
    taken.losses.unread += gaps.unwrap().too_long;
    (records, taken)
}

fn numbered(serial: usize) -> String {
    format!("audit: type=1326 audit(1428331621.110:{serial}): {BODY}")
}

#[test]
fn a_record_after_nul_bytes_is_taken_and_what_was_cut_before_them_is_counted() {
    let zeros = "\0".repeat(5000);
    for start in ["", "Apr 6 10:47:01 debian kernel: [12255.533062] "] {
        let log = format!("{zeros}{start}{}\n", numbered(1));
        assert_eq!(of_bytes(log.as_bytes()).1.records, 1);
        // Written in part before the crash, and whole after it.
        let half = &numbered(1)[..150];
        let log = format!("{start}{half}{zeros}{start}{}\n", numbered(2));
        let (_, taken) = of_bytes(log.as_bytes());
        assert_eq!((taken.records, taken.unclear), (1, 1), "{log}");
        // Of a block in the middle of a line only the end is there.
        let log = format!("{zeros}{}\n{}\n", &numbered(1)[150..], numbered(2));
        let (_, taken) = of_bytes(log.as_bytes());
        assert_eq!((taken.records, taken.unclear), (1, 1), "{log}");
    }
}

#[test]
fn a_record_is_the_same_with_any_end_of_line() {
    for end in ["\n", "\r\n", "\r", "\n\r", "\0", ""] {
        let (records, taken) = of_bytes(format!("{}{end}", numbered(1)).as_bytes());
        assert_eq!(taken.unclear, 0, "{end:?}");
        assert_eq!(records[0].action, Action::KillThread, "{end:?}");
    }
}

/// Wherever a log is cut off, a record is itself, less in what it says, or counted; never another one.
#[test]
fn a_record_that_is_cut_is_never_another_one() {
    for form in forms() {
        let form = form.replace("code=0x0", "code=0x7ffc0000");
        let whole = record(&form);
        for length in 0..form.len() {
            let (records, taken) = of_bytes(&form.as_bytes()[..length]);
            for cut in &records {
                assert_eq!(cut.call, whole.call, "{:?}", &form[..length]);
                let actions = [Action::Unknown, whole.action];
                assert!(actions.contains(&cut.action), "{:?}", &form[..length]);
            }
            let is_named = ["type=1326 ", "type=SECCOMP ", "SECCOMP auid="];
            if is_named.iter().any(|mark| form[..length].contains(mark)) {
                let counted = taken.records + taken.unclear;
                assert_eq!(counted, 1, "{:?}", &form[..length]);
            }
        }
    }
}

#[test]
fn records_in_one_line_are_all_taken() {
    for form in forms() {
        if form.starts_with('{') {
            continue;
        }
        let glued = format!(
            "{form}{}{}\n",
            form.replace(":4)", ":5)"),
            form.replace(":4)", ":6)")
        );
        let (records, taken) = of_bytes(glued.as_bytes());
        assert_eq!((taken.records, taken.unclear), (3, 0), "{glued}");
        let whole = record(&form);
        for one in &records {
            assert_eq!(one.process, whole.process, "{glued}");
            assert_eq!(one.call, whole.call, "{glued}");
            assert!(
                [whole.action, Action::Unknown].contains(&one.action),
                "{glued}"
            );
        }
    }
    let entry = &forms()[19];
    let (_, taken) = of_bytes(format!("{entry}{}\n", entry.replace("\"4\"", "\"5\"")).as_bytes());
    assert_eq!((taken.records, taken.unclear), (2, 0), "{entry}");
    let (_, taken) = of_bytes(format!("{entry}{}\n", &entry[..entry.len() - 9]).as_bytes());
    assert_eq!((taken.records, taken.unclear), (1, 1), "{entry}");
}

#[test]
fn a_record_in_anothers_text_is_counted_and_not_believed() {
    let inner = format!("type=SECCOMP msg={STAMP}: {BODY}");
    for (line, records) in [
        (
            format!("type=USER_CMD msg={STAMP}: pid=1 msg='cmd={inner}'"),
            0,
        ),
        (
            format!("type=SYSCALL msg={STAMP}: arch=c000003e syscall=2{inner}"),
            0,
        ),
        // A name that is not escaped.
        (
            format!(
                "type=SECCOMP msg=audit(04/06/2015 10:47:01.110:4) : {}",
                INTERPRETED.replace("comm=restd", &format!("comm=x {inner}"))
            ),
            0,
        ),
    ] {
        let (events, taken) = taken(std::slice::from_ref(&line));
        assert_eq!((events.len(), taken.records), (records, 0), "{line}");
        assert!(taken.unclear > 0, "{line}");
    }
}

#[test]
fn what_is_not_utf_8_is_a_record_or_counted() {
    for form in forms() {
        let mut bytes = form.clone().into_bytes();
        let at = form.find("restd").unwrap();
        bytes[at] = 0xff;
        let (records, taken) = of_bytes(&bytes);
        assert_eq!(records.len() as u64 + taken.unclear, 1, "{form}");
    }
}

#[test]
fn records_in_a_line_that_is_too_long_are_counted() {
    let filling = "x".repeat(300_000);
    for at in (262_000..262_200).step_by(7) {
        let (before, after) = filling.split_at(at);
        let log = format!("{before}{}{after} {}\n", numbered(1), numbered(2));
        let (_, taken) = of_bytes(log.as_bytes());
        assert_eq!(
            (taken.records, taken.unclear, taken.losses.unread),
            (0, 2, 1)
        );
    }
}

#[test]
fn other_outputs_of_journalctl_are_taken_or_counted() {
    let journal = &forms()[20];
    for line in [format!("\x1e{journal}"), format!("data: {journal}")] {
        let (events, _) = taken(std::slice::from_ref(&line));
        assert_eq!(events.len(), 1, "{line}");
    }
    for line in [
        format!("MESSAGE=SECCOMP {BODY}"),
        format!("SECCOMP {BODY}"),
        format!("        \"MESSAGE\" : \"audit: type=1326 {STAMP}: {BODY}\","),
    ] {
        let (events, taken) = taken(std::slice::from_ref(&line));
        assert_eq!(
            (events.len(), taken.unclear + taken.not_the_kernels),
            (0, 1),
            "{line}"
        );
    }
}

#[test]
fn records_of_other_moments_processes_calls_and_machines_are_others() {
    let line = |serial: &str, pid: &str, call: &str| {
        let body = BODY.replace("pid=4643", pid).replace("syscall=201", call);
        format!("node=n type=SECCOMP msg=audit(1428331621.110:{serial}): {body}")
    };
    let lines = [
        line("4", "pid=4643", "syscall=201"),
        line("5", "pid=4643", "syscall=201"),
        // Each machine counts by itself.
        line("4", "pid=4644", "syscall=201"),
        line("4", "pid=4643", "syscall=202"),
    ];
    let (events, taken) = taken(&lines);
    assert_eq!((taken.records, taken.duplicates), (4, 0));
    assert_eq!(events.values().map(|times| times.count).sum::<u64>(), 4);
    let findings = Findings::new(&events, |_, _| None);
    let found = findings
        .0
        .iter()
        .map(|one| (one.call.name.as_str(), one.times.count));
    assert_eq!(found.collect::<Vec<_>>(), [("futex", 1), ("time", 3)]);
}

#[test]
fn what_is_older_is_left_out() {
    let line = format!("type=SECCOMP msg={STAMP}: {BODY}");
    let count = |since: i64| {
        let since = jiff::Timestamp::from_second(since).unwrap();
        let mut intake = Intake::new(Some(since));
        intake.piece(&mut Taken::default(), Piece::line(line.as_bytes()));
        intake.finish().len()
    };
    assert_eq!((count(1_428_331_621), count(1_428_331_622)), (1, 0));
}

#[test]
fn the_journal_says_of_which_unit_a_process_is() {
    let entry = "{\"__REALTIME_TIMESTAMP\":\"1428331621000000\",\"_PID\":\"4643\",\"_EXE\":\"/usr/bin/restd\",\
                 \"_SYSTEMD_CGROUP\":\"/system.slice/restd.service\",\"_BOOT_ID\":\"b\"}";
    let seen = unit_of_process(entry.as_bytes()).unwrap();
    assert_eq!((seen.pid, seen.time.as_second()), (4643, 1_428_331_621));
    assert_eq!(seen.unit, Text::from("restd.service"));
    // It had ended when the journal looked.
    let ended = "{\"__REALTIME_TIMESTAMP\":\"1\",\"_PID\":\"4643\",\"_SYSTEMD_UNIT\":\"restd.service\",\"_BOOT_ID\":\"b\"}";
    let seen = unit_of_process(ended.as_bytes()).unwrap();
    assert_eq!(
        (seen.executable, seen.unit),
        (None, Text::from("restd.service"))
    );
    // systemd-coredump speaks of another; a program that only says so speaks of itself.
    let dumped = |own: &str| {
        let entry = format!(
            "{{\"__REALTIME_TIMESTAMP\":\"1\",\"_PID\":\"9\",\"_EXE\":\"/x\",\"_SYSTEMD_CGROUP\":\"{own}\",\
             \"_BOOT_ID\":\"b\",\"COREDUMP_PID\":\"4643\",\"COREDUMP_EXE\":\"/usr/bin/restd\",\
             \"COREDUMP_CGROUP\":\"/system.slice/restd.service\"}}"
        );
        unit_of_process(entry.as_bytes()).unwrap().pid
    };
    let real = r"/system.slice/system-systemd\\x2dcoredump.slice/systemd-coredump@1.service";
    assert_eq!(dumped(real), 4643);
    assert_eq!(dumped("/system.slice/evil.service"), 9);
    assert!(unit_of_process(b"{}").is_none());
}

/// What is decided about a line of a process that is known to be of a unit.
fn decided(line: &str, known: &Known) -> Result<Proposed, NotProposed> {
    let (events, _) = taken(&[line.to_owned()]);
    let joined = Joined {
        unit: Text::from("restd.service"),
        how: Joint::Journal,
    };
    let findings = Findings::new(&events, |_, _| Some(joined.clone()));
    proposal::decide(&findings.0[0], Some(known))
}

#[test]
fn a_call_is_proposed_for_the_units_own_program_and_nothing_else() {
    let line = format!("type=SECCOMP msg={STAMP}: {BODY}");
    let own = |overrides: &str, logs_calls| Known {
        programs: [Text::from("/usr/bin/restd")].into(),
        logs_calls,
        overrides: Overrides::parse(overrides).unwrap(),
    };
    let known = own("", false);
    let proposed = decided(&line, &known).unwrap();
    assert_eq!((proposed.call.as_str(), proposed.remark), ("time", None));
    // The file was replaced by an upgrade.
    let replaced = "exe=2F7573722F62696E2F7265737464202864656C6574656429";
    let replaced = line.replace("exe=\"/usr/bin/restd\"", replaced);
    assert!(decided(&replaced, &known).is_ok());
    let logged = line.replace("code=0x0", "code=0x7ffc0000");
    assert!(decided(&logged, &known).unwrap().remark.is_some());

    for (line, known, reason) in [
        (&line, &Known::default(), NotProposed::OtherProgram),
        (
            &line,
            &own("[deny]\nsyscalls = ['time']", false),
            NotProposed::Denied,
        ),
        (
            &line,
            &own("[allow]\nsyscalls = ['time']", false),
            NotProposed::Allowed,
        ),
        (&logged, &own("", true), NotProposed::OnlyLogged),
    ] {
        assert_eq!(decided(line, known), Err(reason));
    }
    for (from, to, reason) in [
        (
            "exe=\"/usr/bin/restd\"",
            "exe=(null)",
            NotProposed::NoProgram,
        ),
        (
            "exe=\"/usr/bin/restd\"",
            "exe=\"/usr/bin/sh\"",
            NotProposed::OtherProgram,
        ),
        ("arch=c000003e", "arch=40000003", NotProposed::Secondary),
        ("syscall=201", "syscall=1073742025", NotProposed::Secondary),
        ("arch=c000003e", "arch=40000028", NotProposed::Architecture),
        ("arch=c000003e ", "", NotProposed::Architecture),
        ("syscall=201", "syscall=1000", NotProposed::NoCall),
        ("code=0x0", "code=0x7ff00000", NotProposed::Answered),
        ("code=0x0", "code=0x7fc00000", NotProposed::Answered),
        ("code=0x0", "", NotProposed::NoAction),
    ] {
        let changed = line.replace(from, to);
        assert_ne!(changed, line);
        assert_eq!(decided(&changed, &known), Err(reason), "{changed}");
    }
    let (events, _) = taken(&[line]);
    let findings = Findings::new(&events, |_, _| None);
    assert_eq!(
        proposal::decide(&findings.0[0], None),
        Err(NotProposed::NoUnit)
    );
}

#[test]
fn a_name_that_is_no_call_is_not_proposed() {
    let known = Known {
        programs: [Text::from("/usr/bin/restd")].into(),
        ..Known::default()
    };
    let line = format!("type=SECCOMP msg=audit(x) : {INTERPRETED}");
    assert!(decided(&line, &known).is_ok());
    let line = line.replace("syscall=time", "syscall=frobnicate");
    assert_eq!(decided(&line, &known), Err(NotProposed::NoCall));
}

proptest! {
    #[test]
    fn no_line_is_too_strange(
        form in 0..24_usize,
        cut in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let forms = forms();
        let line = forms[form % forms.len()].as_bytes();
        let (from, to) = (cut.index(line.len() + 1), other.index(line.len() + 1));
        let changed = [&line[..from], &noise, &line[to..]].concat();
        for part in [Part::Whole, Part::Cut, Part::TooLong { last: false }] {
            for line in Line::all(Piece { bytes: &changed, part }) {
                // What is printed of it is one line.
                if let Line::Record(record) = line {
                    let shown = format!("{:?}{:?}", record.process, record.call);
                    prop_assert!(!shown.contains(char::is_control));
                }
            }
            let _ = Line::all(Piece { bytes: &noise, part });
        }
        let _ = unit_of_process(&changed);
    }
}
