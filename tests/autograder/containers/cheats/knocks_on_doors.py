"""Tries to open the network, the engine's socket and the kernel's back doors."""

ROW = 12
REASON = "wrong"

import ctypes
import os
import socket

for family in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_BLUETOOTH", "AF_ALG"):
    try:
        socket.socket(getattr(socket, family), socket.SOCK_STREAM if family != "AF_PACKET" else socket.SOCK_RAW).close()
        print("OPEN", family)
    except (OSError, AttributeError):
        pass
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/dev/mem", "/dev/kmsg"):
    if os.access(path, os.W_OK):
        print("OPEN", path)
for name in ("/proc/sys/kernel/core_pattern", "/sys/fs/cgroup/release_agent", "/proc/sysrq-trigger", "/etc/passwd"):
    try:
        os.close(os.open(name, os.O_WRONLY))
        print("OPEN", name)
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
for name, number in (("ptrace", 101), ("io_uring_setup", 425), ("bpf", 321), ("unshare", 272), ("keyctl", 250)):
    arguments = (0x10000000,) if name == "unshare" else (0, 0, 0, 0, 0)
    if os.uname().machine == "x86_64" and libc.syscall(number, *arguments) >= 0:
        print("OPEN", name)
for line in open("/proc/self/status"):
    if line.startswith(("CapEff", "CapBnd", "CapPrm")) and int(line.split()[1], 16):
        print("OPEN", line.strip())
    if line.startswith("NoNewPrivs") and line.split()[1] != "1":
        print("OPEN", line.strip())
if os.getuid() == 0:
    print("OPEN root")
names = os.listdir("/sys/class/net") if os.path.isdir("/sys/class/net") else []
if set(names) - {"lo"}:
    print("OPEN interfaces", names)


def double(x):
    return x
