//! `arch=` and `syscall=` of a record → the call.

use std::{fmt, str::FromStr as _};

use crate::collect::call_name;
use crate::observation::{Abi, Word};

/// The architecture whose table of calls a number is of (`AUDIT_ARCH_*`, include/uapi/linux/audit.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Convention {
    /// One with a name.
    Named(&'static str),
    /// The calls of x32: `AUDIT_ARCH_X86_64`, and bit 30 of the number.
    X32,
    /// Another number.
    Numbered(u32),
    /// None: kernels before 3.16 do not say.
    Unsaid,
}

/// Names as `uname -m` has them, which are also those of `ausearch --interpret`.
const NAMES: [(u32, &str); 22] = [
    (0xc000_003e, "x86_64"),
    (0x4000_0003, "i386"),
    (0xc000_00b7, "aarch64"),
    (0x4000_0028, "arm"),
    (0x0000_0028, "armeb"),
    (0xc000_00f3, "riscv64"),
    (0x4000_00f3, "riscv32"),
    (0x8000_0015, "ppc64"),
    (0xc000_0015, "ppc64le"),
    (0x0000_0014, "ppc"),
    (0x8000_0016, "s390x"),
    (0x0000_0016, "s390"),
    (0x0000_0008, "mips"),
    (0x4000_0008, "mipsel"),
    (0x8000_0008, "mips64"),
    (0xc000_0008, "mipsel64"),
    (0xa000_0008, "mips64n32"),
    (0xe000_0008, "mipsel64n32"),
    (0xc000_0102, "loongarch64"),
    (0xc000_0032, "ia64"),
    (0x0000_0002, "sparc"),
    (0x8000_002b, "sparc64"),
];

const X86_64: Convention = Convention::Named("x86_64");
const I386: Convention = Convention::Named("i386");
const AARCH64: Convention = Convention::Named("aarch64");

/// `__X32_SYSCALL_BIT`
const X32: u32 = 1 << 30;

impl Convention {
    fn parse(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let named = |name: &str| NAMES.iter().find(|(_, known)| *known == name);
        if let Some((_, name)) = named(&text) {
            return Self::Named(name);
        }
        let Ok(number) = u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16) else {
            return Self::Unsaid;
        };
        let known = NAMES.iter().find(|(known, _)| *known == number);
        known.map_or(Self::Numbered(number), |(_, name)| Self::Named(name))
    }

    /// Its ABI in an observation, where harden has a table of its calls.
    #[must_use]
    pub fn abi(self) -> Option<Abi> {
        match self {
            X86_64 | AARCH64 => Some(Abi::Native),
            I386 => Some(Abi::Ia32),
            Self::X32 => Some(Abi::X32),
            _ => None,
        }
    }

    fn has(self, name: &str) -> bool {
        match self {
            X86_64 | Self::X32 => syscalls::x86_64::Sysno::from_str(name).is_ok(),
            I386 => syscalls::x86::Sysno::from_str(name).is_ok(),
            AARCH64 => syscalls::aarch64::Sysno::from_str(name).is_ok(),
            _ => false,
        }
    }

    fn name(self, number: u32) -> Option<&'static str> {
        match self {
            AARCH64 => syscalls::aarch64::Sysno::new(number as usize).map(|call| call.name()),
            _ => call_name(self.abi()?, number),
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => out.write_str(name),
            Self::X32 => out.write_str("x32"),
            Self::Numbered(number) => write!(out, "architecture 0x{number:x}"),
            Self::Unsaid => out.write_str("unknown architecture"),
        }
    }
}

/// A call by its number, or by its name where a log has it interpreted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// Whose call.
    pub convention: Convention,
    /// Its name, or `syscall-1000`.
    pub name: Word,
    /// Whether the table of the architecture has that name.
    pub is_named: bool,
}

impl Call {
    /// `None` if `syscall` is neither a number nor a name.
    pub(super) fn parse(arch: Option<&[u8]>, syscall: &[u8]) -> Option<Self> {
        let convention = arch.map_or(Convention::Unsaid, Convention::parse);
        let text = str::from_utf8(syscall).ok()?;
        // What ausearch has no name for either.
        let unnamed = text.strip_prefix("unknown-syscall(");
        let digits = unnamed.map_or(text, |rest| rest.trim_end_matches(')'));
        // The kernel prints a `long`: -1 is what a program may have called.
        match digits.parse::<i64>() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Ok(number) => Some(Self::numbered(convention, number as u32)),
            Err(_) => Some(Self {
                convention,
                name: Word::new(text).ok()?,
                is_named: convention.has(text),
            }),
        }
    }

    fn numbered(convention: Convention, number: u32) -> Self {
        let (convention, number) = match convention {
            X86_64 if number & X32 != 0 && number >> 31 == 0 => (Convention::X32, number & !X32),
            other => (other, number),
        };
        let name = convention.name(number);
        Self {
            convention,
            name: name
                .and_then(|name| Word::new(name).ok())
                .unwrap_or_else(|| Word::numbered("syscall", number)),
            is_named: name.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_of_its_architecture() {
        for (arch, syscall, expected) in [
            ("c000003e", "201", "x86_64 time"),
            ("c000003e", "202", "x86_64 futex"),
            ("40000003", "39", "i386 mkdir"),
            ("c000003e", "1073741825", "x32 write"),
            ("c000003e", "1073742336", "x32 rt_sigaction"),
            ("c000003e", "-1", "x86_64 syscall-4294967295"),
            ("c000003e", "1000", "x86_64 syscall-1000"),
            ("c00000b7", "98", "aarch64 futex"),
            ("40000028", "5", "arm syscall-5"),
            ("1234", "5", "architecture 0x1234 syscall-5"),
            ("x86_64", "futex", "x86_64 futex"),
            ("i386", "unknown-syscall(999)", "i386 syscall-999"),
            ("x y", "5", "unknown architecture syscall-5"),
        ] {
            let call = Call::parse(Some(arch.as_bytes()), syscall.as_bytes()).unwrap();
            assert_eq!(format!("{} {}", call.convention, call.name), expected);
        }
        assert_eq!(Call::parse(None, b""), None);
        assert_eq!(Call::parse(None, b"a b"), None);
    }
}
