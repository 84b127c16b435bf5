"""May this worker ask in the name of this attempt? Asked of the record, but not each time."""

from __future__ import annotations

from bus.errors import NotFound, Refused
from bus.records import Records
from schemas.environments import Ask, GetChunk, Used
from schemas.job import Record
from schemas.packages import KeepPackages
from schemas.problem import Problem
from services.environments.believed import Believed


class Grants:
    """Of one replica."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known = Believed()

    async def pool(self, asked: Ask | GetChunk | Used | KeepPackages, worker: str) -> str:
        """In which the attempt runs; raises ``Refused``."""
        key = (asked.job, str(asked.attempt), asked.nonce, worker)
        known = self._known.get(key)
        if known is not None:
            return known
        record = await self._record(asked.job)
        if record is None or not (
            record.state.held and record.granted(asked.attempt, asked.nonce, worker)
        ):
            detail = f"attempt {asked.attempt} of {asked.job} is superseded"
            raise refused("not_granted", detail, 403)
        return self._known.put(key, record.spec.pool)

    async def _record(self, job: str) -> Record | None:
        try:
            return (await self._records.get(job)).record
        except NotFound:
            return None


def refused(code: str, detail: str, status: int = 422) -> Refused:
    return Refused(
        Problem(code=code, title="Not with this environment", status=status, detail=detail)
    )
