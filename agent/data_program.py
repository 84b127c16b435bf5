"""What does a source hold, and how does it get into a folder? A program of its own.

Its libraries are large, block, and read what strangers serve: they stay out of the agent, which can
end them at any time. It gets one line of JSON on standard input, answers by lines of JSON, and goes
on once it is told where to. Without leave to do so it speaks to no private address, whoever sends
it there.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

AT_ONCE = 8
"""Files that are fetched side by side."""
MOST_FILES = 200_000
TELL_EVERY = 1.0
BLOCK = 1 << 20
MARKS = (
    "etag",
    "ETag",
    "version_id",
    "blob_id",
    "mtime",
    "last_modified",
    "LastModified",
    "Last-Modified",
    "Content-MD5",
    "Digest",
    "created",
)
"""Of what a listing says of a file: by which a changed one is known."""


class Trouble(Exception):
    """The source cannot be fetched; the message says why."""


class Private(OSError):
    """It leads into a private network."""


@dataclass(frozen=True)
class Remote:
    """One file of a source."""

    path: str
    """Within the folder that the job gets."""
    key: str
    """For the library."""
    size: int | None
    mark: str


class Guarded(socket.socket):
    """Connects to public addresses alone, whatever a name or a redirection says."""

    def connect(self, address: Any) -> None:
        check_public(address)
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        check_public(address)
        return super().connect_ex(address)


REFUSED: list[str] = []
"""Where it would have led: the libraries make of it whatever they please."""


def check_public(address: Any) -> None:
    host = str(address[0]) if isinstance(address, tuple) else "a socket of this machine"
    if not isinstance(address, tuple) or not ipaddress.ip_address(host.partition("%")[0]).is_global:
        REFUSED.append(host)
        raise Private(f"{host} is not public")


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    if not asked["private"]:
        socket.socket = Guarded  # type: ignore[misc]
    try:
        tell(end=fetched(asked))
    except Trouble as error:
        tell(error=str(error))
    except Exception as error:
        tell(error=words_of(error)[:500])


def words_of(error: Exception) -> str:
    if REFUSED:
        return f"it leads to {REFUSED[0]}, which is not public; the worker's admin may allow it"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def tell(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def fetched(asked: Mapping[str, Any]) -> int:
    """Bytes; fetches nothing unless it hears into which folder, and how much there is room for."""
    library, remote = listed(asked["source"], asked["options"])
    size = sum(one.size or 0 for one in remote)
    tell(files=len(remote), size=size, fingerprint=fingerprint(remote))
    line = sys.stdin.readline()
    if not line:
        return size
    order = json.loads(line)
    shutil.rmtree(order["folder"], ignore_errors=True)
    return Download(library, order["folder"], order["most"]).run(remote)


def listed(source: str, options: Mapping[str, Any]) -> tuple[Any, list[Remote]]:
    try:
        from fsspec.core import url_to_fs

        library, root = url_to_fs(source, **options)
    except ImportError as error:
        scheme = source.partition(":")[0]
        raise Trouble(
            f"this worker cannot fetch {scheme}:// ({error}): install stoker[data] there"
        ) from error
    if source.startswith(("https:", "http:")):
        found = {source: library.info(source)}
        name = unquote(urlsplit(source).path.rpartition("/")[2]) or "index"
        return library, [remote_of(name, source, found[source])]
    found = library.find(root, detail=True)
    if not found:
        raise Trouble(f"there is nothing at {source}")
    if len(found) > MOST_FILES:
        raise Trouble(f"{source} has {len(found):,} files; at most {MOST_FILES:,} are fetched")
    return library, [
        remote_of(inside(key, root), key, about) for key, about in sorted(found.items())
    ]


def inside(key: str, root: str) -> str:
    """Its path below the source, or its own name where the source is one file."""
    within = key.removeprefix(root).lstrip("/")
    return within or key.rpartition("/")[2]


def remote_of(path: str, key: str, about: Mapping[str, Any]) -> Remote:
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Trouble(f"it has a file named {path!r:.200}")
    mark = "|".join(str(about[name]) for name in MARKS if about.get(name))
    size = about.get("size")
    return Remote(path, key, int(size) if size is not None else None, mark)


def fingerprint(remote: list[Remote]) -> str:
    digest = hashlib.sha256()
    for one in remote:
        digest.update(json.dumps([one.path, one.size, one.mark]).encode())
    return digest.hexdigest()


class Download:
    """Into a folder, several files at one time."""

    def __init__(self, library: Any, folder: str, most: int) -> None:
        self._library = library
        self._folder = folder
        self._most = most
        self._lock = threading.Lock()
        self._done = 0
        self._told_at = time.monotonic()

    def run(self, remote: list[Remote]) -> int:
        os.makedirs(self._folder, 0o755, exist_ok=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for _ in pool.map(self._fetch, remote):
                    pass
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return self._done

    def _fetch(self, one: Remote) -> None:
        target = os.path.join(self._folder, one.path)
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        size = 0
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
        with os.fdopen(descriptor, "wb") as file:
            for block in self._blocks(one):
                file.write(block)
                size += len(block)
                self._count(len(block))
        if one.size is not None and size != one.size:
            raise Trouble(f"{one.path} ended after {size} of {one.size} bytes")

    def _blocks(self, one: Remote) -> Iterator[bytes]:
        with self._library.open(
            one.key, "rb", cache_type="readahead", block_size=8 * BLOCK
        ) as file:
            while block := file.read(BLOCK):
                yield block

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._done > self._most:
                raise Trouble(f"it has more than the {self._most} bytes that there is room for")
            if time.monotonic() - self._told_at >= TELL_EVERY:
                self._told_at = time.monotonic()
                tell(done=self._done)
