"""How does a person invite machines, and throw them out? By requests on the bus.

Not through the page: who may do this shows it by a file that nobody else can read.
"""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from bus.connection import Bus
from bus.errors import BusError, Denied
from bus.joining import JoinToken, packed_authority
from bus.subjects import request
from schemas.identity import Identities, Invite, Invited, ListIdentities, Revoke
from schemas.message import Empty, Message
from stoker import config, parts
from stoker.answers import StokerError

M = TypeVar("M", bound=Message)
SECONDS = 5.0


@dataclass(frozen=True)
class Door:
    """The service ``identity``, as an admin asks it."""

    servers: tuple[str, ...]
    credentials: Path | None
    trust: config.NatsTrust = config.USUAL_TRUST

    def invite(self, worker: str, pool: str, life: float, servers: tuple[str, ...]) -> str:
        """The token of a line that lets that machine join."""
        asked = Invite(worker=worker, pool=pool, by=person(), life=life)
        token = self._ask("invite", asked, Invited).token
        known = self.trust.authority
        authority = packed_authority(known) if known else ""
        return str(JoinToken(servers, token, worker, pool, authority))

    def revoke(self, worker: str) -> None:
        self._ask("revoke", Revoke(worker=worker, by=person()), Empty)

    def known(self) -> list[dict[str, Any]]:
        """Workers and open invitations, by name."""
        found = self._ask("list", ListIdentities(), Identities)
        rows = [
            {**one.model_dump(), "state": "thrown out" if one.revoked_at else "joined"}
            for one in found.workers
        ]
        waiting = (one for one in found.invitations if not one.used_by)
        rows += [{**one.model_dump(), "state": "invited"} for one in waiting]
        return sorted(rows, key=lambda row: str(row["worker"]))

    def _ask(self, verb: str, asked: Message, kind: type[M]) -> M:
        return asyncio.run(self._asked(verb, asked, kind))

    async def _asked(self, verb: str, asked: Message, kind: type[M]) -> M:
        settings = parts.bus_config(self.servers, "admin", self.credentials, self.trust)
        try:
            async with Bus.connect(replace(settings, connect_timeout=SECONDS)) as bus:
                return await bus.request(request("identity", verb), asked, kind, attempts=3)
        except Denied as error:
            hint = "name an admin's file with --credentials, or run this where stoker up runs"
            raise StokerError(f"{error}; {hint}") from error
        except BusError as error:
            raise StokerError(str(error)) from error


def person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
