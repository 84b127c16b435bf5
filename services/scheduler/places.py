"""How many more of an owner's jobs may be handed out now?

With one replica exactly as many as their limit leaves. Of several, each hands out one job of a
limited owner and then waits until it has read its own step in the stream, and with it all that the
others wrote before: so together they hand out at most one too many for each other replica.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.follow import Delivery
from schemas.job import Record
from schemas.quota import Kind, Quota
from services.scheduler import policy
from services.scheduler.fold import Fold


@dataclass
class Going:
    """A job that is being handed out."""

    owner: str
    after: int
    """Sequence of the record that it was decided on."""
    unsure: bool = False
    """The step was not answered: it may have been stored, and is tried again."""


class Places:
    """What one replica knows of it."""

    def __init__(self, bus: Bus, fold: Fold) -> None:
        self._bus = bus
        self._fold = fold
        self._end = 0
        self._caught_up = False
        """Whether everything has been read that was stored before this replica began."""
        self._going: dict[str, Going] = {}
        self._owners: dict[str, str] = {}
        """Owner to the one job of theirs that is going."""

    async def load(self) -> None:
        """Where the stream ends now."""
        state = (await self._bus.api("STREAM.INFO.JOBS"))["state"]
        self._end = int(state["last_seq"])
        self._caught_up = not self._end or state.get("messages") == 0

    def left(self, owners: Iterable[str], quotas: dict[str, Quota]) -> dict[str, int]:
        """For those of the owners who have a limit: whether one more may go."""
        found = {}
        for owner in owners:
            limit = quotas[owner].limit(Kind.RUNNING)
            if limit is not None:
                free = limit - len(self._fold.placed(owner))
                ready = self._caught_up and owner not in self._owners
                found[owner] = min(1, max(0, free)) if ready else 0
        return found

    def take(self, record: Record) -> None:
        """It goes; another one of its owner's only after that was read in the stream."""
        stored = self._fold.get(record.id)
        if stored is not None and not policy.keeps_place(record):
            self._going[record.id] = Going(record.owner, stored.sequence)
            self._owners[record.owner] = record.id

    def failed(self, job: str, error: BusError) -> None:
        """Its step was not answered."""
        if isinstance(error, NotFound):
            self._settle(job)
        elif job in self._going:
            self._going[job].unsure = True

    def _settle(self, job: str) -> None:
        going = self._going.pop(job, None)
        if going is not None:
            del self._owners[going.owner]

    def again(self, pool: str) -> list[Record]:
        """Jobs whose step may or may not be stored: they go before any other of their owner's."""
        found = []
        for job, going in self._going.items():
            stored = self._fold.get(job)
            if going.unsure and stored is not None and stored.record.spec.pool == pool:
                going.unsure = False
                found.append(stored.record)
        return found

    def read(self, delivery: Delivery) -> bool:
        """Notes what the follower came to; whether another job may go because of it."""
        before = self._caught_up
        if not before:
            self._caught_up = delivery.sequence >= self._end or delivery.pending == 0
        job = delivery.subject.split(".")[2]
        going = self._going.get(job)
        if going is not None and delivery.sequence > going.after:
            self._settle(job)
            return True
        return self._caught_up and not before

    def limit_text(self, owner: str, quota: Quota) -> str:
        """Why the owner's jobs wait, where it is their limit."""
        if quota.running is None:
            return ""
        placed = self._fold.placed(owner)
        held = sum(1 for record in placed if record.state.held)
        return policy.limit_text(held, len(placed) - held, quota.running)
