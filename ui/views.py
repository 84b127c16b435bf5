"""How do a job and a worker look to people? Without secrets: of their grants, of the job's own."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, create_model, model_validator

from schemas.job import Attempt, Record
from schemas.message import Message
from schemas.reproduce import Reproduce, reproduce
from schemas.requests import Explanation
from schemas.secret_names import masked
from schemas.spec import JobSpec
from schemas.worker import Beat

HEX_DIGESTS = r"^([0-9a-f]{64})*$"
SECRET_OF_ATTEMPT = {"claim", "nonce"}
SECRET_OF_RECORD = {"attempts": {"__all__": SECRET_OF_ATTEMPT}}


def without(model: type[Message], name: str, hidden: set[str]) -> type[Message]:
    fields: dict[str, Any] = {
        key: (field.annotation, field)
        for key, field in model.model_fields.items()
        if key not in hidden
    }
    return create_model(name, __base__=Message, __doc__=model.__doc__, **fields)


AttemptView = without(Attempt, "Attempt", SECRET_OF_ATTEMPT)
JobView = create_model(
    "Job",
    __base__=without(Record, "JobFields", {"attempts"}),
    __doc__="All that is known of a job.",
    attempts=(tuple[AttemptView, ...], ()),  # type: ignore[valid-type]
    reproduce=(Reproduce | None, None),
)


class JobAnswer(Message):
    """One job, and why it does not run yet where it does not."""

    job: JobView  # type: ignore[valid-type]
    explanation: Explanation | None = None
    notes: tuple[str, ...] = ()
    """What was tolerated in the bundle; only in the answer to its submission."""


class WorkerView(Message):
    """A worker as last heard."""

    name: str
    online: bool
    drain: bool
    heard_at: float
    """Unix seconds."""
    silent: float
    """Seconds since then."""
    aside: str = ""
    """Why it is given nothing new although it is there; empty where it is not set aside."""
    beat: Beat


class WorkerList(Message):
    workers: tuple[WorkerView, ...]


class SentTree(Message):
    """A packed tree: its pieces, as those of the files that it names, were sent before."""

    chunks: str = Field(pattern=HEX_DIGESTS, max_length=1 << 16)
    """sha256 of each of its pieces in order, as hexadecimal digits."""
    size: int = Field(gt=0, le=1 << 40)
    """Bytes of it."""


class StoredSubmission(Message):
    """A job whose files were sent before: ``bundle``, ``tree`` or ``upload`` says which."""

    spec: JobSpec
    bundle: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """sha256 of a stored bundle."""
    tree: SentTree | None = None
    upload: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """A .zip that was sent in parts."""
    parts: int = Field(default=0, ge=0, le=1 << 16)
    """How many."""

    @model_validator(mode="after")
    def one_source(self) -> Self:
        if [self.bundle, self.tree, self.upload].count(None) != 2:
            raise ValueError("name one of bundle, tree and upload")
        if self.upload is not None and not self.parts:
            raise ValueError("parts: say how many the upload has")
        return self


class PiecesAsked(Message):
    digests: str = Field(default="", pattern=HEX_DIGESTS)
    """sha256 after sha256, as hexadecimal digits."""
    size: int = Field(default=0, ge=0, le=1 << 50)
    """Bytes of all files, where they are to be judged before anything is sent."""


class MissingPieces(Message):
    missing: str
    """Those that have to be sent."""


class StoredPieces(Message):
    stored: int
    new: int
    """So many were not there before."""


class UploadState(Message):
    """A .zip that is sent in parts."""

    parts: int
    """So many are there, from the first on."""
    part_bytes: int
    """Bytes of each but the last."""


class DrainBody(Message):
    drain: bool = True


class Sample(Message):
    """A job that is submitted by one click."""

    name: str
    title: str
    text: str


class SampleList(Message):
    samples: tuple[Sample, ...]


class FoundRows(Message):
    """The rows of a log in which something was found."""

    count: int = 0
    rows: tuple[int, ...] = ()
    """Their numbers, from 1; the first 20,000."""
    more: bool = False
    """There are more than ``rows`` names."""
    total: int = 0
    """Rows that were searched."""
    complete: bool = False
    """Nothing more comes."""


def job_json(record: Record) -> dict[str, Any]:
    value = record.model_dump(mode="json", exclude=SECRET_OF_RECORD)
    value["spec"]["environment"] = masked(record.spec.environment)
    value["reproduce"] = reproduce(record).model_dump(mode="json")
    return value
