//! `python3 -m http.server`, recorded, enforced, mutated.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use harden_tests::{
    Process, Scratch, firejail, harden, http, met, mutation::assert_each_is_needed, network,
};

/// More than any buffer on its way.
const BIG: usize = 16 << 20;

pub(super) fn site() -> Result<Scratch> {
    let site = Scratch::new(Path::new("/srv"))?;
    fs::write(site.path().join("hello.txt"), "good morning\n")?;
    fs::write(site.path().join("big"), vec![b'x'; BIG])?;
    fs::create_dir(site.path().join("below"))?;
    fs::write(site.path().join("below/index.html"), "<p>below</p>")?;
    Ok(site)
}

pub(super) fn server(site: &Scratch, port: &str) -> Vec<String> {
    // By its full path: a wrapper of the user's would be recorded in its place.
    let site = site.path().to_string_lossy();
    [
        "/usr/bin/python3",
        "-m",
        "http.server",
        "--directory",
        &site,
        port,
    ]
    .map(str::to_owned)
    .to_vec()
}

pub(super) fn browse(server: &mut Process, port: u16) -> Result<()> {
    let listing = server.until(|| http::get(port, "/"))?.expect(200)?;
    let listing = String::from_utf8_lossy(&listing.body).into_owned();
    for name in ["hello.txt", "big", "below/"] {
        ensure!(listing.contains(name), "no {name} in {listing}");
    }
    http::get(port, "/hello.txt")?
        .expect(200)?
        .with_body(b"good morning\n")?;
    http::get(port, "/below/")?
        .expect(200)?
        .with_body(b"<p>below</p>")?;
    http::get(port, "/none")?.expect(404)?;
    let head = http::request(port, "HEAD", "/hello.txt")?.expect(200)?;
    ensure!(head.head.contains("Content-Length: 13"), "{}", head.head);
    ensure!(head.body.is_empty(), "a body after HEAD");
    http::get(port, "/big")?
        .expect(200)?
        .with_body(&vec![b'x'; BIG])?;
    Ok(())
}

#[test]
fn on_a_high_port_it_needs_no_capability() -> Result<()> {
    if !met("http_server", &["/usr/bin/python3", "ip"]) {
        return Ok(());
    }
    network::private(|| {
        let site = site()?;
        let command = server(&site, "8000");
        let work = |server: &mut Process| browse(server, 8000);
        let profile = harden::record_daemon("http-server", &[], &command, work)?.profile;

        assert!(profile.has("caps.drop all"), "{profile:?}");
        firejail::run(&profile, &command, work)?;
        assert_each_is_needed(
            &profile,
            &[
                ("seccomp.keep", "bind"),
                ("seccomp.keep", "getdents64"),
                ("protocol", "inet"),
                ("private-bin", "python3"),
            ],
            &command,
            || Ok(()),
            work,
        );
        Ok(())
    })
}

#[test]
fn on_port_80_it_needs_one() -> Result<()> {
    if !met("http_server on port 80", &["/usr/bin/python3", "ip"]) {
        return Ok(());
    }
    network::private(|| {
        let site = site()?;
        let command = server(&site, "80");
        let work = |server: &mut Process| browse(server, 80);
        let profile = harden::record_daemon("http-server-80", &[], &command, work)?.profile;

        assert_eq!(profile.list("caps.keep"), ["net_bind_service"]);
        firejail::run(&profile, &command, work)?;
        let needed = [("caps.keep", "net_bind_service")];
        assert_each_is_needed(&profile, &needed, &command, || Ok(()), work);
        Ok(())
    })
}
