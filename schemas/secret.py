"""What is asked of the service ``secrets``, and what does a job want of a secret?

A value crosses the bus sealed alone: for the service on its way in, for one worker on its way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.message import Message

SECRET_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,119}$")
VALUE_BYTES = 64 * 1024
"""Longest value."""
SECRETS_MOST = 200
"""Of one user."""
USES_MOST = 32
"""Of one job."""
FILES = "/run/secrets"
"""Where a container finds those that are files."""
FILE = re.compile(r"^/run/secrets/[A-Za-z0-9_][A-Za-z0-9._-]{0,119}$")
USE = re.compile(r"^(?P<name>[^=:]+)(?:=(?P<variable>.*)|:(?P<file>.*))?$", re.DOTALL)


class SecretUse(BaseModel):
    """One secret of a job's owner: as a variable of the program, or as a file.

    Written short, ``NAME``, ``NAME=VARIABLE`` or ``NAME:/run/secrets/FILE``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    variable: str | None = None
    file: str | None = None

    @model_validator(mode="before")
    @classmethod
    def read_short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = USE.match(value)
        return found.groupdict() if found else {"name": value}

    @model_validator(mode="after")
    def check(self) -> Self:
        check_name(self.name)
        if self.variable is not None and self.file is not None:
            raise ValueError(f"{self.name} is wanted as a variable and as a file: name it twice")
        if self.variable is not None and not SECRET_NAME.match(self.variable):
            raise ValueError(f"{self.variable!r} is not a name of an environment variable")
        if self.file is not None and not FILE.match(self.file):
            raise ValueError(f"{self.file!r} is no file of {FILES}: write {FILES}/NAME")
        return self

    @property
    def target(self) -> str:
        """Name of the variable, or path of the file."""
        return self.file or self.variable or self.name


def check_name(name: str) -> str:
    if not SECRET_NAME.match(name):
        raise ValueError(
            f"{name[:120]!r} is no name of a secret: use letters, digits and '_', no digit first"
        )
    return name


def check_uses(uses: Iterable[SecretUse], environment: Iterable[str]) -> None:
    """Raises ``ValueError`` where two of them, or one and a variable, have one target."""
    taken = set(environment)
    for use in uses:
        if use.target in taken:
            raise ValueError(f"{use.target} is given twice, as a secret and by something else")
        taken.add(use.target)


class AskKey(Message):
    """``stoker.req.secrets.key``: for whom are values sealed that are to be kept?"""


class SealingKey(Message):
    key: bytes
    """X25519, public."""


class SecretValue(Message):
    """What is sealed: with whose it is, so that it cannot be passed off as another one."""

    model_config = ConfigDict(hide_input_in_errors=True)

    owner: str
    name: str
    value: bytes = Field(repr=False)


class SetSecret(Message):
    """``stoker.req.secrets.set``; repeated, it sets the same again."""

    owner: str
    name: str
    sealed: bytes
    """A ``SecretValue``, for the service's key."""
    address: str = ""


class RemoveSecret(Message):
    """``stoker.req.secrets.remove``"""

    owner: str
    name: str
    address: str = ""


class ForgetSecrets(Message):
    """``stoker.req.secrets.forget``: all of somebody who is no user any more."""

    owner: str


class ListSecrets(Message):
    """``stoker.req.secrets.list``"""

    owner: str


class SecretInfo(Message):
    """A secret without its value."""

    name: str
    set_at: float
    """Unix seconds."""


class SecretList(Message):
    secrets: tuple[SecretInfo, ...] = ()
    """By name."""


class OpenSecret(Message):
    """``stoker.req.secrets.open.<worker>``: one secret of an attempt that it was granted."""

    job: str
    attempt: int
    nonce: str
    name: str
    key: bytes
    """X25519, public, made for this request: counts where the bus knows no identities."""


class Opened(Message):
    sealed: bytes
    """A ``SecretValue``."""
    to_worker: bool = False
    """Sealed for the worker's own key, not for that of the request."""


class KeptSecret(Message):
    """Under ``value.<owner's hash>.<name>`` in the bucket ``secrets``."""

    owner: str
    name: str
    set_at: float
    version: int
    """Of the key that it is locked by."""
    locked: bytes


class KeyMarks(Message):
    """Under ``keys`` in the bucket ``secrets``: which keys are the right ones."""

    marks: dict[int, str] = Field(default_factory=dict)
    """Version to a hash of the key."""
