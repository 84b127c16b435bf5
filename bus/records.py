"""Where does a job's record live, and who may change it?"""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass

from bus import subjects
from bus.codec import decode, encode
from bus.connection import API_TIMEOUT, Bus, JetStreamError
from bus.errors import NotFound, Unanswered
from bus.follow import Delivery
from bus.headers import EXPECTED, EXPECTED_SUBJECT
from schemas.job import Fact, JobFact, Record

GONE_ALREADY = 10057
"""A message could not be deleted: another replica has done it."""
BEHIND_AGAIN = 0.1
"""Seconds after which a server that is behind is asked again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and the sequence that the next write must expect."""

    record: Record
    sequence: int
    fact: Fact


@dataclass(frozen=True, slots=True)
class Change:
    """One fact, as it was stored."""

    fact: Fact
    record: Record
    sequence: int
    pending: int
    """Facts that are stored already and still to come."""


class Records:
    """The stream ``JOBS``: one message is one step of one job."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def get(self, job: str, known: int = 0) -> Stored:
        """The newest record, read from the stream's leader; raises ``NotFound``.

        With ``known`` never an older one than that sequence: a server that was just elected may
        answer before it has taken in what the one before it had acknowledged.
        """
        deadline = time.monotonic() + API_TIMEOUT
        while True:
            try:
                stored = await self._get(job)
                if stored.sequence >= known:
                    return stored
            except NotFound:
                if not known:
                    raise
            if time.monotonic() > deadline:
                raise Unanswered(f"the stream is behind {known}: {job}", API_TIMEOUT)
            await asyncio.sleep(BEHIND_AGAIN)

    async def _get(self, job: str) -> Stored:
        try:
            answer = await self._bus.api("STREAM.MSG.GET.JOBS", {"last_by_subj": subjects.job(job)})
        except NotFound as error:
            raise NotFound(f"there is no job {job}") from error
        message = answer["message"]
        fact = decode(JobFact, base64.b64decode(message["data"]), None)
        return Stored(fact.record, message["seq"], fact.fact)

    async def write(self, record: Record, fact: Fact, expected: int) -> int:
        """Stores the step if the last one is still ``expected`` (0: no job yet); its sequence.

        Raises ``Conflict`` where somebody else was faster, ``StoreFull``, ``Unanswered``.
        """
        data, headers = encode(JobFact(fact=fact, record=record))
        headers[EXPECTED] = str(expected)
        headers[EXPECTED_SUBJECT] = subjects.job(record.id)
        return await self._bus.append(subjects.job(record.id, fact.value), data, headers)

    async def keep_last(self, job: str) -> None:
        """Drops all facts of the job but the newest, which holds the whole timeline.

        One by one: a purge has every consumer count all subjects of the stream anew. Replicas may
        do it at the same time: what one finds gone is done.
        """
        subject = subjects.job(job)
        last, place = (await self.get(job)).sequence, 0
        while True:
            answer = await self._bus.api(
                "STREAM.MSG.GET.JOBS", {"seq": place + 1, "next_by_subj": subject}
            )
            place = answer["message"]["seq"]
            if place >= last:
                return
            try:
                await self._bus.api("STREAM.MSG.DELETE.JOBS", {"seq": place, "no_erase": True})
            except JetStreamError as error:
                if error.code != GONE_ALREADY:
                    raise


def read_change(delivery: Delivery) -> Change:
    fact = decode(JobFact, delivery.data, delivery.headers)
    return Change(fact.fact, fact.record, delivery.sequence, delivery.pending)
