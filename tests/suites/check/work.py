"""Work of many kinds, for the suite `check`: the last word is printed when all of it was done."""
import configparser
import ctypes
import os
import socket
import ssl
import subprocess
import time
import xml.parsers.expat

TOP = "/srv/harden"
HOME = os.path.expanduser("~") + "/.harden"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path):
    with open(path, "wb") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())


time.tzset()
assert read(f"{TOP}/link/f.txt") == b"found\n"
assert read(f"{TOP}/data/a1.txt") == b"1\n"
assert read(f"{TOP}/data/b.txt") == b"2\n"
for path in (f"{TOP}/data/out.txt", "/var/tmp/harden", "/tmp/harden", f"{HOME}/w.ini"):
    write(path)
assert configparser.ConfigParser().read(f"{HOME}/c.ini")
assert read("/etc/ssl/openssl.cnf")
assert socket.getservbyname("http") == 80
assert b"localhost" in read("/etc/hosts")
assert len(read("/usr/share/zoneinfo/Etc/UTC")) > 10
# Of another user, and closed to all.
os.chmod(f"{TOP}/data/out.txt", 0)
os.chown(f"{TOP}/data/out.txt", 65534, 65534)
write(f"{TOP}/data/out.txt")
with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("127.0.0.1", 81))
    tcp.listen()
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
    netlink.bind((0, 0))
with open("/dev/null", "r+b", 0) as null:
    null.write(b"x")
with open("/dev/urandom", "rb", 0) as random:
    assert len(random.read(4)) == 4
assert subprocess.run(["/usr/bin/cat", f"{TOP}/link/f.txt"], stdout=subprocess.PIPE, check=True).stdout
subprocess.run(["/usr/bin/sort", f"{TOP}/data/b.txt"], stdout=subprocess.DEVNULL, check=True)
assert b"Pid:" in read("/proc/self/status")
os.mkdir(f"{TOP}/data/d")
os.rename(f"{TOP}/data/d", f"{TOP}/data/d2")
os.rmdir(f"{TOP}/data/d2")
assert read("/sys/kernel/mm/transparent_hugepage/enabled")
print("all of it was done")
