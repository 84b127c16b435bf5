"""What do a worker and the scheduler tell each other?"""

from __future__ import annotations

from pydantic import Field

from schemas.job import AttemptEnd, Environment, Fact, Pin
from schemas.message import Message
from schemas.outputs import MOST_BYTES, MOST_FILES
from schemas.spec import JobSpec


class Capacity(Message):
    """An amount of a worker's resources."""

    cpus: float = 0.0
    memory: int = 0
    """Bytes."""
    gpus: int = 0
    slots: int = 0
    """Attempts at one time."""


class Requirement(Message):
    """What one class asks of a worker."""

    cpus: float
    memory: int
    gpus: int = 0


class ClassRecord(Message):
    """One set of requirements: one durable consumer of a pool's work stream."""

    pool: str
    name: str
    """Token of the subject ``stoker.work.<pool>.<class>.<job>``."""
    requirement: Requirement
    used_at: float
    """Unix seconds of the last ticket."""


class Ticket(Message):
    """What lies in ``WORK_<pool>``: a hint that a job may be claimed."""

    job: str


class AttemptKey(Message):
    """Names one attempt."""

    job: str
    attempt: int


class Held(AttemptKey):
    """An attempt that a worker holds, in its beat."""

    phase: str = ""
    """``preparing``, ``running``, ``stopping`` or ``reporting``."""


class Load(Message):
    """How busy a worker's machine is right now."""

    cpu: float = 0.0
    """Share of all cores, 0 to 1."""
    memory: int = 0
    """Bytes in use."""
    memory_total: int = 0
    disk_free: int = 0
    """Bytes free where the work directory lies."""
    gpus: tuple[str, ...] = ()


class Beat(Message):
    """What a worker says every few seconds: ``stoker.beat.<pool>.<worker>``."""

    worker: str
    session: str
    """Changes at every start of the agent."""
    sent_at: float
    """The worker's own monotonic seconds; echoed in the answer."""
    pool: str = "default"
    runtime: str = "docker"
    version: str = ""
    host: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    capacity: Capacity
    free: Capacity
    load: Load = Load()
    draining: bool = False
    shortage: str = ""
    """Why it takes nothing new although it would, in words that follow its name."""
    leaving: bool = False
    """It stops for a successor that goes on with what it holds: silence is expected."""
    held: tuple[Held, ...] = ()
    ends: tuple[AttemptKey, ...] = ()
    """Ends that were not confirmed yet."""
    holds: tuple[str, ...] = ()
    """Data and environments that lie there already: of each key the start; the last used first, and
    bounded."""
    claims: tuple[str, ...] = ()
    """Jobs that it asks for and has not been answered: a grant of one may be on its way."""


class Stop(AttemptKey):
    """One attempt to end: SIGTERM, ``grace`` seconds, SIGKILL."""

    grace: float = 10.0
    reason: str = "cancelled"


class BeatAnswer(Message):
    """What a worker should do now."""

    sent_at: float
    """Echo of the beat's."""
    stop: tuple[Stop, ...] = ()
    classes: tuple[ClassRecord, ...] = ()
    """The classes of its pool that it may pull from."""
    drain: bool = False
    """An admin asked that it takes nothing new."""
    aside: str = ""
    """Why it is given nothing new although it would take it; empty where it is."""
    lost_after: float = 30.0
    """Seconds of its silence after which its attempts are lost; it beats six times as often."""


class WorkerRecord(Message):
    """A worker as last heard, in the KV bucket ``workers``."""

    beat: Beat
    heard_at: float
    """Unix seconds by the scheduler's clock."""
    drain: bool = False
    """Asked for by an admin; outlives the agent's restarts."""
    aside: str = ""
    """Why it is set aside; empty where it is not."""


class Claim(Message):
    """A worker asks for the job of a ticket: ``stoker.req.scheduler.claim.<worker>``."""

    id: str
    """Repeated with the same id, it gets the same answer."""
    worker: str
    job: str
    runtime: str = "docker"


LOG_RATE = 64 << 20
LOG_TOTAL = 16 << 30


class Grant(Message):
    """One attempt, given to one worker."""

    job: str
    attempt: int
    nonce: str
    owner: str = ""
    spec: JobSpec
    bundle: str
    bundle_size: int = 0
    bundle_scope: str = ""
    """Among whose pieces it lies; empty where it is one archive."""
    log_rate: int = LOG_RATE
    """Bytes a second that its log may get, on average; 0 for no limit."""
    log_total: int = LOG_TOTAL
    """Bytes that its log may get; 0 for no limit."""
    outputs_size: int = MOST_BYTES
    outputs_files: int = MOST_FILES
    """What its outputs may have in all; 0 for no limit."""
    image: str = ""
    gpu_image: str = ""
    """The pool's own base images, of all jobs and of those with GPUs; empty where it has none."""
    pin: Pin | None = None
    """The base image that the job found first."""


class ClaimAnswer(Message):
    """A grant, or why there is none."""

    grant: Grant | None = None
    refusal: str = ""
    back: float | None = None
    """Seconds after which the ticket is offered again: another worker should have it."""


class Report(Message):
    """What an attempt has come to: ``stoker.req.scheduler.report.<worker>``; idempotent."""

    worker: str
    job: str
    attempt: int
    nonce: str
    fact: Fact
    """``building``, ``running``, or ``succeeded``/``failed``/``cancelled`` with an ``end``."""
    at: float
    """Unix seconds by the worker's clock."""
    started_at: float | None = None
    """When the program started; carried by the end too, in case ``running`` was skipped."""
    environment: Environment | None = None
    end: AttemptEnd | None = None


class ReportAnswer(Message):
    """Answered after the record has it."""

    accepted: bool
    stop: bool = False
    """The attempt should not run (superseded or cancelled)."""
    refusal: str = ""


class Command(Message):
    """A nudge to one worker: ``stoker.cmd.<worker>.<verb>``; the next beat repeats it."""

    stop: tuple[Stop, ...] = ()
    classes: tuple[ClassRecord, ...] = ()
    drain: bool | None = None
    share: tuple[str, ...] = ()
    """Keys of environments that it built and that others wait for."""
