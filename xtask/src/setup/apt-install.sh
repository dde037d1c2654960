#!/bin/sh
# apt-install.sh PACKAGE...: installs Debian packages without letting the daemons among them
# start, now or at the next boot. Run as root. The machine's own policy is back afterwards,
# also after an interruption; after a SIGKILL the next run restores it.
set -eu

policy=/usr/sbin/policy-rc.d
saved=$policy.before-harden
wants=/etc/systemd/system/multi-user.target.wants

# Two runs at a time would take each other's policy for the machine's.
exec 9>/run/lock/harden-apt-install
flock 9

enabled() { ls "$wants" 2>/dev/null || true; }

restore() {
    if grep -qs 'written by harden' "$policy"; then
        rm -f "$policy"
    fi
    if [ -e "$saved" ]; then
        mv -f "$saved" "$policy"
    fi
}

restore
trap restore EXIT
trap 'exit 130' HUP INT TERM
if [ -e "$policy" ]; then
    mv "$policy" "$saved"
fi
# 101: 'action forbidden by policy'.
printf '#!/bin/sh\n# written by harden for the time of one installation\nexit 101\n' >"$policy"
chmod 755 "$policy"

before=$(enabled)
# --no-remove: a package that conflicts with one of the user's is the user's decision.
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends --no-remove \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -- "$@" 9>&-

if command -v systemctl >/dev/null; then
    for unit in $(enabled); do
        case "
$before
" in
        *"
$unit
"*) ;;
        *) systemctl disable --quiet "$unit" ;;
        esac
    done
fi
