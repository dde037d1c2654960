//! The command `harden`.
fn main() {
    let command: Vec<_> = std::env::args_os().skip(1).collect();
    let options = harden_agent::run::Options {
        command,
        task_hash: std::env::var_os("HASH").is_some(),
        ..Default::default()
    };
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match rt.block_on(harden_agent::run::record(&options, |_| ())) {
        Ok(r) => {
            eprintln!("{}", serde_json::to_string_pretty(&r.run).unwrap());
        }
        Err(e) => {
            eprintln!("harden: {e}");
        }
    }
}
