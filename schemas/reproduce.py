"""With which command is a job repeated, and which seed did it get? Pure."""

from __future__ import annotations

import re
import shlex

from pydantic import Field

from schemas.job import Attempt, Environment, Record
from schemas.message import Message
from schemas.secret_names import is_secret
from schemas.spec import JobSpec

SEED = re.compile(r"^(?:[a-z0-9]+[-_.])*seed$", re.IGNORECASE)
"""``seed``, ``random-seed``, ``train.seed``, ``TORCH_SEED``; not ``reseed``."""
HASH_SEED = "PYTHONHASHSEED"
SEED_LENGTH = 64
"""Characters; what is longer is no seed."""


class Reproduce(Message):
    """What it takes to run a job again as it was."""

    command: str
    """For a shell: the same files, spec and secrets, on the base image that it ran on."""
    seeds: dict[str, str] = Field(default_factory=dict)
    """Argument or variable to the seed that it sets."""


def reproduce(record: Record) -> Reproduce:
    return Reproduce(command=command(record), seeds=seeds(record.spec))


def command(record: Record) -> str:
    words = ["stoker", "submit", "--like", record.id]
    image = pinned(ran(record))
    if image:
        words += ["--image", image]
    if record.spec.arguments:
        words += ["--", *record.spec.arguments]
    return shlex.join(words)


def ran(record: Record) -> Environment | None:
    current: Attempt | None = record.current
    return current.environment if current else None


def pinned(environment: Environment | None) -> str:
    """The base image by its digest; empty where no registry gives it, or it is no image."""
    if environment is None or not environment.digest:
        return ""
    name = environment.base.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}@{environment.digest}"


def seeds(spec: JobSpec) -> dict[str, str]:
    """In the order of the arguments, then of the variables; the last of one name wins."""
    found: dict[str, str] = {}
    for word, following in zip(spec.arguments, (*spec.arguments[1:], ""), strict=False):
        name, equals, value = word.partition("=")
        flag = word.startswith("-") and not following.startswith("--")
        if SEED.match(name.lstrip("-")) and (equals or flag):
            found[name] = value if equals else following
    for name, value in spec.environment.items():
        if (SEED.match(name) or name == HASH_SEED) and not is_secret(name, value):
            found[name] = value
    return {name: value for name, value in found.items() if 0 < len(value) <= SEED_LENGTH}
