"""How does the machine of ``stoker up`` become a worker of its own bus?

Nobody has to invite it: whoever starts ``stoker up`` owns both. Its key lies in the agent's folder,
as that of any worker.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bus.errors import BusError
from bus.joining import CREDENTIALS, Membership, membership, settle
from bus.keyring import Keyring, open_keyring
from bus.keys import USER, BadKey, Key, credentials, read_credentials
from bus.link import BusConfig
from bus.tokens import identity_of, read_claims
from schemas.identity import WorkerIdentity
from services.identity.config import IdentityConfig
from services.identity.registry import Refusing, Registry, admit, worker_token
from stoker.agents import MEMBERSHIP

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from bus.connection import Bus

log = logging.getLogger(__name__)


async def admitted(bus: Bus, agent: AgentConfig, keys: Path) -> BusConfig:
    """How its agent connects. One that was thrown out stays so; the server tells it."""
    folder = agent.work / MEMBERSHIP
    made = Membership(bus.config.servers, agent.name, agent.pool, folder / CREDENTIALS)
    if not fresh(folder, made, open_keyring(keys)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await admit_anew(bus, made, open_keyring(keys))
    name = f"agent {agent.name}"
    return replace(bus.config, name=name, credentials=str(made.credentials))


def fresh(folder: Path, made: Membership, keyring: Keyring) -> bool:
    """Whether its token is of this bus, for this name and pool, and counts for long yet."""
    known = membership(folder)
    if known is None or (known.worker, known.pool) != (made.worker, made.pool):
        return False
    identity = identity_of(known.credentials)
    issuer = read_claims(read_credentials(known.credentials)[0]).get("iss")
    late = (identity.issued_at + (identity.expires_at or 0)) / 2 < time.time()
    return issuer == keyring.issuer("worker").key.public and not late


async def admit_anew(bus: Bus, made: Membership, keyring: Keyring) -> None:
    key = own_key(made.credentials)
    now = time.time()
    wanted = WorkerIdentity(
        worker=made.worker,
        pool=made.pool,
        key=key.public,
        by="stoker up",
        joined_at=now,
        expires_at=now + IdentityConfig.worker_life,
    )
    registry = Registry(bus)
    try:
        before = await admit(registry, wanted)
    except Refusing as error:
        log.error("%s; remove %s for it to join anew", error, made.credentials.parent)
        return
    if before is not None:
        await registry.revoke(before.key, before.expires_at)
    settle(made.credentials.parent, made, credentials(worker_token(keyring, wanted, int(now)), key))


def own_key(path: Path) -> Key:
    with suppress(OSError, BadKey, BusError):
        return Key(read_credentials(path)[1])
    return Key.new(USER)
