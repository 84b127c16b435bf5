"""By which keys are values locked, and where do those lie?

In a file outside of the bucket, readable by its owner alone: JSON, version to key. The highest
version locks, the others still open: a rotation adds one, and takes effect without a restart.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from bus.boxes import KEY_BYTES, new_key
from bus.errors import BusError
from bus.keys import write_private

MARK_CHARACTERS = 32


class KeyFileError(BusError):
    """The file cannot be used; the message says what to change."""


class KeyFile:
    """Read anew whenever it has changed."""

    def __init__(self, path: Path) -> None:
        """Raises ``KeyFileError``."""
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._keys: dict[int, bytes] = {}
        self.look()

    @property
    def newest(self) -> int:
        return max(self._keys)

    @property
    def keys(self) -> Mapping[int, bytes]:
        return self._keys

    def look(self) -> bool:
        """Whether there was something new. Raises ``KeyFileError``."""
        try:
            found = os.stat(self.path)
            seen = (found.st_ino, found.st_mtime_ns)
            if seen == self._seen:
                return False
            self._keys = read_keys(self.path)
        except OSError as error:
            raise KeyFileError(f"{self.path}: {error.strerror}") from error
        self._seen = seen
        return True


def read_keys(path: Path) -> dict[int, bytes]:
    """Raises ``KeyFileError`` and ``OSError``."""
    try:
        keys = {
            int(version): base64.b64decode(text, validate=True)
            for version, text in json.loads(path.read_text()).items()
        }
    except (ValueError, AttributeError, TypeError, binascii.Error):
        # Not chained: the error would show what is in the file.
        raise KeyFileError(f"{path} is no file of keys") from None
    if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
        raise KeyFileError(f"{path} is no file of keys")
    return keys


def write_keys(path: Path, keys: Mapping[int, bytes]) -> None:
    text = {str(version): base64.b64encode(key).decode() for version, key in keys.items()}
    write_private(path, json.dumps(text, indent=1) + "\n")


def make_keys(path: Path) -> None:
    """With a first key; whoever comes second finds the one of the first. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    write_keys(fresh, {1: new_key()})
    with contextlib.suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()


def add_key(path: Path) -> int:
    """From now on this one locks; its version. Raises ``KeyFileError`` and ``OSError``."""
    keys = read_keys(path)
    version = max(keys) + 1
    write_keys(path, {**keys, version: new_key()})
    return version


def mark_of(key: bytes) -> str:
    """Tells keys from each other, and nothing about them."""
    return hashlib.sha256(b"stoker secrets key mark" + key).hexdigest()[:MARK_CHARACTERS]
