"""Who builds an environment, who waits for it, and who fetches it? Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.environments import (
    Ask,
    Asked,
    EnvironmentEntry,
    LeaseBeat,
    LeaseKey,
    Phase,
    Turn,
)
from services.environments.config import EnvironmentsConfig

USED_EVERY = 600.0
"""Seconds after which a use is noted once more."""
LEFT_OUT = b"[stoker] \xe2\x80\xa6\n"
LEASED = frozenset({Phase.BUILDING, Phase.BUILT, Phase.SHARING})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as the record of its job says."""

    worker: str
    pool: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a new lease is made of."""

    token: str
    upload: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered once ``entry`` is written."""

    answer: Asked
    entry: EnvironmentEntry | None = None
    """None where nothing changes."""
    nudge: bool = False
    """Whether the builder is told to share it."""


class Desk:
    """Decides about one request: who asks what, at which time."""

    def __init__(
        self, asked: Ask, asker: Asker, now: float, fresh: Fresh, config: EnvironmentsConfig
    ) -> None:
        self._asked = asked
        self._asker = asker
        self._now = now
        self._fresh = fresh
        self._config = config

    def decide(self, entry: EnvironmentEntry | None) -> Decision:
        if entry is None or entry.phase is Phase.FREE:
            return self._lease(entry, f"{entry.worker} gave it up" if entry else "")
        if entry.worker == self._asker.worker and entry.phase in LEASED:
            return self._own(entry)
        return self._of_others(entry)

    def _of_others(self, entry: EnvironmentEntry) -> Decision:
        match entry.phase:
            case Phase.BUILDING | Phase.SHARING:
                return self._under_way(entry)
            case Phase.BUILT:
                return self._built(entry)
            case Phase.READY:
                return self._ready(entry)
            case Phase.FAILED:
                return self._failed(entry)
            case _:
                return self._alone(entry)

    def _own(self, entry: EnvironmentEntry) -> Decision:
        """An answer that was lost is given again; what ended without a word is begun anew."""
        mine = (entry.job, entry.attempt) == (self._asked.job, self._asked.attempt)
        if entry.phase is Phase.BUILDING and mine:
            renewed = changed(entry, until=self._now + self._config.lease)
            return Decision(self._may_build(renewed, ""), renewed)
        if entry.phase is Phase.BUILDING:
            return self._lease(entry, "an earlier build of it here came to nothing")
        return self._lease(entry, "it was built here once and is gone")

    def _under_way(self, entry: EnvironmentEntry) -> Decision:
        if self._now > entry.until:
            return self._lease(entry, f"{entry.worker} began to build it and fell silent")
        wanted = None if entry.wanted else changed(entry, wanted=True, used_at=self._now)
        return Decision(self._wait(entry, "is building it"), wanted)

    def _built(self, entry: EnvironmentEntry) -> Decision:
        if not entry.wanted:
            until = self._now + self._config.share_begins
            entry = changed(entry, wanted=True, until=until, nudged_at=self._now)
            return Decision(self._wait(entry, "has it and shares it"), entry, nudge=True)
        if self._now > entry.until:
            return self._lease(entry, f"{entry.worker} has it and does not share it")
        if self._now - entry.nudged_at > self._config.nudge_every:
            entry = changed(entry, nudged_at=self._now)
            return Decision(self._wait(entry, "has it and shares it"), entry, nudge=True)
        return Decision(self._wait(entry, "has it and shares it"))

    def _ready(self, entry: EnvironmentEntry) -> Decision:
        asked = self._asked
        digests = entry.image.digests if entry.image else frozenset()
        if asked.lost in digests and asked.waited == entry.number:
            return self._lease(entry, "what was shared of it cannot be had")
        answer = Asked(
            turn=Turn.FETCH, number=entry.number, builder=entry.worker, image=entry.image
        )
        late = self._now - entry.used_at > USED_EVERY
        return Decision(answer, changed(entry, used_at=self._now) if late else None)

    def _failed(self, entry: EnvironmentEntry) -> Decision:
        """It is the failure of those who waited for it; whoever comes later tries again."""
        if self._asked.waited != entry.number:
            return self._lease(entry, "")
        return Decision(
            Asked(
                turn=Turn.FAIL,
                number=entry.number,
                builder=entry.worker,
                reason=entry.reason,
                detail=entry.detail,
                **self._news(entry),
            )
        )

    def _alone(self, entry: EnvironmentEntry) -> Decision:
        if self._now > entry.until:
            return self._lease(entry, "")
        because = f"the one of {entry.worker} cannot be shared: {entry.detail}"
        return Decision(Asked(turn=Turn.ALONE, because=because))

    def _lease(self, before: EnvironmentEntry | None, because: str) -> Decision:
        entry = EnvironmentEntry(
            phase=Phase.BUILDING,
            number=before.number + 1 if before else 1,
            token=self._fresh.token,
            upload=self._fresh.upload,
            worker=self._asker.worker,
            job=self._asked.job,
            attempt=self._asked.attempt,
            until=self._now + self._config.lease,
            wanted=before is not None and before.wanted and before.phase in LEASED,
            used_at=self._now,
        )
        return Decision(self._may_build(entry, because), entry)

    def _may_build(self, entry: EnvironmentEntry, because: str) -> Asked:
        lease = LeaseKey(
            pool=self._asker.pool, key=self._asked.key, number=entry.number, token=entry.token
        )
        return Asked(turn=Turn.BUILD, number=entry.number, lease=lease, because=because)

    def _wait(self, entry: EnvironmentEntry, does: str) -> Asked:
        return Asked(
            turn=Turn.WAIT,
            number=entry.number,
            builder=entry.worker,
            because=f"{entry.worker} {does}",
            **self._news(entry),
        )

    def _news(self, entry: EnvironmentEntry) -> dict[str, Any]:
        heard = self._asked.heard if self._asked.waited == entry.number else 0
        return {"printed": since(entry, heard), "heard": entry.printed}


def changed(entry: EnvironmentEntry, **values: Any) -> EnvironmentEntry:
    return entry.model_copy(update=values)


def since(entry: EnvironmentEntry, heard: int) -> bytes:
    """What a build printed after its first ``heard`` bytes, as far as it is kept."""
    missing = entry.printed - heard
    if missing <= 0:
        return b""
    if missing <= len(entry.tail):
        return entry.tail[-missing:]
    return LEFT_OUT + entry.tail if heard else entry.tail


def holds(entry: EnvironmentEntry | None, lease: LeaseKey, worker: str) -> bool:
    """Whether a builder's word still counts."""
    return (
        entry is not None
        and entry.phase in LEASED
        and (entry.number, entry.token, entry.worker) == (lease.number, lease.token, worker)
    )


def renewed(entry: EnvironmentEntry, beat: LeaseBeat, until: float) -> EnvironmentEntry | None:
    """None where nothing is left to renew."""
    if entry.phase is Phase.BUILT:
        return None
    if beat.printed < entry.printed:
        return changed(entry, until=until)
    return changed(entry, until=until, tail=beat.tail, printed=beat.printed)
