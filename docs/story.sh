#!/bin/sh
# From a daemon that runs as root with every privilege to a profile that is proved, and on to the next version of the
# daemon: docs/story.md goes through it. Needs root, systemd, the agent (docs/install.md), python3 and curl. It makes the
# service restd-story, and removes it and all that belongs to it at the end.
set -eu

UNIT=restd-story
PROGRAM=/usr/local/bin/$UNIT
TEST=/usr/local/bin/$UNIT-test
OVERRIDES=/etc/harden/overrides/$UNIT.service.toml

say() { printf '\n## %s\n' "$*"; }
# Shows a command, and runs it.
run() {
	printf '$ %s\n' "$*"
	"$@"
}
# The same of a command that has to end with this status.
ends_with() {
	expected=$1
	shift
	printf '$ %s\n' "$*"
	status=0
	"$@" || status=$?
	[ "$status" = "$expected" ] || {
		echo "story: $* ended with $status, not with $expected" >&2
		exit 1
	}
}

clean() {
	harden shadow $UNIT --off >/dev/null 2>&1 || :
	harden revert $UNIT >/dev/null 2>&1 || :
	systemctl stop $UNIT 2>/dev/null || :
	rm -f $PROGRAM $TEST $OVERRIDES /etc/systemd/system/$UNIT.service
	rm -rf /var/lib/$UNIT
	systemctl daemon-reload
	harden forget $UNIT.service >/dev/null 2>&1 || :
}
clean
trap clean EXIT

# The daemon: a REST interface on port 443 (without TLS, which would only make it longer) that keeps values in files.
install -m 755 /dev/stdin $PROGRAM <<'PYTHON'
#!/usr/bin/python3
import http.server, os

DIRECTORY = "/var/lib/restd-story"

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode() + b"\n")

    def do_PUT(self):
        with open(DIRECTORY + "/value", "wb") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer("stored")

    def do_GET(self):
        # NEXT VERSION
        with open(DIRECTORY + "/value") as file:
            self.answer(file.read())

    def log_message(self, *rest):
        pass

os.makedirs(DIRECTORY, exist_ok=True)
http.server.HTTPServer(("127.0.0.1", 443), Handler).serve_forever()
PYTHON
cat >/etc/systemd/system/$UNIT.service <<EOF
[Unit]
Description=A daemon to be confined
[Service]
ExecStart=$PROGRAM
EOF
# Its gate test.
install -m 755 /dev/stdin $TEST <<'SHELL'
#!/bin/sh
set -e
ask() { curl -sSf --retry 20 --retry-connrefused --retry-delay 1 -m 30 "$@"; }
ask -X PUT -d hello http://127.0.0.1:443/value | grep -q stored
ask http://127.0.0.1:443/value | grep -q hello
for page in "$@"; do
	ask "http://127.0.0.1:443/$page" | grep -q .
done
SHELL
systemctl daemon-reload

say "1. Observe: two starts, and the gate test in each. The agent records; nothing else is needed."
for life in first second; do
	run systemctl restart $UNIT
	run harden mark gate-$life --unit $UNIT
	run $TEST
	run systemctl stop $UNIT
done
run systemctl start $UNIT
run harden units $UNIT.service

say "2. Shadow: what would the profile refuse? Nothing is enforced, and nothing restarts."
run harden shadow $UNIT
for test in a b c; do
	run harden mark shadow-$test --unit $UNIT
	run $TEST
done
run harden mark --end --unit $UNIT
run harden shadow $UNIT --ready --tests 3

say "3. Apply: it is installed, looked at, tested, and kept. Had the test failed, the unit would be as it was."
run harden apply $UNIT --test $TEST
run harden proof $UNIT

say "4. The next version reports how much of the disk is free. The proof no longer holds, and the new page fails."
sed -i 's|# NEXT VERSION|if self.path == "/disk": return self.answer(str(os.statvfs(DIRECTORY).f_bfree))|' $PROGRAM
ends_with 1 harden proof $UNIT
run systemctl restart $UNIT
ends_with 1 $TEST disk

say "5. Why? One command says which line refused what."
ends_with 1 harden why $UNIT

say "6. Accept it, and apply again, with a test of the new page."
ends_with 1 harden why $UNIT --accept
run cat $OVERRIDES
run harden apply $UNIT --test "$TEST disk"
run harden proof $UNIT
run harden status
