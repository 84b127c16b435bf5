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

FIRST = 1
"""Version of the first key."""
MARK_CHARACTERS = 32


class KeyFileError(BusError):
    """The file cannot be used; the message says what to change."""


class KeyFile:
    """As it was when it was read."""

    def __init__(self, path: Path) -> None:
        """Raises ``KeyFileError``."""
        self.path = path
        self._seen = self._look()
        try:
            self.keys: Mapping[int, bytes] = read_keys(path)
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror}") from error

    @property
    def newest(self) -> int:
        return max(self.keys)

    def changed(self) -> bool:
        """Raises ``KeyFileError``."""
        return self._look() != self._seen

    def _look(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise KeyFileError(f"{self.path}: {error.strerror}") from error
        return found.st_ino, found.st_mtime_ns


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
    write_keys(fresh, {FIRST: new_key()})
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
