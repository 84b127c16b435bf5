"""Which data may this worker have for this attempt? Asked of the record, but not each time."""

from __future__ import annotations

import time
from collections import OrderedDict

from bus.errors import NotFound, Refused
from bus.records import Records
from schemas.data import DataMount
from schemas.datasets import DataKey
from schemas.job import Record
from schemas.problem import Problem

HOLDS = 2.0
"""Seconds for which a check is believed."""
REMEMBERED = 4096


class Grants:
    """Of one replica."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: OrderedDict[tuple[str, int, str, str, int], tuple[float, DataMount]] = (
            OrderedDict()
        )

    async def check(self, asked: DataKey, worker: str) -> DataMount:
        """Only what the record says that the job gets. Raises ``Refused``."""
        key = (asked.job, asked.attempt, asked.nonce, worker, asked.index)
        until, mount = self._known.get(key, (0.0, None))
        if mount is not None and time.monotonic() < until:
            return mount
        mount = granted(await self._record(asked.job), asked, worker)
        self._known[key] = (time.monotonic() + HOLDS, mount)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return mount

    async def _record(self, job: str) -> Record | None:
        try:
            return (await self._records.get(job)).record
        except NotFound:
            return None


def granted(record: Record | None, asked: DataKey, worker: str) -> DataMount:
    """Pure. Raises ``Refused``."""
    if record is None or not (
        record.state.held and record.granted(asked.attempt, asked.nonce, worker)
    ):
        raise not_granted(f"attempt {asked.attempt} of {asked.job} is superseded")
    data = record.spec.data
    if asked.index >= len(data) or not data[asked.index].tree:
        raise not_granted(f"{asked.job} has no dataset number {asked.index}")
    return data[asked.index]


def not_granted(detail: str) -> Refused:
    title = "This attempt is not granted to this worker"
    return Refused(Problem(code="not_granted", title=title, status=403, detail=detail))
