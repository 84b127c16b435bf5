"""What is known of a job: its record, its attempts, its timeline."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from schemas.message import Message
from schemas.outputs import OutputsEnd
from schemas.reason import INFRASTRUCTURE as INFRASTRUCTURE
from schemas.reason import Kind as Kind
from schemas.reason import Reason as Reason
from schemas.spec import JobSpec


class State(StrEnum):
    """Where a job is. The last three are ends: nothing leaves them."""

    WAITING = "waiting"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in ENDS

    @property
    def held(self) -> bool:
        """Whether a worker holds an attempt of the job."""
        return self in HELD


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
HELD = frozenset({State.STARTING, State.RUNNING, State.CANCELLING})


class Fact(StrEnum):
    """What can happen to a job; the last token of ``stoker.job.<job>.<fact>``."""

    SUBMITTED = "submitted"
    QUEUED = "queued"
    STARTING = "starting"
    BUILDING = "building"
    RUNNING = "running"
    RETRYING = "retrying"
    REINSTATED = "reinstated"
    """A lost attempt goes on: its worker came back before a successor ran."""
    REFUSED = "refused"
    """A superseded attempt said something; noted once, and nothing else changes."""
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Quote(Message):
    """The lines of a log that say why its attempt failed."""

    lines: tuple[str, ...]
    """As a person would see them; ``…`` stands for what was cut."""
    rule: str
    """Which rule found them."""
    start: int
    """Offset of their first byte in the log."""
    end: int
    """Offset behind their last byte."""
    rank: int = 0


class AttemptEnd(Message):
    """How an attempt ended, as its worker reports it."""

    reason: Reason
    """``exit`` with code 0 is success."""
    exit_code: int | None = None
    signal: int | None = None
    """The signal that ended the program, if one did (9 for SIGKILL)."""
    detail: str = ""
    """One sentence for a person."""
    log_ends: dict[int, int] = Field(default_factory=dict)
    """Rank to the final offset of its log, in bytes."""
    peak_memory: int | None = None
    """Bytes."""
    quote: Quote | None = None
    """Of a failure, where the log says something of it."""
    outputs: OutputsEnd | None = None
    """Where the program left any."""

    @property
    def succeeded(self) -> bool:
        return self.reason is Reason.EXIT and self.exit_code == 0

    def same(self, other: AttemptEnd | None) -> bool:
        """Whether both tell of one end: what goes with it is looked for anew at each telling."""
        if other is None:
            return False
        update = {"quote": other.quote, "outputs": other.outputs}
        return self.model_copy(update=update) == other


class Environment(Message):
    """What a job runs in, as the worker chose it; shown to people."""

    source: str
    """``Dockerfile``, ``requirements.txt``, ``pyproject.toml`` or ``python`` (nothing to build)."""
    base: str
    """Base image, or the interpreter of the process runtime."""
    key: str
    """Content hash that the built environment is cached under."""
    cached: bool = False
    image: str | None = None
    """Id of the image that runs, where there is one."""
    digest: str = ""
    """Under which a registry gives the base image: ``sha256:…``; empty where none does."""
    python: str = ""
    """Version, where it is known."""
    packages: str = ""
    """sha256 of the list of what is installed in it (``schemas/packages.py``), where it is kept."""


class Pin(Message):
    """The image that a job found under a name first: it gets the same one ever after."""

    name: str
    digest: str
    """Under which a registry gives it: ``sha256:…``."""


class Attempt(Message):
    """One try of a job on one worker."""

    number: int
    worker: str
    runtime: str = ""
    """``docker``, ``process`` or ``dummy``."""
    claim: str
    """Id of the claim that it was granted to; a repeated claim gets the same grant."""
    nonce: str
    """Secret of the grant; every report carries it."""
    granted_at: float
    building_at: float | None = None
    started_at: float | None = None
    """Unix seconds at which the program started, by the worker's clock."""
    ended_at: float | None = None
    environment: Environment | None = None
    end: AttemptEnd | None = None
    follows: int = 0
    """Number of the attempt before it; 0 for the first."""
    refused: bool = False
    """It spoke after it was superseded."""


class Entry(Message):
    """One line of a job's timeline."""

    fact: Fact
    at: float
    """Unix seconds, by the clock of the service that wrote it."""
    attempt: int = 0
    text: str = ""


class Record(Message):
    """All that is known of a job. The last fact on its subject carries the truth."""

    id: str
    owner: str
    spec: JobSpec
    bundle: str
    """sha256 of the bundle's canonical manifest."""
    bundle_size: int = 0
    """Bytes of the bundle's files."""
    bundle_scope: str = ""
    """Among whose pieces it lies; empty where it is one archive."""
    state: State
    submitted_at: float
    changed_at: float
    class_name: str | None = None
    """The class that its ticket went to."""
    attempt: int = 0
    """Number of the current attempt, the only one that can win; 0 before the first."""
    attempts: tuple[Attempt, ...] = ()
    not_before: float | None = None
    """Unix seconds before which a retry does not start."""
    retry_of: str | None = None
    """The ended job that this one repeats."""
    like: str | None = None
    """The job whose spec this one's was begun from."""
    pin: Pin | None = None
    """Of its base image, once an attempt found one, or the job that it repeats."""
    cancelled_by: str | None = None
    reason: Reason | None = None
    """Why the job ended."""
    detail: str = ""
    exit_code: int | None = None
    timeline: tuple[Entry, ...] = ()

    @property
    def current(self) -> Attempt | None:
        return self.find(self.attempt)

    def granted(self, attempt: int, nonce: str, worker: str) -> bool:
        """Whether that worker has the current attempt: only who was granted it knows its nonce."""
        current = self.current
        return current is not None and (attempt, nonce, worker) == (
            current.number, current.nonce, current.worker,
        )  # fmt: skip

    def returns(self, number: int) -> int:
        """How often that attempt was reinstated."""
        facts = (e.fact for e in self.timeline if e.attempt == number)
        return sum(1 for fact in facts if fact is Fact.REINSTATED)

    def find(self, number: int) -> Attempt | None:
        return next((one for one in reversed(self.attempts) if one.number == number), None)

    @property
    def name(self) -> str:
        return self.spec.name or self.spec.entry


class JobFact(Message):
    """What a message of ``JOBS`` holds: the fact and the whole record after it."""

    fact: Fact
    record: Record
