//! What the rendered files say of one of their own directives.

/// The lines of `text` about `directive`: where it is given, with the evidence above it; where it is left out, why.
pub(super) struct Lines<'a> {
    /// Whether it is given.
    pub given: bool,
    pub lines: Vec<&'a str>,
}

pub(super) fn about<'a>(text: &'a str, directive: &str) -> Lines<'a> {
    let mut found = Lines {
        given: false,
        lines: Vec::new(),
    };
    let mut evidence: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(remark) = line.strip_prefix("# ") {
            if is_unseen(remark, directive) {
                found.given = true;
                found.lines.push(line);
                evidence.push(line);
            } else if names(remark, "no ", directive) || names(remark, "not kept: ", directive) {
                found.lines.push(line);
            } else if !remark.starts_with("no ") && !remark.starts_with("not kept: ") {
                evidence.push(line);
            }
            continue;
        }
        if is(line, directive) {
            found.given = true;
            found.lines.append(&mut evidence);
            found.lines.push(line);
        }
        evidence.clear();
    }
    found
}

/// Whether the remark says why `name` is on a list although nothing asked for it: there is nothing else to say of it.
fn is_unseen(remark: &str, name: &str) -> bool {
    let rest = remark.strip_prefix(name);
    let reasons = [": not seen; ", ": the shell through which "];
    rest.is_some_and(|rest| reasons.iter().any(|reason| rest.starts_with(reason)))
}

/// Whether the remark is `INTRODUCTION`, the directive, and what is no more of its name.
fn names(remark: &str, introduction: &str, directive: &str) -> bool {
    let rest = remark.strip_prefix(introduction);
    let rest = rest.and_then(|rest| rest.split_at_checked(directive.len()));
    rest.is_some_and(|(name, behind)| {
        name.eq_ignore_ascii_case(directive) && behind.starts_with([':', '=', ' '])
    })
}

/// `private-tmp`, `caps.keep chown`, `PrivateTmp=yes`
fn is(line: &str, directive: &str) -> bool {
    let name = line.split([' ', '=']).next().unwrap_or_default();
    name.eq_ignore_ascii_case(directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Firejail profile for d

# chown: /usr/sbin/d; 1 run
caps.keep chown
# read: /usr/sbin/d; 1 run
# time: not seen; vDSO: no call where the vDSO can answer
seccomp.keep read,time
# not kept: sys_admin: only a question
# no private-tmp: it was listed
# no private-tmp: and 3 more
private-dev
";

    #[test]
    fn a_directive_comes_with_its_evidence_and_a_missing_one_with_its_reasons() {
        let caps = about(TEXT, "caps.keep");
        assert!(caps.given);
        assert_eq!(
            caps.lines,
            ["# chown: /usr/sbin/d; 1 run", "caps.keep chown"]
        );
        let tmp = about(TEXT, "private-tmp");
        assert!(!tmp.given);
        assert_eq!(tmp.lines.len(), 2);
        assert_eq!(about(TEXT, "private-dev").lines, ["private-dev"]);
        assert!(!about(TEXT, "sys_admin").given);
        assert_eq!(about(TEXT, "sys_admin").lines.len(), 1);
        assert!(about(TEXT, "private").lines.is_empty());
        let unseen = about(TEXT, "time");
        assert!(unseen.given);
        assert_eq!(unseen.lines.len(), 1);
        assert!(about(TEXT, "read").lines.is_empty());
        assert_eq!(about(TEXT, "seccomp.keep").lines.len(), 3);
        assert_eq!(
            about("PrivateTmp=yes\n", "privatetmp").lines,
            ["PrivateTmp=yes"]
        );
    }
}
