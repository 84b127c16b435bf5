"""Who asks? The service ``people`` knows; what it said is believed for some seconds."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from bus.errors import BusError, Refused
from schemas.people import Principal, Role, Way
from schemas.people_requests import Check
from ui.credentials import Credential, Shown

BELIEVED_SECONDS = 5.0
"""Who was signed out elsewhere, or has another role, is so in this process after this long."""
MOST_KEPT = 10_000
NOT_SIGNED_IN = 401

Ask = Callable[[Check], Awaitable[Principal]]
"""Raises ``Refused`` where it is nobody's."""
Key = bytes


class Principals:
    """What ``people`` has said, least lately used first; bounded, and without the secrets."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[Principal, float]] = OrderedDict()
        self._asking: dict[Key, asyncio.Future[Principal | None]] = {}

    async def of(self, shown: Shown) -> Principal | None:
        """Of all that was shown together; None for nobody. Raises ``BusError``."""
        person = await self._one(shown.person) if shown.person else None
        shares = [found for one in shown.shares if (found := await self._one(one))]
        jobs = tuple(dict.fromkeys(job for share in shares for job in share.jobs))
        if person is not None:
            return person.model_copy(update={"jobs": (*person.jobs, *jobs)}) if jobs else person
        return shares[0].model_copy(update={"jobs": jobs}) if shares else None

    def forget(self, credential: Credential) -> None:
        """What is known of it may be wrong now."""
        self._kept.pop(key_of(credential), None)

    def forget_all(self) -> None:
        self._kept.clear()

    async def _one(self, credential: Credential) -> Principal | None:
        """Many requests at one time with the same cookie are one question."""
        key = key_of(credential)
        known = self._known(key)
        if known is not None or not credential.value:
            return known
        going = self._asking.get(key)
        if going is not None:
            return await asyncio.shield(going)
        self._asking[key] = going = asyncio.get_running_loop().create_future()
        try:
            found = await self._fresh(key, credential)
            going.set_result(found)
            return found
        except BaseException as error:
            # All who wait are told now: one after the other they would wait in turn.
            away = error if isinstance(error, BusError) else BusError("the question was broken off")
            going.set_exception(away)
            going.exception()  # Maybe nobody waits.
            raise
        finally:
            del self._asking[key]

    def _known(self, key: Key) -> Principal | None:
        found = self._kept.get(key)
        if found is None or found[1] <= self._clock() or over(found[0]):
            return None
        self._kept.move_to_end(key)
        return found[0]

    async def _fresh(self, key: Key, credential: Credential) -> Principal | None:
        asked = self._clock()
        try:
            found = await self._ask(Check(kind=credential.kind, value=credential.value))
        except Refused as refusal:
            self._kept.pop(key, None)
            if refusal.problem.status == NOT_SIGNED_IN:
                return None
            raise
        self._kept[key] = (found, asked + BELIEVED_SECONDS)
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found


def over(who: Principal) -> bool:
    return who.expires_at is not None and who.expires_at <= time.time()


def key_of(credential: Credential) -> Key:
    return hashlib.sha256(f"{credential.kind}:{credential.value}".encode()).digest()


def local(name: str) -> Principal:
    """Sign-in is switched off: whoever reaches the page is its owner."""
    return Principal(name=name, role=Role.ADMIN, sees=None, way=Way.LOCAL)
