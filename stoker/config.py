"""What do flags, the environment and files set, and what holds where they are silent?"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from stoker.answers import StokerError

T = TypeVar("T")
PORT = 8900
NATS_PORT = 4222
LOST_AFTER = 30.0
LOST_AFTER_LEAST, LOST_AFTER_MOST = 1.0, 86_400.0
"""Seconds of a worker's silence after which its jobs are lost."""
ADDRESS_FILE = "up.json"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LINK_FILE = "sign-in.url"
"""With the one-time link of the first admin."""
KEYS = "identities"
"""Folder with the keys of the bus, in the data folder."""
SECRET_KEYS = "secrets.key"
"""File in it, with the keys that lock secrets."""
AGENT_FIELDS = frozenset(
    {"name", "pool", "labels", "runtime", "work", "capacity", "base_image", "servers"}
)
AGENT_FIELDS_TOO = frozenset(
    {
        "credentials",
        "ca",
        "gpu_base_image",
        "template",
        "keep_outputs",
        "data_cache",
        "data_paths",
        "data_sources",
        "s3_endpoint",
        "dockerfiles",
        "networks",
        "install_network",
        "sandbox",
        "registry",
        "registry_credentials",
        "package_cache",
        "docker_command",
    }
)
CAPACITY_FIELDS = frozenset({"cpus", "memory", "gpus", "slots"})


def data_folder(asked: Path | None = None) -> Path:
    """Where ``stoker up`` keeps all that it has: the flag, ``STOKER_DATA``, or the home folder."""
    if asked is not None:
        return asked.expanduser().absolute()
    if named := os.environ.get("STOKER_DATA"):
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser().absolute() / "stoker"


def page_url() -> str:
    """That of a ``stoker up`` of this machine where one runs; else where one would."""
    address = read_address(data_folder())
    return address.url if address else f"http://127.0.0.1:{PORT}"


def nats_servers(asked: str | None) -> tuple[str, ...]:
    """From a list with commas; else of a running ``stoker up``; else the default."""
    if asked:
        return tuple(part.strip() for part in asked.split(",") if part.strip())
    address = read_address(data_folder())
    return (address.nats if address else f"nats://127.0.0.1:{NATS_PORT}",)


@dataclass(frozen=True, slots=True)
class NatsTrust:
    """Whose certificates count on NATS."""

    authority: Path | None = None
    """PEM of who alone vouches for it; None: whoever this machine trusts."""
    name: str | None = None
    """The name that they carry where it is neither the address nor our own authority's."""


USUAL_TRUST = NatsTrust()


def nats_trust(asked: Path | None, nats: str | None) -> NatsTrust:
    """The file that was named; else, of a running ``stoker up``, what holds for that."""
    address = None if asked or nats else read_address(data_folder())
    if address is None:
        return NatsTrust(asked and asked.absolute())
    authority = Path(address.authority) if address.authority else None
    return NatsTrust(authority, address.nats_name or None)


def nats_outside(nats: str | None) -> tuple[str, ...]:
    """Where other machines reach NATS of a running ``stoker up``."""
    address = None if nats else read_address(data_folder())
    return address.outside if address else ()


def nats_credentials(asked: Path | None, nats: str | None, role: str = "admin") -> Path | None:
    """The file that was named; else, of a running ``stoker up``, that of a person's own user."""
    if asked is not None or nats or read_address(data_folder()) is None:
        return asked
    own = data_folder() / KEYS / f"{role}.creds"
    return own if own.exists() else None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running ``stoker up`` listens; it writes this into its data folder."""

    url: str
    nats: str
    pid: int
    certificate: str = ""
    """File of what the page shows; empty for plain HTTP."""
    authority: str = ""
    """File of who vouches for NATS; empty where it speaks plainly, or by somebody well known."""
    nats_name: str = ""
    """The name on NATS' certificate where it is neither the address nor our own one's."""
    outside: tuple[str, ...] = ()
    """Where other machines reach NATS."""
    plain: tuple[str, ...] = ()
    """What other machines reach without TLS: ``page``, ``nats``."""


def write_address(data: Path, address: Address) -> None:
    file = data / ADDRESS_FILE
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(address)))
    fresh.replace(file)


def read_address(data: Path) -> Address | None:
    """None where nothing runs there."""
    try:
        table = json.loads((data / ADDRESS_FILE).read_text())
        lists = {name: tuple(table.get(name) or ()) for name in ("outside", "plain")}
        address = Address(**{**table, **lists})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    try:
        os.kill(address.pid, 0)
    except PermissionError:
        return address  # Somebody else's, but it runs.
    except OSError:
        return None
    return address


def read_agent_file(path: Path) -> dict[str, Any]:
    """The table ``[agent]`` of a TOML file, checked for fields that nobody knows."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StokerError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StokerError(f"{path} is not TOML: {error}") from error
    agent = table.get("agent")
    if not isinstance(agent, dict):
        raise StokerError(f"{path} has no table [agent]")
    check_fields(path, "agent", agent, AGENT_FIELDS | AGENT_FIELDS_TOO)
    check_fields(path, "agent.capacity", agent.get("capacity") or {}, CAPACITY_FIELDS)
    return agent


def check_fields(path: Path, table: str, values: dict[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(values.keys() - known):
        raise StokerError(
            f"{path}: [{table}] has no field {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )


def lost_after(entries: Iterable[str]) -> tuple[float, dict[str, float]]:
    """Seconds for all pools and for some, from ``30s`` and ``POOL=5s``."""
    from schemas.spec import parse_duration

    pools = by_pool("--lost-after", entries, parse_duration)
    for pool, value in pools.items():
        if not LOST_AFTER_LEAST <= value <= LOST_AFTER_MOST:
            entry = f"{pool}=" if pool else ""
            raise StokerError(f"--lost-after {entry}{value:g}: write a time from 1s to 1d")
    return pools.pop("", LOST_AFTER), pools


def by_pool(flag: str, entries: Iterable[str], read: Callable[[str], T]) -> dict[str, T]:
    """Pool to value, from ``VALUE`` (of all pools, under the empty name) and ``POOL=VALUE``."""
    values = {}
    for entry in entries:
        pool, _, text = entry.rpartition("=")
        try:
            values[pool] = read(text)
        except ValueError as error:
            raise StokerError(f"{flag} {entry}: {error}") from error
    return values


def kept_logs(
    ages: Iterable[str], sizes: Iterable[str]
) -> dict[str, tuple[float | None, int | None]]:
    """Pool to age in seconds and size in bytes; the empty name stands for all pools."""
    from schemas.spec import parse_duration, parse_size

    by_age = by_pool("--keep-logs", ages, parse_duration)
    by_size = by_pool("--keep-log-bytes", sizes, parse_size)
    pools = {*by_age, *by_size}
    return {
        pool: (by_age.get(pool, by_age.get("")), by_size.get(pool, by_size.get("")))
        for pool in pools
    }


def log_bounds(flag: str, entries: Iterable[str]) -> dict[str, int]:
    """Pool to bytes, 0 for no limit; the empty name stands for all pools."""
    from schemas.spec import parse_size

    def read(text: str) -> int:
        return 0 if text in ("0", "none") else parse_size(text)

    return by_pool(flag, entries, read)


def images(flag: str, entries: Iterable[str]) -> dict[str, str]:
    """Pool to the name of an image; the empty name stands for all pools."""
    from schemas.image import image_pattern

    return by_pool(flag, entries, image_pattern)


def duration(flag: str, asked: str | None) -> float | None:
    """Seconds; None where nothing was said."""
    from schemas.spec import parse_duration

    try:
        return None if asked is None else parse_duration(asked)
    except ValueError as error:
        raise StokerError(f"{flag} {asked}: {error}") from error


def kept(flag: str, asked: str | None) -> float | None:
    """Seconds, or infinity for ``forever``; None where nothing was said."""
    if asked == "forever":
        return math.inf
    try:
        return duration(flag, asked)
    except StokerError as error:
        raise StokerError(f"{error}, or forever") from error


def labels(entries: list[str]) -> dict[str, str]:
    """From ``key=value`` flags."""
    found = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise StokerError(f"--label {entry}: write KEY=VALUE")
        found[key] = value
    return found
