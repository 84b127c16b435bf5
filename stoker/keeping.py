"""Which token goes with a server's address?

In this order: ``STOKER_TOKEN``; what ``stoker login`` has kept; for a ``stoker up`` of this machine
the token that it writes at each start, for the owner of its data folder.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from stoker import config
from stoker.answers import StokerError

TOKENS, HERE = "tokens.json", "here.json"
OWN_TOKEN = "cli.token"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def token_for(url: str) -> str | None:
    """None where nobody has signed in there."""
    return os.environ.get("STOKER_TOKEN") or read(TOKENS).get(place(url)) or own_token(url)


def own_token(url: str) -> str | None:
    """Of a ``stoker up`` of this machine and this person that listens there now."""
    for data, _ in own_ups(url):
        with suppress(OSError):
            return (data / config.KEYS / OWN_TOKEN).read_text().strip() or None
    return None


def own_ups(url: str) -> Iterator[tuple[Path, config.Address]]:
    """Folder and address of each ``stoker up`` of this machine that listens there now."""
    folders = [config.data_folder()]
    if named := read(HERE).get(place(url)):
        folders.append(Path(named))
    for data in folders:
        address = config.read_address(data)
        if address is not None and place(address.url) == place(url):
            yield data, address


def place(url: str) -> str:
    """The address as a key: this machine has many names."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    own = host in LOOPBACK or host == socket.gethostname().lower()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{'127.0.0.1' if own else host}:{port}"


def keep_token(url: str, token: str) -> Path:
    """The file that it lies in, for its owner alone."""
    return write(TOKENS, {**read(TOKENS), place(url): token})


def forget_token(url: str) -> bool:
    """Whether there was one."""
    kept = read(TOKENS)
    known = kept.pop(place(url), None) is not None
    if known:
        write(TOKENS, kept)
    return known


def note_here(url: str, data: Path) -> None:
    """A ``stoker up`` listens there: commands find its token, whatever its folder is."""
    others = {
        where: folder
        for where, folder in read(HERE).items()
        if config.read_address(Path(folder)) is not None
    }
    with suppress(StokerError):  # Without a home folder nothing is found by itself.
        write(HERE, {**others, place(url): str(data)})


def folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser().absolute() / "stoker"


def read(name: str) -> dict[str, str]:
    """Empty where there is no such file, or somebody has made it something else."""
    try:
        found = json.loads((folder() / name).read_text())
    except (OSError, ValueError, RuntimeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def write(name: str, values: Mapping[str, str]) -> Path:
    """Whole or not at all."""
    path = folder() / name
    new = path.with_name(f".{name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump(dict(values), file, indent=1)
        new.replace(path)
    except (OSError, RuntimeError) as error:
        raise StokerError(f"{path} cannot be written: {error}") from error
    return path
