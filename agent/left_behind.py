"""What does an attempt leave to others, its outputs and its checkpoint, and for what is waited?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from agent.checkpoint_rounds import AttemptCheckpoints
from agent.last_rounds import LastRounds
from agent.output_rounds import AttemptOutputs, with_outputs
from schemas.reason import Reason
from schemas.worker import Report

log = logging.getLogger(__name__)

CANCEL_SECONDS = 15.0
"""How long a cancelled job's end waits for its checkpoint; afterwards the keeper sends it."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls something after so many seconds."""


class LeftBehind:
    """Of one attempt."""

    def __init__(self, outputs: AttemptOutputs, checkpoints: AttemptCheckpoints) -> None:
        self.outputs = outputs
        self.checkpoints = checkpoints
        self._looking: list[asyncio.Task[None]] = []

    def look(self, tasks: asyncio.TaskGroup, later: Later) -> None:
        """While the program runs; not at once: most attempts are over by then."""

        def begin(rounds: LastRounds) -> None:
            self._looking.append(tasks.create_task(rounds.while_running()))

        for rounds in (self.outputs, self.checkpoints):
            if rounds.every:
                later(rounds.every, partial(begin, rounds))

    def hurry(self, reason: Reason, later: Later) -> None:
        """It is to end, and its program has: nobody waits for outputs.

        For a checkpoint the next attempt does, or whoever resumes a job that was cancelled.
        """
        self.outputs.hurry.set()
        if reason is Reason.CANCELLED:
            later(CANCEL_SECONDS, self.checkpoints.hurry.set)

    async def at_end(self, tasks: asyncio.TaskGroup, report: Report) -> Report:
        """A defect there must not cost the job its end."""
        checkpoint = tasks.create_task(self.checkpoints.at_end(report))
        try:
            report = with_outputs(report, await self.outputs.at_end())
        except Exception:
            log.exception("the outputs of %s.%d", report.job, report.attempt)
        await checkpoint
        for looking in self._looking:
            looking.cancel()
        return report
