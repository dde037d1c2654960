//! The command `harden`.

fn main() {
    let p = match harden_agent::probe::Probe::load(&Default::default()) {
        Ok(p) => p,
        Err(e) => {
            println!("{e}");
            return;
        }
    };
    for (k, v) in p.hooks() {
        println!("{k}: {v}");
    }
}
