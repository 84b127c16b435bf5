"""By which keys do scheduler and workers speak of what lies where? Pure."""

from __future__ import annotations

import hashlib

from schemas.data import DataMount
from schemas.job import Environment

KEY_CHARACTERS = 16
"""Of a key, as a beat tells it: enough to tell some hundred apart, and too few to ask for it."""
KEYS_MOST = 200
"""Of data, and of environments, in one beat."""
PLAIN = "python"
"""The source of an environment of which nothing is built."""


def key_start(key: str) -> str:
    return key[:KEY_CHARACTERS]


def data_key(mount: DataMount, owner: str) -> str:
    """Under which a worker keeps it. What a source gives to one user may not be for another, and a
    tree names files, not the bytes that one of its owners has sent for them."""
    if mount.tree:
        return hashlib.sha256(f"{mount.owner}\0{mount.tree}".encode()).hexdigest()
    return hashlib.sha256(f"{owner}\0{mount.source}".encode()).hexdigest()


def worth_telling(environment: Environment) -> bool:
    """Whether it takes time to have it."""
    return environment.source != PLAIN
