"""Is a job's data, or its environment, with another worker that has room? Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from schemas.job import Record
from schemas.placing import data_key, key_start, worth_telling
from schemas.worker import Capacity
from services.scheduler.retries import failed_on

HOLDER_FOR = 3.0
"""Seconds for which a ticket is kept for a worker that has what the job needs."""
WORTH = 64 << 20
"""Bytes that take about so long to be fetched: for less no job waits."""
REMEMBERED = 10_000

Keys = Mapping[str, int]
"""Start of a key to its bytes."""


class Habits:
    """In which environment did the last job of that name run? Folded from ended attempts."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, str], str] = OrderedDict()

    def note(self, record: Record) -> None:
        current = record.current
        if current is None or current.environment is None:
            return
        if not worth_telling(current.environment):
            self._keys.pop(name_of(record), None)
            return
        self._keys[name_of(record)] = key_start(current.environment.key)
        self._keys.move_to_end(name_of(record))
        while len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)

    def key(self, record: Record) -> str:
        """Empty where nothing is known of it, or nothing has to be built."""
        return self._keys.get(name_of(record), "")


def name_of(record: Record) -> tuple[str, str]:
    return record.owner, record.name


def needs(record: Record, environment: str) -> Keys:
    """What of the job's it is worth to wait for. How much a source has nobody knows before."""
    found = {
        key_start(data_key(one, record.owner)): one.size if one.tree else WORTH
        for one in record.spec.data
        if one.scheme != "host"
    }
    if environment:
        found[environment] = WORTH
    return {key: size for key, size in found.items() if size >= WORTH}


def lacks(wanted: Keys, holds: Iterable[str]) -> int:
    """Bytes."""
    return sum(wanted[key] for key in wanted.keys() - set(holds))


def keep_for_holder(
    record: Record,
    worker: str,
    wanted: Keys,
    holds: Mapping[str, Iterable[str]],
    fitting: Mapping[str, Capacity],
    now: float,
) -> bool:
    """Whether ``worker`` is to leave the ticket to one that has more of what the job needs.

    ``fitting``: the workers that could take it now. Not for long: who has it may not come.
    """
    if not wanted or not 0 <= now - record.changed_at < HOLDER_FOR:
        return False
    mine = lacks(wanted, holds.get(worker, ()))
    others = fitting.keys() - failed_on(record) - {worker}
    return any(lacks(wanted, holds.get(other, ())) < mine for other in others)
