//! Where the kernel's functions are that ask for a capability without needing it.

use std::fs;

use bstr::ByteSlice as _;

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
    find(&fs::read("/proc/kallsyms").unwrap_or_default())
}

/// Among two hundred thousand lines, `ADDRESS TYPE NAME` each, with a fourth field for what modules have.
fn find(symbols: &[u8]) -> [[u64; 2]; FUNCTIONS] {
    let starts = NOAUDIT.iter().filter_map(|name| {
        let end = symbols.find(format!(" {name}\n"))?;
        let line = symbols[..end]
            .rfind_byte(b'\n')
            .map_or(0, |before| before + 1);
        address(&symbols[line..]).filter(|start| *start != 0)
    });
    let mut ranges = [[0; 2]; FUNCTIONS];
    for (range, start) in ranges.iter_mut().zip(starts) {
        *range = [start, start];
    }
    for next in symbols.split(|byte| *byte == b'\n').filter_map(address) {
        for [start, end] in &mut ranges {
            // The file is in no order that could be relied on.
            if *start != 0 && next > *start && (*end == *start || next < *end) {
                *end = next;
            }
        }
    }
    ranges
}

/// The address that a line begins with.
fn address(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b' ').next()?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let symbols =
            b"ffff20 T later\nffff00 T cap_vm_enough_memory\nffff10 t next\nfff000 t before\n";
        assert_eq!(find(symbols)[0], [0xff_ff00, 0xff_ff10]);
        assert_eq!(find(symbols)[1], [0; 2]);
    }

    #[test]
    fn hidden_addresses_give_nothing() {
        assert_eq!(
            find(b"0000000000000000 T cap_vm_enough_memory\n"),
            [[0; 2]; 6]
        );
    }
}
