"""What can be asked of the services, and what do they answer?"""

from __future__ import annotations

from pydantic import Field

from schemas.job import Pin, Record, State
from schemas.message import Message
from schemas.spec import JobSpec
from schemas.tree import TreeHead


class Submit(Message):
    """``stoker.req.upload.submit``; the same owner and key get the same job."""

    owner: str
    key: str
    """Idempotency key."""
    spec: JobSpec
    upload: str | None = None
    """Name of the raw .zip in the bucket ``uploads``; or else ``tree`` or ``bundle``."""
    parts: int = 0
    """In so many objects, ``<upload>.<number>``; 0: in one of that name."""
    tree: TreeHead | None = None
    """Where the tree lies whose pieces were sent before."""
    bundle: str | None = None
    """Digest of a bundle that is stored already: of the owner's own, or of the job that this one
    repeats or was begun from."""
    retry_of: str | None = None
    like: str | None = None
    """The job whose spec this one's was begun from."""
    pin: Pin | None = None
    """The base image of the job that it repeats."""
    address: str = ""
    """Where the request came from, as the page saw it; for the audit."""


class Submitted(Message):
    """The job is stored and acknowledged: it cannot be lost."""

    record: Record
    created: bool
    """False where the key had been used before."""
    notes: tuple[str, ...] = ()
    """What was tolerated, for the person to know: a single top folder was stripped, say."""


class Admit(Message):
    """``stoker.req.upload.admit``: may this be submitted? Asked before its bytes are sent."""

    owner: str
    key: str
    size: int = 0
    """Bytes of the request; 0 where they are not known yet."""


class Admitted(Message):
    most: int | None = None
    """Bytes that the upload may have; None: as many as the server takes."""
    earlier: Submitted | None = None
    """What the key got before, where it would be refused now: nothing need be sent."""


class FetchBundle(Message):
    """``stoker.req.upload.fetch.<worker>``: the next chunk of a granted attempt's bundle."""

    job: str
    attempt: int
    nonce: str
    bundle: str
    cursor: int = 0
    """0 for the first chunk, then the ``next`` of the last answer."""
    number: int = 0
    """How many chunks came before this one."""


class BundleChunk(Message):
    data: bytes
    next: int | None
    """None after the last one."""
    size: int
    """Bytes of the whole archive."""


class FetchTree(Message):
    """``stoker.req.upload.tree.<worker>``: one part of a granted attempt's packed tree."""

    job: str
    attempt: int
    nonce: str
    bundle: str
    number: int = 0
    """0 for the first part, which comes with the pieces where they are small."""


class TreePart(Message):
    data: bytes
    parts: int
    """So many there are."""
    size: int
    """Bytes of the packed tree."""
    pieces: tuple[bytes, ...] = ()
    """All of the tree's, or none."""


class FetchPieces(Message):
    """``stoker.req.upload.pieces.<worker>``: pieces of that tree, by their places in it."""

    job: str
    attempt: int
    nonce: str
    bundle: str
    numbers: tuple[int, ...]


class Pieces(Message):
    pieces: tuple[bytes, ...]
    """The first of those that were asked for, as many as one message holds; at least one."""


class Cancel(Message):
    """``stoker.req.scheduler.cancel``; repeated, it gets the same answer."""

    job: str
    by: str
    address: str = ""
    """Where the request came from, as the page saw it; for the audit."""


class CancelAnswer(Message):
    record: Record
    """As it is now: ``cancelling``, ``cancelled``, or an end that came first."""


class Drain(Message):
    """``stoker.req.scheduler.drain``: take nothing new, or take up work again."""

    worker: str
    drain: bool
    by: str = ""
    address: str = ""


class LogPosition(Message):
    """``stoker.req.archive.position.<worker>``: where does the stored log of a rank end?"""

    job: str
    attempt: int
    rank: int


class LogEnd(Message):
    offset: int
    """Bytes of the log that are stored."""
    sequence: int
    """Last stream sequence of its subject: the fence of the next message. 0 where none."""
    sealed: int = 0
    """Bytes of it that are archived for good: the worker need not keep them."""


class ListJobs(Message):
    """``stoker.req.catalog.list``: newest first."""

    state: tuple[State, ...] = ()
    pool: str | None = None
    owner: str | None = None
    owners: tuple[str, ...] | None = None
    """Only theirs, in the counts too; None: everybody's."""
    text: str = ""
    """Found in name, id or reason."""
    before: str | None = None
    """Job id: only older ones."""
    limit: int = 100


class JobSummary(Message):
    """One row of a list."""

    id: str
    name: str
    owner: str
    pool: str
    state: State
    reason: str | None = None
    detail: str = ""
    exit_code: int | None = None
    attempt: int = 0
    worker: str | None = None
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None

    @classmethod
    def of(cls, record: Record) -> JobSummary:
        """``started_at`` is that of the newest attempt."""
        current = record.current
        return cls(
            id=record.id,
            name=record.name,
            owner=record.owner,
            pool=record.spec.pool,
            state=record.state,
            reason=record.reason.value if record.reason else None,
            detail=record.detail,
            exit_code=record.exit_code,
            attempt=record.attempt,
            worker=current.worker if current else None,
            submitted_at=record.submitted_at,
            started_at=current.started_at if current else None,
            ended_at=record.changed_at if record.state.ended else None,
        )


class JobList(Message):
    jobs: tuple[JobSummary, ...]
    counts: dict[str, int]
    """State to number of jobs, over all that match the other filters."""
    more: bool = False


class Explain(Message):
    """``stoker.req.scheduler.explain``: why does this job not run yet?"""

    job: str


class Explanation(Message):
    text: str
    """One sentence: ``2 jobs are ahead of it in pool gpu``."""
    ahead: int | None = None
    workers: dict[str, str] = Field(default_factory=dict)
    """Worker to why it does not take the job."""
