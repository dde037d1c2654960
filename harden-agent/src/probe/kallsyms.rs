//! Where the kernel's functions are that ask for a capability without needing it.

use std::fs;

/// Functions that call `cap_capable` with `CAP_OPT_NOAUDIT` (kernel/capability.c, security/commoncap.c):
/// what they are told changes a number or a listing, never whether the call is allowed.
/// `cap_vm_enough_memory` calls it as its last act, so that its own frame is gone from the stack
/// (6.18): its caller `security_vm_enough_memory_mm` is there.
const NOAUDIT: [&str; 5] = [
    "security_vm_enough_memory_mm",
    "cap_vm_enough_memory",
    "ns_capable_noaudit",
    "has_capability_noaudit",
    "has_ns_capability_noaudit",
];

/// Entries of the kernel side's table.
pub(super) const FUNCTIONS: usize = 6;

/// First and last address of each function found, the rest zero. All zero where `/proc/kallsyms`
/// hides addresses (`kptr_restrict`).
#[must_use]
pub(super) fn noaudit_callers() -> [[u64; 2]; FUNCTIONS] {
    find(&fs::read_to_string("/proc/kallsyms").unwrap_or_default())
}

fn find(symbols: &str) -> [[u64; 2]; FUNCTIONS] {
    let mut addresses: Vec<u64> = Vec::with_capacity(200_000);
    let mut starts = Vec::new();
    for line in symbols.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            // Modules have a fourth field.
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else {
            continue;
        };
        if address == 0 {
            continue;
        }
        addresses.push(address);
        if NOAUDIT.contains(&name) {
            starts.push(address);
        }
    }
    let mut ranges = [[0; 2]; FUNCTIONS];
    for (range, start) in ranges.iter_mut().zip(starts) {
        // The file is in no order that could be relied on.
        let next = addresses
            .iter()
            .copied()
            .filter(|&address| address > start)
            .min();
        *range = [start, next.unwrap_or(start)];
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let symbols = "ffff20 T later\nffff00 T cap_vm_enough_memory\nffff10 t next\nffff08 t in_module\t[m]\n";
        assert_eq!(find(symbols)[0], [0xff_ff00, 0xff_ff10]);
    }

    #[test]
    fn hidden_addresses_give_nothing() {
        assert_eq!(
            find("0000000000000000 T cap_vm_enough_memory\n"),
            [[0; 2]; 6]
        );
    }
}
