//! The proof record of `harden apply`: it holds until something that it rests on is changed, each kind of which is named, and
//! the journal says so at once after an upgrade. Costs some 40 s.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Machine, as_patient};
use serde_json::Value;

use super::apply::{HARDEN, LASTING, NGINX, Rig, WORK, prepare, recorded};

/// A unit that is proved, and which things are changed.
struct Proved<'a>(&'a Rig<'a>);

impl Proved<'_> {
    fn sh(&self, script: &str) -> Result<String> {
        self.0.machine.run(&["sh", "-ec", script])
    }

    /// The proof, as programs read it.
    fn json(&self, status: i32) -> Result<Value> {
        let said = self.0.says(&["proof", NGINX, "--json"], status)?;
        serde_json::from_str(&said).context(said)
    }

    fn holds(&self) -> Result<()> {
        let json = self.json(0)?;
        ensure!(
            json["holds"] == true && json["stale"] == Value::Array(Vec::new()),
            "{json}"
        );
        let status = self.0.says(&["status"], 3)?;
        ensure!(status.contains("; proof holds; observation"), "{status}");
        Ok(())
    }

    /// `change` makes the proof stale, because of `what` and nothing else, until `back` is done.
    fn is_stale_by(&self, change: &str, what: &str, how: &str, back: &str) -> Result<()> {
        self.sh(change)?;
        let json = self.json(1)?;
        let stale = json["stale"].as_array().context("no list")?;
        ensure!(
            stale.len() == 1 && stale[0]["what"] == what && stale[0]["how"] == how,
            "{change}: {stale:?}"
        );
        let status = self.0.says(&["status"], 3)?;
        ensure!(
            status.contains("; proof is STALE: ") && status.contains(what),
            "{status}"
        );
        self.sh(back)?;
        self.holds().with_context(|| back.to_owned())
    }

    /// The records there are.
    fn records(&self) -> Result<Vec<String>> {
        let found = self.sh("find /var/lib/harden-apply -type f 2>/dev/null || :")?;
        Ok(found.lines().map(str::to_owned).collect())
    }
}

fn what_was_tried_is_recorded(proved: &Proved<'_>) -> Result<()> {
    let rig = proved.0;
    rig.apply(&["--test", WORK], 0)?;
    proved.holds()?;
    let json = proved.json(0)?;
    let proof = &json["proof"];
    ensure!(proof["tests"][0] == WORK, "{proof}");
    let kernel = rig.machine.run(&["uname", "-r"])?;
    ensure!(proof["system"]["kernel"] == kernel.trim(), "{proof}");
    let digest = |path: &str| -> Result<String> {
        let sum = rig.machine.run(&["sha256sum", path])?;
        Ok(sum.split(' ').next().unwrap_or_default().to_owned())
    };
    ensure!(
        proof["programs"]["/usr/sbin/nginx"] == digest("/usr/sbin/nginx")?,
        "{proof}"
    );
    let libraries = proof["programs"].as_object().context("no programs")?;
    // Each that the processes have mapped, by another tool than harden.
    let mapped = proved.sh(
        "for pid in $(pgrep nginx); do cat /proc/$pid/maps; done | awk '$2 ~ /x/ && $6 ~ /^\\// {print $6}' | sort -u",
    )?;
    ensure!(mapped.lines().count() > 5, "{mapped}");
    for path in mapped.lines() {
        ensure!(libraries.contains_key(path), "no {path}: {proof}");
    }
    let unit = rig.machine.property(NGINX, "FragmentPath")?;
    ensure!(proof["unit_files"][&unit] == digest(&unit)?, "{proof}");

    // The head of the drop-in names the record, and its digest.
    let records = proved.records()?;
    ensure!(records.len() == 1, "{records:?}");
    let head = rig.machine.run(&["head", "-n", "1", LASTING])?;
    ensure!(
        head.contains(&records[0]) && head.contains(&digest(&records[0])?),
        "{head}"
    );
    let text = rig.says(&["proof"], 0)?;
    ensure!(text.contains(&format!("  passed       {WORK}\n")), "{text}");
    Ok(())
}

fn each_change_is_named(proved: &Proved<'_>) -> Result<()> {
    const LIBRARY: &str = "/usr/lib/*/libssl.so.3";
    let program = "/usr/sbin/nginx";
    let library = proved.sh(&format!("realpath {LIBRARY}"))?;
    let library = library.trim();
    // As dpkg does it: a new file in the place of the old one.
    let upgrade = |path: &str| {
        format!(
            "cp -a {path} /var/tmp/old; cp -a {path} {path}.new; echo >>{path}.new; mv {path}.new {path}"
        )
    };
    let back = |path: &str| format!("mv /var/tmp/old {path}");
    for path in [program, library] {
        proved.is_stale_by(&upgrade(path), path, "changed", &back(path))?;
    }
    let unit = proved.0.machine.property(NGINX, "FragmentPath")?;
    proved.is_stale_by(
        &format!("{}; systemctl daemon-reload", upgrade(&unit)),
        &unit,
        "changed",
        &format!("{}; systemctl daemon-reload", back(&unit)),
    )?;
    let other = "/etc/systemd/system/nginx.service.d/90-other.conf";
    proved.is_stale_by(
        &format!("printf '[Service]\\nUMask=0022\\n' >{other}; systemctl daemon-reload"),
        other,
        "new",
        &format!("rm {other}; systemctl daemon-reload"),
    )?;
    proved.is_stale_by(
        &format!("cp {LASTING} /var/tmp/old; echo SystemCallFilter=reboot >>{LASTING}; systemctl daemon-reload"),
        LASTING,
        "changed",
        &format!("cp /var/tmp/old {LASTING}; systemctl daemon-reload"),
    )?;
    // A copy of the drop-in, first line and all, with something more; one that hides it; and one that needs a reload.
    let copy = "/etc/systemd/system/nginx.service.d/99-copy.conf";
    proved.is_stale_by(
        &format!("cp {LASTING} {copy}; echo UMask=0022 >>{copy}; systemctl daemon-reload"),
        copy,
        "new",
        &format!("rm {copy}; systemctl daemon-reload"),
    )?;
    let hides = "/etc/systemd/system.control/nginx.service.d";
    proved.sh(&format!(
        "mkdir -p {hides}; : >{hides}/50-harden.conf; systemctl daemon-reload"
    ))?;
    let said = proved.0.says(&["proof", NGINX], 1)?;
    ensure!(
        said.contains(&format!("systemd does not read {LASTING}")),
        "{said}"
    );
    ensure!(
        said.contains(&format!("{hides}/50-harden.conf is new")),
        "{said}"
    );
    proved.sh(&format!("rm -r {hides}; systemctl daemon-reload"))?;
    proved.holds()?;
    proved.is_stale_by(
        &format!("printf '[Service]\\nUMask=0022\\n' >{other}"),
        NGINX,
        "not-reloaded",
        &format!("rm {other}; systemctl daemon-reload"),
    )?;
    // The drop-in of this unit says nothing about another.
    let others = "/etc/systemd/system/redis-server.service.d";
    proved.sh(&format!(
        "mkdir -p {others}; cp {LASTING} {others}/; systemctl daemon-reload"
    ))?;
    let said = proved.0.says(&["proof", "redis-server"], 1)?;
    ensure!(said.contains("is not about"), "{said}");
    proved.sh(&format!("rm -r {others}; systemctl daemon-reload"))?;
    // The same bytes, installed again.
    proved.sh(&format!(
        "cp -p {program} /var/tmp/same; mv /var/tmp/same {program}; touch {library}"
    ))?;
    proved.holds()
}

fn a_record_that_was_changed_proves_nothing(proved: &Proved<'_>) -> Result<()> {
    let record = &proved.records()?[0];
    proved.sh(&format!(
        "cp {record} /var/tmp/old; sed -i 's/\"tests\"/\"tests\" /' {record}"
    ))?;
    let said = proved.0.says(&["proof", NGINX], 1)?;
    ensure!(
        said.contains("no proof record: ") && said.contains("was changed since"),
        "{said}"
    );
    proved.sh(&format!("cp /var/tmp/old {record}"))?;
    proved.holds()
}

/// A real package replaces a library while the path unit watches.
fn an_upgrade_is_told_at_once(proved: &Proved<'_>) -> Result<()> {
    let rig = proved.0;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/proof");
    for name in ["harden-proof.path", "harden-proof-warn.service"] {
        let text = fs::read_to_string(deploy.join(name))?;
        rig.machine
            .unit(name, &text.replace("/usr/bin/harden", HARDEN))?;
    }
    rig.machine
        .run(&["systemctl", "start", "harden-proof.path"])?;
    proved.sh(
        "library=$(realpath /usr/lib/*/libssl.so.3); cp -a $library /var/tmp/library; echo $library >/var/tmp/where
         mkdir -p /var/tmp/p/DEBIAN /var/tmp/p$(dirname $library)
         cp -a $library /var/tmp/p$library; echo >>/var/tmp/p$library
         printf 'Package: harden-upgrade\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n\
         Replaces: libssl3\\n' >/var/tmp/p/DEBIAN/control
         dpkg-deb --build /var/tmp/p /var/tmp/p.deb >&2; dpkg -i /var/tmp/p.deb >&2",
    )?;
    let told = || {
        rig.machine.run(&[
            "journalctl",
            "-u",
            "harden-proof-warn",
            "-p",
            "warning",
            "--no-pager",
            "-o",
            "cat",
        ])
    };
    for _ in 0..60 {
        if told()?.contains("nginx.service: proof is STALE: ") {
            break;
        }
        thread::sleep(as_patient(Duration::from_millis(250)));
    }
    let said = told()?;
    ensure!(
        said.contains("nginx.service: proof is STALE: ")
            && said.contains("libssl.so.3")
            && said.contains("was changed"),
        "{said}"
    );
    // Nothing is wrong with the path unit: it goes on.
    ensure!(rig.machine.property("harden-proof.path", "ActiveState")? == "active");
    proved.json(1)?;

    // Applied again, it is proved with the new library; and only the new record is there.
    let old = proved.records()?;
    rig.apply(&["--test", WORK], 0)?;
    proved.holds()?;
    let new = proved.records()?;
    ensure!(new.len() == 1 && new != old, "{old:?}, {new:?}");
    proved.sh(
        "dpkg --purge harden-upgrade >&2; mv /var/tmp/library \"$(cat /var/tmp/where)\"; ldconfig
         rm -rf /var/tmp/p /var/tmp/p.deb; systemctl stop harden-proof.path",
    )?;
    Ok(())
}

/// What was replaced while the test ran was not tested; and what nobody has tested yet is not kept.
fn the_test_has_to_be_over(proved: &Proved<'_>) -> Result<()> {
    let rig = proved.0;
    rig.says(&["revert", NGINX], 0)?;
    let before = rig.state()?;
    let program = "/usr/sbin/nginx";
    let replaces = format!(
        "cp -p {program} /var/tmp/n; cp -p {program} /var/tmp/o; echo x >>/var/tmp/n; mv /var/tmp/n {program}; {WORK}"
    );
    rig.apply(&["--test", &replaces], 0)?;
    let said = rig.says(&["proof", NGINX], 1)?;
    ensure!(said.contains(&format!("{program} was changed")), "{said}");
    rig.says(&["revert", NGINX], 0)?;
    proved.sh(&format!("mv /var/tmp/o {program}; systemctl restart nginx"))?;
    rig.is_as(&before)?;
    let confirms = format!("{HARDEN} confirm nginx");
    let said = rig.apply(&["--test", &confirms], 1)?;
    ensure!(
        said.contains("is not over") && said.contains("put back as it was"),
        "{said}"
    );
    rig.is_as(&before)?;
    for options in [["--test", " "], ["--within", "200ms"]] {
        rig.apply(&options, 2)?;
    }
    rig.apply(&["--test", WORK], 0)?;
    proved.holds()
}

/// A unit whose command is a link, with a script that is long over, and that has another file at a path than we have.
fn files_are_those_that_the_unit_sees(machine: &Machine) -> Result<()> {
    const UNIT: &str = "views.service";
    const TEXT: &str = "[Service]
ExecStartPre=-/opt/before
ExecStart=/opt/link infinity
ExecStartPost=/usr/bin/true
BindReadOnlyPaths=/opt/mytrue:/usr/bin/true
";
    let sh = |script: &str| machine.run(&["sh", "-ec", script]);
    sh("cp /usr/bin/sleep /opt/mysleep; ln -s /opt/mysleep /opt/link; cp /usr/bin/true /opt/mytrue; echo >>/opt/mytrue
        printf '#!/bin/sh\n:\n' >/opt/before; chmod 755 /opt/before")?;
    machine.unit(UNIT, TEXT)?;
    let seen = recorded(machine, UNIT, "true")?;
    let rig = prepare(machine, UNIT, "true", &seen)?;
    rig.apply(&[], 0)?;
    let said = rig.says(&["proof", UNIT, "--json"], 0)?;
    let json: Value = serde_json::from_str(&said).context(said)?;
    let proof = &json["proof"];
    ensure!(proof["links"]["/opt/link"] == "/opt/mysleep", "{proof}");
    for path in ["/opt/mysleep", "/opt/before"] {
        ensure!(proof["programs"][path].is_string(), "no {path}: {proof}");
    }
    let not_followed = proof["not_followed"].as_array().context("no list")?;
    ensure!(not_followed.contains(&"/usr/bin/true".into()), "{proof}");
    for (change, what, back) in [
        (
            "ln -sfn /usr/bin/true /opt/link",
            "/opt/link",
            "ln -sfn /opt/mysleep /opt/link",
        ),
        (
            "echo : >>/opt/before",
            "/opt/before",
            "printf '#!/bin/sh\n:\n' >/opt/before",
        ),
    ] {
        sh(change)?;
        let said = rig.says(&["proof", UNIT], 1)?;
        ensure!(said.contains(&format!("{what} was changed")), "{said}");
        sh(back)?;
        rig.says(&["proof", UNIT], 0)?;
    }
    // One that is masked is put back too.
    machine.run(&["systemctl", "stop", UNIT])?;
    sh("rm /run/systemd/system/views.service; systemctl daemon-reload")?;
    rig.says(&["revert", UNIT], 0).map(drop)
}

fn a_trial_is_not_proved_and_a_runtime_is(proved: &Proved<'_>) -> Result<()> {
    let rig = proved.0;
    rig.says(&["revert", NGINX], 0)?;
    // Never through a link.
    proved.sh("mkdir /var/tmp/else; echo >/var/tmp/else/0123456789abcdef.json; mkdir -p /var/lib/harden-apply
               ln -s /var/tmp/else /var/lib/harden-apply/nginx.service")?;
    rig.says(&["revert", NGINX], 1)?;
    proved.sh(
        "test -e /var/tmp/else/0123456789abcdef.json; rm /var/lib/harden-apply/nginx.service",
    )?;
    ensure!(proved.records()?.is_empty());
    rig.says(&["proof", NGINX], 2)?;
    rig.apply(&["--confirm", "1m", "--test", WORK], 0)?;
    let said = rig.says(&["proof", NGINX], 0)?;
    ensure!(said.contains("on trial"), "{said}");
    rig.says(&["confirm", NGINX], 0)?;
    proved.holds()?;
    rig.says(&["revert", NGINX], 0)?;

    rig.apply(&["--runtime"], 0)?;
    let said = rig.says(&["proof", NGINX], 0)?;
    ensure!(
        said.contains("proof holds (no test was run)") && said.contains("/run/harden-apply/"),
        "{said}"
    );
    ensure!(proved.records()?.is_empty());
    rig.says(&["revert", NGINX], 0)?;
    proved
        .sh("! ls /run/harden-apply/*.json 2>/dev/null")
        .map(drop)
}

fn under_firejail_its_profile_counts(proved: &Proved<'_>) -> Result<()> {
    let rig = proved.0;
    let profile = "/etc/firejail/nginx.service.profile";
    rig.apply(&["--backend", "firejail", "--test", WORK], 0)?;
    proved.holds()?;
    let json = proved.json(0)?;
    let programs = &json["proof"]["programs"];
    ensure!(
        programs["/usr/sbin/nginx"].is_string() && programs["/usr/bin/firejail"].is_string(),
        "{json}"
    );
    ensure!(json["proof"]["system"]["firejail"].is_string(), "{json}");
    proved.is_stale_by(
        &format!("cp {profile} /var/tmp/old; echo 'ignore seccomp' >>{profile}"),
        profile,
        "changed",
        &format!("cp /var/tmp/old {profile}"),
    )?;
    let local = "/etc/firejail/globals.local";
    proved.is_stale_by(
        &format!("echo '# nothing' >{local}"),
        local,
        "new",
        &format!("rm {local}"),
    )?;
    rig.says(&["revert", NGINX], 0)?;
    ensure!(proved.records()?.is_empty());
    Ok(())
}

#[test]
fn a_proof_holds_until_what_it_rests_on_is_changed() -> Result<()> {
    let Some(machine) = Machine::here("a proof holds until what it rests on is changed")? else {
        return Ok(());
    };
    files_are_those_that_the_unit_sees(&machine)?;
    let seen = recorded(&machine, NGINX, WORK)?;
    let rig = prepare(&machine, NGINX, WORK, &seen)?;
    let proved = Proved(&rig);
    let done = what_was_tried_is_recorded(&proved)
        .and_then(|()| each_change_is_named(&proved))
        .and_then(|()| a_record_that_was_changed_proves_nothing(&proved))
        .and_then(|()| the_test_has_to_be_over(&proved))
        .and_then(|()| an_upgrade_is_told_at_once(&proved))
        .and_then(|()| a_trial_is_not_proved_and_a_runtime_is(&proved))
        .and_then(|()| under_firejail_its_profile_counts(&proved));
    let _ = fs::remove_file(machine.root().join(&HARDEN[1..]));
    done
}
