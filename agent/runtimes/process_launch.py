"""How does a shim run a program as a plain process? No sandbox: it runs as the agent's user."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.folder import AttemptFolder
from agent.handing import NONE, Secrets
from agent.runtimes.cores import pinned
from agent.runtimes.process_secrets import place_of, remove, with_secrets
from agent.runtimes.process_tree import kill_tree, reap_strays, tree_use
from agent.runtimes.protocol import CannotLaunch, Exit, Launch, Launched, Source, Use
from schemas.reason import Reason
from schemas.stream import Stream

PIPE_BYTES = 256 << 10
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: what daemonizes becomes a child of the shim and is found again."""
DEFAULTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


class ProcessLauncher:
    def launch(self, launch: Launch, secrets: Secrets = NONE) -> Launched:
        become_subreaper()
        place = place_of(Path(launch.folder))
        environment = with_secrets(launch.environment, secrets, place)
        pipes: list[tuple[int, int]] = []
        try:
            os.chdir(AttemptFolder(Path(launch.folder)).job)
            pipes = [os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)]
            with pinned(launch.details.get("cores", ())):
                pid = spawn(launch.command, environment, pipes[0][1], pipes[1][1])
        except OSError as error:
            remove(place)
            for pair in pipes:
                os.close(pair[0])
            raise CannotLaunch(f"cannot start {launch.command[0]}: {error.strerror}") from error
        finally:
            for pair in pipes:
                os.close(pair[1])
        sources = (PipeSource(pipes[0][0], Stream.STDOUT), PipeSource(pipes[1][0], Stream.STDERR))
        return ProcessLaunched(pid, sources, launch.limits.pids, place)

    def recover(self, launch: Launch) -> None:
        """Kills the session of a program whose shim died, unless its id went to another one."""
        remove(place_of(Path(launch.folder)))
        started = AttemptFolder(Path(launch.folder)).started()
        if started is None:
            return
        pid, _, born = started["identity"].partition("@")
        if born and birth(int(pid)) == born:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(pid), signal.SIGKILL)


LAUNCHER = ProcessLauncher()
LIBC = ctypes.CDLL(None)


def spawn(command: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int) -> int:
    """Starts the command in a session and group of its own; standard input is empty."""
    return os.posix_spawn(
        command[0],
        tuple(command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ],
        setsid=True,
        setsigdef=DEFAULTS,
        setsigmask=(),
    )


class PipeSource:
    """The read end of the program's stdout or stderr."""

    lasting = True

    def __init__(self, descriptor: int, stream: Stream) -> None:
        self._descriptor = descriptor
        self._stream = stream
        os.set_blocking(descriptor, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> Sequence[tuple[Stream, bytes]] | None:
        try:
            data = os.read(self._descriptor, PIPE_BYTES)
        except BlockingIOError:
            return ()
        return ((self._stream, data),) if data else None


class ProcessLaunched:
    """One process, its group, and whatever descends from it."""

    def __init__(self, pid: int, sources: Sequence[Source], most: int, secrets: Path) -> None:
        self._pid = pid
        self._most = most
        """Processes that it may have."""
        self._sources = sources
        self._secrets = secrets
        self._exited = exit_descriptor(pid)
        self._exit: Exit | None = None
        self._identity = f"{pid}@{birth(pid)}"

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def sources(self) -> Sequence[Source]:
        return self._sources

    @property
    def exited(self) -> int:
        return self._exited

    def exit(self) -> Exit | None:
        if self._exit is None:
            pid, status, usage = os.wait4(self._pid, os.WNOHANG)
            if pid == 0:
                return None
            self._exit = exit_of(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
        return self._exit

    def regain(self) -> Exit | None:
        return self.exit()

    def use(self) -> Use | None:
        reap_strays(self._pid)
        return tree_use(self._most)

    def signal(self, number: int) -> None:
        if self._exit is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        kill_tree()

    def close(self) -> None:
        os.close(self._exited)
        for source in self._sources:
            os.close(source.fileno())
        remove(self._secrets)


def exit_of(code: int, peak_kib: int) -> Exit:
    peak = peak_kib * (1 if sys.platform == "darwin" else 1024)
    if code >= 0:
        return Exit(code=code, peak_memory=peak)
    detail = f"ended by {signal_name(-code)}"
    return Exit(Reason.EXIT, signal=-code, detail=detail, peak_memory=peak)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def become_subreaper() -> None:
    if sys.platform == "linux":
        LIBC.prctl(SUBREAPER, 1, 0, 0, 0)


def exit_descriptor(pid: int) -> int:
    """Becomes readable when the process has ended; the process stays to be waited for."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    reader, writer = os.pipe()

    def wait() -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(writer)

    threading.Thread(target=wait, daemon=True).start()
    return reader


def birth(pid: int) -> str:
    """Tells a process from a later one with the same id; empty where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
