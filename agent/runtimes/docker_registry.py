"""Which registry is an image from, who does the engine say that it is there, and is it worth
asking again?
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from agent.runtimes.docker_engine import EngineError
from agent.runtimes.protocol import CannotPrepare
from schemas.reason import Reason
from schemas.spec import JobSpec

REGISTRY = re.compile(
    r"^(?=[^/]*[.:]|localhost(?:/|$))[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?"
    r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$"
)
"""A host, which has a dot or a port, and a path. The rest of a name is made here."""
FILE_BYTES = 1 << 20
PAUSES = (1.0, 4.0)
"""Seconds before it is asked once more, and once more."""
PASSING = re.compile(
    r"connection (?:refused|reset)|time[d -]*out|deadline exceeded|\bEOF\b|broken pipe|no route to"
    r"|unreachable|no such host|server misbehaving|temporary failure|too ?many ?requests"
    r"|internal server error|bad gateway|service unavailable|status(?: code)?:? (?:429|5\d\d)",
    re.IGNORECASE,
)
NOT_TRUSTED = re.compile(r"x509|certificate", re.IGNORECASE)
HEADER = "X-Registry-Auth"

Result = TypeVar("Result")


class BadCredentials(Exception):
    """The file with the passwords of registries cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who one is at a registry."""

    user: str
    password: str = field(repr=False)

    def header(self, host: str) -> dict[str, str]:
        """As the engine wants it."""
        told = {"username": self.user, "password": self.password, "serveraddress": host}
        return {HEADER: base64.urlsafe_b64encode(json.dumps(told).encode()).decode()}


NOBODY = {HEADER: base64.urlsafe_b64encode(b"{}").decode()}
"""A push needs the header in any case."""


class Logins:
    """Host to login, from a file such as ``docker login`` writes; read anew at each use."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.default = ""
        """Host of the registry that the engine asks for names without one."""

    def header(self, image: str, given: Mapping[str, Login] | None = None) -> dict[str, str]:
        """Of the registry of that name; ``given`` goes first. Blocking.

        Raises ``BadCredentials``.
        """
        host = host_of(image)
        login = (given or {}).get(host) or self._all().get(host or self.default)
        return login.header(host or self.default) if login else NOBODY

    def _all(self) -> dict[str, Login]:
        if self._file is None:
            return {}
        try:
            if self._file.stat().st_size > FILE_BYTES:
                raise BadCredentials(f"{self._file} is too large for a file of passwords")
            return read_logins(self._file.read_bytes())
        except OSError as error:
            raise BadCredentials(f"{self._file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise BadCredentials(f"{self._file}: {error}") from error


def read_logins(data: bytes) -> dict[str, Login]:
    """Raises ``ValueError``, whose words hold nothing of the file."""
    try:
        table = json.loads(data)["auths"]
        return {host_in(address): read_login(entry) for address, entry in table.items()}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(
            'it is no {"auths": {"HOST": {"auth": "…"}}}, such as docker login writes'
        ) from None


def read_login(entry: Mapping[str, Any]) -> Login:
    if "username" in entry:
        return Login(str(entry["username"]), str(entry["password"]))
    if not entry.get("auth"):
        raise ValueError("it names a helper that keeps the password: write the password in it")
    try:
        text = base64.b64decode(entry["auth"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("an auth in it is not the base64 of USER:PASSWORD") from None
    return login_of(text)


def login_of(text: str) -> Login:
    """From ``USER:PASSWORD``. Raises ``ValueError``."""
    user, colon, password = text.rstrip("\r\n").partition(":")
    if not colon or not user or not password:
        raise ValueError("a login is written USER:PASSWORD")
    return Login(user, password)


def image_logins(spec: JobSpec, login: str) -> dict[str, Login]:
    """Of the job's own image and no other; raises ``CannotPrepare``."""
    if not login or spec.image is None:
        return {}
    try:
        return {host_of(spec.image): login_of(login)}
    except ValueError as error:
        words = f"secret {spec.image_secret}: {error}"
        raise CannotPrepare(words, Reason.SECRET_UNAVAILABLE) from error


def host_in(address: str) -> str:
    """Of an address as ``docker login`` writes it, which may be a URL."""
    return address.partition("://")[2].partition("/")[0] or address.partition("/")[0]


def host_of(image: str) -> str:
    """The registry that an image's name tells; empty for the engine's own default."""
    head, slash, _ = image.partition("/")
    return head if slash and (head == "localhost" or set(head) & set(".:")) else ""


def passing(words: str) -> bool:
    """Whether a registry that said so, or of which the engine did, may answer in a moment."""
    return PASSING.search(words) is not None and NOT_TRUSTED.search(words) is None


def explained(words: str, host: str) -> str:
    """With what to do where the engine does not believe a certificate."""
    if not NOT_TRUSTED.search(words):
        return words
    return f"{words} (the engine trusts whom its certs.d/{host}/ca.crt names)"


async def persisted(
    ask: Callable[[], Awaitable[Result]], say: Callable[[str], None], host: str
) -> Result:
    """What ``ask`` gives; asked again while a registry is away for a moment.

    Raises the last ``EngineError``.
    """
    for pause in PAUSES:
        try:
            return await ask()
        except EngineError as error:
            # Of status 0 the engine itself is away.
            if error.status == 0 or not passing(str(error)):
                raise
            name = host or "the registry"
            say(f"{name} does not answer: {error}; asking again in {pause:g} s")
        await asyncio.sleep(pause)
    return await ask()
