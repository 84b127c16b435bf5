"""How does a shim start a container, hear all that it prints, and learn how it ended?

Four round trips before the first byte and none that is not needed: create, attach and wait at once,
start. The output goes straight to the spool: from the program's FIFOs, or where it cannot have
those, from the attached socket. The shim has one thread, and an engine whose reader does not read
hangs in every call about that container: nothing here waits for the engine while the program runs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.handing import NONE, Secrets
from agent.runtimes.docker_cgroup import ControlGroup
from agent.runtimes.docker_container import container_name, settings
from agent.runtimes.docker_engine import (
    START_SECONDS,
    Engine,
    EngineError,
    EngineSilent,
    Link,
    out_of_space,
)
from agent.runtimes.docker_pipes import Pipe, close_pipes, open_pipes
from agent.runtimes.docker_secrets import send
from agent.runtimes.protocol import CannotLaunch, Exit, Launch, OutOfSight, Source, Use
from schemas.reason import Reason
from schemas.stream import Stream

FRAME = struct.Struct(">BxxxI")
STREAMS = {0: Stream.STDOUT, 1: Stream.STDOUT, 2: Stream.STDERR}
READ_BYTES = 256 << 10
READ_MOST = 1 << 20
RETURN_SECONDS = 2.0
"""How long an engine that went away is waited for at one time."""
WENT_AWAY = "the Docker engine stopped while the program ran"
REMOVE_SECONDS, REMOVE_AGAIN = 60.0, 0.5
"""How long a container is tried to be removed from an engine that went away, and how often."""
LAST_SIGNAL = 31
SHELL_SIGNAL = 128
"""docker-init tells a child that a signal ended as 128 + its number, like a shell."""
UNKNOWN_EXIT = 255
"""What an engine says of a container whose end was told to the one before it, or to nobody."""
NOT_STARTED = re.compile(r"executable file not found|no such file or directory|permission denied")


class DockerLauncher:
    """The shim's half of the docker runtime."""

    def launch(self, launch: Launch, secrets: Secrets = NONE) -> Container:
        engine = Engine(launch.details["engine"])
        pipes: tuple[Pipe, ...] = ()
        try:
            pipes = open_pipes(launch)
            with contextlib.closing(engine.link(START_SECONDS)) as link:
                return start(engine, link, launch, pipes, secrets)
        except BaseException as error:
            close_pipes(pipes)
            if isinstance(error, EngineError):
                raise CannotLaunch(str(error), why(error)) from error
            if isinstance(error, OSError):
                raise CannotLaunch(f"no pipes for its output: {error}") from error
            raise

    def recover(self, launch: Launch) -> None:
        engine = Engine(launch.details["engine"])
        remove(engine, container_name(launch.job, launch.attempt))


def start(
    engine: Engine, link: Link, launch: Launch, pipes: tuple[Pipe, ...], secrets: Secrets
) -> Container:
    container = create(engine, link, launch)
    attached, waiting = engine.link(START_SECONDS), engine.link(START_SECONDS)
    try:
        answer = listen(attached, waiting, container, "next-exit", launch.secrets)
        link.call("POST", f"/containers/{container}/start")
        if launch.secrets:
            send(attached, secrets)
    except BaseException:
        attached.close()
        waiting.close()
        remove(engine, container)
        raise
    return Container(engine, container, Heard(attached, waiting, answer), pipes)


def listen(
    attached: Link, waiting: Link, container: str, condition: str, input: bool = False
) -> http.client.HTTPResponse:
    """To the output on one, for the end on the other: the head of its answer."""
    path = f"/containers/{container}"
    streams = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(input)}
    attached.send_request("POST", f"{path}/attach", streams)
    waiting.send_request("POST", f"{path}/wait", {"condition": condition})
    attached.answer()
    return waiting.answer()


def create(engine: Engine, link: Link, launch: Launch) -> str:
    name = container_name(launch.job, launch.attempt)
    body = settings(launch)
    try:
        created = link.call("POST", "/containers/create", {"name": name}, body)
    except EngineError as error:
        if error.status != http.client.CONFLICT:
            raise
        # A shim before this one died between create and start.
        engine.remove(name)
        created = link.call("POST", "/containers/create", {"name": name}, body)
    return str(created["Id"])


def remove(engine: Engine, container: str) -> None:
    """An engine that is being restarted is waited for: nothing is left behind in it."""
    give_up = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            engine.remove(container)
        except EngineSilent:
            if time.monotonic() < give_up:
                time.sleep(REMOVE_AGAIN)
                continue
        except EngineError:
            pass
        return


def why(error: EngineError) -> Reason:
    """Whose fault is it that a container did not start?"""
    if out_of_space(str(error)):
        return Reason.DISK_FULL
    if error.status == http.client.NOT_FOUND:
        return Reason.IMAGE_UNAVAILABLE
    if error.status == http.client.BAD_REQUEST and NOT_STARTED.search(str(error)):
        return Reason.EXIT
    return Reason.AGENT_ERROR


@dataclass(frozen=True, slots=True)
class Heard:
    """What the engine tells of a container."""

    attached: Link
    waiting: Link
    answer: http.client.HTTPResponse
    """Its body comes when the container has ended."""


class Container:
    """A container that runs, attached to and waited for."""

    def __init__(
        self, engine: Engine, container: str, heard: Heard, pipes: tuple[Pipe, ...]
    ) -> None:
        self._engine = engine
        self._container = container
        self._pipes = pipes
        self._attached, self._waiting, self._answer = heard.attached, heard.waiting, heard.answer
        self._asked: list[Link] = []
        self._found: ControlGroup | None = None
        self._exit: Exit | None = None
        self._output = Output(self._attached.sock)
        self._exited = self._waiting.sock.fileno()

    @property
    def identity(self) -> str:
        return self._container

    @property
    def sources(self) -> Sequence[Source]:
        return (*self._pipes, self._output)

    @property
    def exited(self) -> int:
        return self._exited

    def exit(self) -> Exit | None:
        if self._exit is None and select.select([self._exited], [], [], 0)[0]:
            self._exit = self._judge()
        return self._over()

    def regain(self) -> Exit | None:
        try:
            state = self._look(f"/containers/{self._container}/json")["State"]
            if not state["Running"]:
                self._exit = read_unseen_exit(state, self._lives_on)
            else:
                self._attach_again()
        except EngineSilent as error:
            raise OutOfSight(WENT_AWAY) from error
        except EngineError as error:
            self._exit = Exit(Reason.ENGINE_RESTARTED, detail=f"{WENT_AWAY}: {error}")
        return self._over()

    def _over(self) -> Exit | None:
        for pipe in self._pipes:
            pipe.over = self._exit is not None
        return self._exit

    def use(self) -> Use | None:
        peak = self._group.peak()
        return None if peak is None else Use(peak=peak)

    def signal(self, number: int) -> None:
        """Sent, not waited for: the engine may answer only after the output was read."""
        if self._exit is not None:
            return
        link = self._engine.link()
        with contextlib.suppress(EngineError):
            link.send_request("POST", f"/containers/{self._container}/kill", {"signal": number})
            self._asked = [*self._asked[-3:], link]

    def kill(self) -> None:
        """By the kernel too: an engine may be away."""
        self.signal(9)
        if self._exit is None:
            self._group.kill()

    @property
    def _group(self) -> ControlGroup:
        if self._found is None:
            self._found = ControlGroup(self._container)
        return self._found

    def close(self) -> None:
        for link in (self._attached, self._waiting, *self._asked):
            link.close()
        close_pipes(self._pipes)
        remove(self._engine, self._container)

    def _judge(self) -> Exit:
        """An engine that stops ends its containers first, and tells their ends like any other.

        It has stopped listening by then: whoever answers now was not stopping, unless it is the
        next engine already; then the connections to the one before are closed.
        """
        try:
            status = int(json.loads(self._answer.read())["StatusCode"])
            if status:
                state = self._engine.container_state(self._container)
            else:
                state = self._engine.call("GET", "/_ping") or {}
        except (OSError, ValueError, KeyError, http.client.HTTPException, EngineSilent) as error:
            raise OutOfSight(WENT_AWAY) from error
        except EngineError as error:
            return Exit(Reason.AGENT_ERROR, detail=f"the container is gone: {error}")
        if select.select([self._waiting.sock], [], [], 0)[0]:
            raise OutOfSight(WENT_AWAY)
        return read_exit(status, state)

    def _look(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._engine.call("GET", path, timeout=RETURN_SECONDS)
        return found

    def _lives_on(self) -> bool:
        return bool(self._look("/info").get("LiveRestoreEnabled"))

    def _attach_again(self) -> None:
        attached, waiting = (self._engine.link(RETURN_SECONDS) for _ in range(2))
        try:
            answer = listen(attached, waiting, self._container, "not-running")
        except BaseException:
            attached.close()
            waiting.close()
            raise
        self._attached.close()
        self._waiting.close()
        self._attached, self._waiting, self._answer = attached, waiting, answer
        self._output = Output(attached.sock)
        self._exited = waiting.sock.fileno()


def read_exit(status: int, state: dict[str, Any]) -> Exit:
    """What a container's status says of the program in it."""
    number = status - SHELL_SIGNAL
    signal = number if 0 < number <= LAST_SIGNAL else None
    code = None if signal else status
    if state.get("OOMKilled"):
        told = "the program went past its memory limit and was killed"
        if signal != 9:
            told = "a process of the program went past its memory limit and was killed"
        return Exit(Reason.OOM, code, signal, told)
    return Exit(Reason.EXIT, code, signal, str(state.get("Error") or ""))


def read_unseen_exit(state: dict[str, Any], lives_on: Callable[[], bool]) -> Exit:
    """By itself only where the engine lets containers live, and no signal ended it."""
    exit = read_exit(int(state["ExitCode"]), state)
    if exit.code == UNKNOWN_EXIT:
        return Exit(Reason.ENGINE_RESTARTED, detail=f"{WENT_AWAY}, and nobody knows how that ended")
    if exit.code is not None and lives_on():
        return exit
    return Exit(Reason.ENGINE_RESTARTED, detail=WENT_AWAY)


class Output:
    """The attached socket: frames of standard output and standard error."""

    lasting = False

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._frames = Frames()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[tuple[Stream, bytes]] | None:
        pieces: list[tuple[Stream, bytes]] = []
        for _ in range(READ_MOST // READ_BYTES):
            try:
                block = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return pieces
            except ConnectionError:
                block = b""
            if not block:
                return pieces or None
            pieces += self._frames.feed(block)
            if len(block) < READ_BYTES // 4:
                return pieces
        return pieces


class Frames:
    """Takes the engine's multiplexed stream apart, wherever the blocks are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._stream = Stream.STDOUT
        self._left = 0
        """Bytes that are still to come of the frame that was begun."""

    def feed(self, block: bytes) -> list[tuple[Stream, bytes]]:
        """The runs in ``block``; neighbours of one stream are joined."""
        block, self._rest = self._rest + block, b""
        runs: list[tuple[Stream, list[bytes]]] = []
        position = 0
        while position < len(block):
            if not self._left:
                if len(block) - position < FRAME.size:
                    self._rest = block[position:]
                    break
                number, self._left = FRAME.unpack_from(block, position)
                self._stream = STREAMS.get(number, Stream.STDOUT)
                position += FRAME.size
                continue
            part = block[position : position + self._left]
            position += len(part)
            self._left -= len(part)
            if runs and runs[-1][0] is self._stream:
                runs[-1][1].append(part)
            else:
                runs.append((self._stream, [part]))
        return [(stream, b"".join(parts)) for stream, parts in runs]


LAUNCHER = DockerLauncher()
