//! Brings the kernel objects into the agent's binary.
fn main() {
    let dir = std::env::var("HARDEN_EBPF_OBJECTS").expect("x");
    let out = std::env::var("OUT_DIR").unwrap();
    println!("cargo::rerun-if-env-changed=HARDEN_EBPF_OBJECTS");
    for n in ["harden.bpf.o", "harden-hash.bpf.o"] {
        println!("cargo::rerun-if-changed={dir}/{n}");
        std::fs::copy(format!("{dir}/{n}"), format!("{out}/{n}")).unwrap();
    }
}
