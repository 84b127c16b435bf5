"""Which jobs does the worker ask for, and under which id?

A claim whose answer was lost may have been granted: the next one for its job goes by the same id,
and gets the same grant. Never two at one time: the second answer would start the attempt again.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict

REMEMBERED = 256
"""Claims without an answer whose ids are kept."""


class Claims:
    """Of one worker."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        self._unanswered: OrderedDict[str, str] = OrderedDict()

    @property
    def open(self) -> tuple[str, ...]:
        """Jobs that are asked for at this moment."""
        return tuple(self._open)

    def begin(self, job: str) -> str | None:
        """The claim's id; None where the job is asked for already."""
        if job in self._open:
            return None
        self._open[job] = self._unanswered.pop(job, "") or uuid.uuid4().hex
        return self._open[job]

    def end(self, job: str, *, answered: bool) -> None:
        id = self._open.pop(job)
        if not answered:
            self._unanswered[job] = id
            while len(self._unanswered) > REMEMBERED:
                self._unanswered.popitem(last=False)
