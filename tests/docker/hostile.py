"""Programs that mean harm, and what has to become of each.

A program tells by its exit code: 0 where everything that it tried was refused, 9 with a word for
whatever it got through. Those that are ended say by which reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schemas.reason import Reason

PREFIX = """
import ctypes, os, pathlib, resource, signal, socket, stat, subprocess, sys, threading, time
got = []
def tries(word, action):
    try:
        result = action()
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError):
        return
    got.append(f"{word}: {result!r}")
def tell():
    if got:
        print("got through:", *got, sep="\\n", flush=True)
    os._exit(9 if got else 0)
outputs = pathlib.Path(os.environ["STOKER_OUTPUTS"])
"""


@dataclass(frozen=True)
class Hostile:
    """One program, what it is allowed, and how it has to end."""

    code: str
    spec: dict[str, Any] = field(default_factory=dict)
    reason: Reason = Reason.EXIT
    code_at_end: int | None = 0
    """None where a signal may have ended it."""
    says: str = ""
    """What the reason's words must hold."""


FORK_BOMB = """
made = 0
try:
    while made < 5000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except BlockingIOError:
    os._exit(0 if made < 128 else 9)
os._exit(9)
"""

THREAD_BOMB = """
threading.stack_size(65536)
made = 0
try:
    while made < 5000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        made += 1
except RuntimeError:
    os._exit(0 if made < 128 else 9)
os._exit(9)
"""

MEMORY_BOMB = """
held = []
while True:
    held.append(bytearray(b"x") * (8 << 20))
"""

TMP_BOMB = """
for place in ("/tmp", "/dev/shm"):
    with open(f"{place}/bomb", "wb") as file:
        try:
            for _ in range(1 << 12):
                file.write(bytes(1 << 20))
                file.flush()
        except OSError:
            pass
"""

DISK_FILLER = """
for number in range(10_000):
    with open(outputs / f"{number}.bin", "wb") as file:
        file.write(os.urandom(1 << 20))
    time.sleep(0.002)
"""

LONG_FILE = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def sparse():
    with open(outputs / "sparse", "wb") as file:
        file.truncate(1 << 40)
        return "a file of 1 TiB"
tries("sparse", sparse)
tell()
"""

LOG_FLOOD = """
block = b"x" * 999 + b"\\n"
for _ in range(100_000):
    os.write(1, block * 8)
"""

LONG_LINE = """
for _ in range(64):
    os.write(1, b"y" * (1 << 20))
"""

IGNORES_TERM = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
time.sleep(600)
"""

DAEMON = """
if os.fork() == 0:
    os.setsid()
    for descriptor in range(3):
        os.close(descriptor)
    time.sleep(600)
"""

ZOMBIES = """
for _ in range(60):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
time.sleep(0.5)
left = [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit()
        and "State:\\tZ" in (p / "status").read_text()]
os._exit(9 if len(left) > 2 else 0)
"""

SOCKETS = """
for place in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
              "/run/dbus/system_bus_socket", "/run/podman/podman.sock"):
    tries(place, lambda: socket.socket(socket.AF_UNIX).connect(place))
found = [str(p) for top in ("/run", "/var/run", "/job", "/outputs", "/tmp")
         for p in pathlib.Path(top).rglob("*") if p.is_socket()]
if found:
    got.append(f"sockets {found}")
tell()
"""

NETWORK = """
def reach(address, port):
    connection = socket.create_connection((address, port), timeout=2)
    return connection.getpeername()
for address in ("169.254.169.254", "172.17.0.1", "10.0.0.1", "192.168.0.1", "1.1.1.1"):
    for port in (22, 53, 80, 4222):
        tries(address, lambda: reach(address, port))
tries("name", lambda: socket.gethostbyname("example.com"))
tries("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
tries("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tell()
"""

DEVICES = """
def node(number):
    os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(*number))
    return os.open("/tmp/disk", os.O_RDONLY)
for number in ((8, 0), (259, 0), (7, 0), (1, 1)):
    tries("device", lambda: node(number))
for name in ("mem", "kmem", "port", "sda", "vda", "nvme0n1", "loop0", "kvm", "fuse", "kmsg"):
    tries(name, lambda: os.open(f"/dev/{name}", os.O_RDONLY))
tell()
"""

KERNEL = """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/panic_on_oom",
             "/sys/fs/cgroup/release_agent", "/sys/kernel/uevent_helper",
             "/proc/self/oom_score_adj", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
             "/sys/fs/cgroup/cgroup.procs"):
    value = "-1000" if path.endswith("oom_score_adj") else "0"
    tries(path, lambda: pathlib.Path(path).write_text(value))
for path in ("/proc/kcore", "/proc/1/root/etc/shadow", "/etc/shadow",
             "/sys/firmware/dmi/tables/DMI", "/proc/kmsg"):
    tries(path, lambda: os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 16))
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)
    return "done"
tries("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
tries("chroot", lambda: os.chroot("/tmp"))
tries("setuid", lambda: os.setuid(0))
tries("namespaces", lambda: call("unshare", 0x10000000 | 0x00020000))
tries("hostname", lambda: call("sethostname", b"x", 1))
tries("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
tries("keyring", lambda: call("syscall", 248, b"user", b"x", b"x", 1, -1))
tell()
"""

ROOT_FILES = """
for place in ("/", "/etc", "/usr", "/var", "/root", "/home", "/opt", "/run", "/dev", "/proc",
              "/sys"):
    tries(place, lambda: pathlib.Path(place, "stoker-was-here").write_text("x"))
shell = "/tmp/shell"
import shutil
shutil.copy("/bin/sh", shell)
os.chmod(shell, 0o4755)
who = subprocess.run([shell, "-pc", "id -u"], capture_output=True, text=True).stdout.strip()
if who == "0":
    got.append("a shell of root's")
tell()
"""

LIMITS = """
for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
    soft, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY:
        got.append(f"no limit {kind}")
    tries("limit", lambda: resource.setrlimit(kind, (hard + 1, hard + 1)))
os.close(os.open("/tmp/x", os.O_CREAT | os.O_WRONLY))
held = []
try:
    while len(held) < 100_000:
        held.append(os.open("/tmp/x", os.O_RDONLY))
    got.append("100,000 open files")
except OSError:
    pass
for descriptor in held:
    os.close(descriptor)
tell()
"""

SECRETS = """
for variable in os.environ:
    if variable.startswith(("DOCKER", "NATS", "STOKER_SERVER", "STOKER_CONFIG")):
        got.append(variable)
for top in ("/job", "/outputs", "/checkpoints", "/tmp", "/run", "/etc"):
    for path in pathlib.Path(top).rglob("*"):
        if path.suffix in (".creds", ".nk") or path.name in ("notes.msgpack", "agent.toml"):
            got.append(str(path))
mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
# Where it prints, two pipes of its own, and where it is told why it is stopped: no room for more.
its = ("/run/stoker", "/run/stoker-stop")
odd = [m for m in mounts if "stoker" in m or m.startswith(("/host", "/var/lib"))]
got.extend(m for m in odd if m not in its)
for place in its:
    try:
        pathlib.Path(place, "more").touch()
        got.append(place)
    except OSError:
        pass
tell()
"""

SMALL = {"resources": {"memory": "128m", "pids": 64}}

HOSTILE = {
    "fork bomb": Hostile(FORK_BOMB, {"resources": {"pids": 128}}),
    "thread bomb": Hostile(THREAD_BOMB, {"resources": {"pids": 128}}),
    "memory bomb": Hostile(MEMORY_BOMB, SMALL, Reason.OOM, None, "memory limit"),
    "memory file bomb": Hostile(TMP_BOMB, SMALL, Reason.OOM, None, "memory limit"),
    "disk filler": Hostile(
        DISK_FILLER,
        {"resources": {"disk": "64m"}, "grace": 1},
        Reason.OUTPUTS_TOO_LARGE,
        None,
        "more than the 64 MiB of disk",
    ),
    "file that is too long": Hostile(LONG_FILE, {"resources": {"disk": "64m"}}),
    "log flood": Hostile(LOG_FLOOD),
    "line without an end": Hostile(LONG_LINE),
    "ignores every signal": Hostile(
        IGNORES_TERM, {"timeout": 1, "grace": 1}, Reason.TIMEOUT, None, "time limit"
    ),
    "daemon that stays behind": Hostile(DAEMON),
    "zombie maker": Hostile(ZOMBIES),
    "socket searcher": Hostile(SOCKETS),
    "network prober": Hostile(NETWORK),
    "device poker": Hostile(DEVICES),
    "kernel prober": Hostile(KERNEL),
    "writes everywhere": Hostile(ROOT_FILES),
    "limit lifter": Hostile(LIMITS),
    "secret searcher": Hostile(SECRETS),
}
