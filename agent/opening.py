"""Which secrets was an attempt granted? Asked for one by one, each sealed for this worker."""

from __future__ import annotations

from pathlib import Path

from agent.handing import NONE, Secrets
from agent.runtimes.protocol import CannotPrepare
from bus import subjects
from bus.boxes import Unreadable, new_pair, private_of_user, unseal
from bus.codec import decode
from bus.connection import Bus
from bus.errors import BusError, Refused
from bus.keys import BadKey, read_credentials
from schemas.reason import Reason
from schemas.secret import Opened, OpenSecret, SecretUse, SecretValue
from schemas.worker import Grant

ASKED = 15
"""Times that one is asked for, 2 s each at most."""
VARIABLES_BYTES = 1 << 20
"""All that are variables; Linux allows about twice as much for them and the arguments."""


class NoSecret(CannotPrepare):
    """A secret cannot be had, or not given in the form that is wanted."""


async def opened(bus: Bus, worker: str, grant: Grant) -> Secrets:
    """All that the job names. Raises ``NoSecret``."""
    uses = grant.spec.secrets
    login = await image_login(bus, worker, grant)
    if not uses and not login:
        return NONE
    values: dict[str, bytes] = {}
    for name in dict.fromkeys(use.name for use in uses):
        values[name] = await open_one(bus, worker, grant, name)
    secrets = Secrets(
        values,
        {use.target: use.name for use in uses if use.file is None},
        {use.file: use.name for use in uses if use.file is not None},
        image_login=login,
    )
    check_variables(secrets, uses)
    return secrets


async def image_login(bus: Bus, worker: str, grant: Grant) -> str:
    """``USER:PASSWORD`` at the registry of the job's image; empty where it needs none."""
    name = grant.spec.image_secret
    if name is None:
        return ""
    try:
        return (await open_one(bus, worker, grant, name)).decode()
    except UnicodeDecodeError as error:
        words = f"secret {name} is no login: write USER:PASSWORD"
        raise NoSecret(words, Reason.SECRET_UNAVAILABLE) from error


async def open_one(bus: Bus, worker: str, grant: Grant, name: str) -> bytes:
    private, public = new_pair()
    asked = OpenSecret(
        job=grant.job, attempt=grant.attempt, nonce=grant.nonce, name=name, key=public
    )
    subject = subjects.request("secrets", "open", worker)
    try:
        answer = await bus.request(subject, asked, Opened, attempts=ASKED)
        key = own_key(bus) if answer.to_worker else private
        told = decode(SecretValue, unseal(key, answer.sealed), None)
    except Refused as error:
        gone = error.problem.code == "no_such_secret"
        reason = Reason.SECRET_UNAVAILABLE if gone else Reason.DATA_UNAVAILABLE
        raise NoSecret(str(error), reason) from error
    except BusError as error:
        raise NoSecret(f"secret {name}: {error}", Reason.DATA_UNAVAILABLE) from error
    if told.name != name:
        raise NoSecret(f"secret {name}: another one was given", Reason.DATA_UNAVAILABLE)
    return told.value


def own_key(bus: Bus) -> bytes:
    """Of the nkey by which this worker shows who it is. Raises ``BadKey`` and ``Unreadable``."""
    if bus.config.credentials is None:
        raise Unreadable("it was sealed for a worker with an identity, and this one has none")
    try:
        return private_of_user(read_credentials(Path(bus.config.credentials))[1])
    except OSError as error:
        raise BadKey(f"the worker's own key cannot be read: {error.strerror}") from error


def check_variables(secrets: Secrets, uses: tuple[SecretUse, ...]) -> None:
    given = secrets.environment()
    for use in uses:
        if b"\0" in given.get(use.target, b""):
            raise NoSecret(
                f"secret {use.name} holds a NUL and cannot be a variable: give it as a file",
                Reason.SECRET_UNAVAILABLE,
            )
    size = sum(map(len, given.values()))
    if size > VARIABLES_BYTES:
        raise NoSecret(
            f"the secrets have {size} bytes, more than fits into variables: give some as files",
            Reason.SECRET_UNAVAILABLE,
        )
