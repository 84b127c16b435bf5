"""What is known of a dataset, and what is asked of the service ``datasets``?"""

from __future__ import annotations

from pydantic import Field

from schemas.data import DataMount
from schemas.message import Message
from schemas.tree import TreeHead

MOST_FILES = 200_000
"""Of one version: who lists, checks or fetches it has all their names in memory."""
MOST_BYTES = 1 << 40
MOST_VERSIONS = 2000
"""Of one dataset, deleted ones too."""
MOST_DATASETS = 1000
"""Of one owner."""
NOTE_CHARACTERS = 200
ANSWER_BYTES = 768 << 10
"""Most bytes of pieces in one answer, but for one that is alone."""
PIECES_MOST = 64
"""In one answer."""


class Version(Message):
    """One state of a dataset; what it holds never changes."""

    number: int
    """1 for the first; none is given twice."""
    tree: str
    """Id of what it holds."""
    size: int
    """Bytes of all files."""
    files: int
    at: float
    """Unix seconds."""
    note: str = ""
    """By who put it, for people."""
    gone_at: float | None = None
    """When it was deleted; None while it is there."""
    gone_by: str = ""


class Dataset(Message):
    """Under ``<owner>.<name>`` in the bucket ``datasets``."""

    owner: str
    name: str
    versions: tuple[Version, ...] = ()
    """In order, with those that were deleted: a job that names one is told so."""

    @property
    def there(self) -> tuple[Version, ...]:
        return tuple(one for one in self.versions if one.gone_at is None)

    @property
    def newest(self) -> Version | None:
        return next((one for one in reversed(self.versions) if one.gone_at is None), None)

    def find(self, number: int) -> Version | None:
        return next((one for one in self.versions if one.number == number), None)


class DatasetList(Message):
    datasets: tuple[Dataset, ...] = ()
    """By owner and name; only versions that are there."""


class ListDatasets(Message):
    """``stoker.req.datasets.list``"""

    owners: tuple[str, ...] | None = None
    """Only theirs; None: everybody's."""


class FindDataset(Message):
    """``stoker.req.datasets.find``; refused with the nearest names."""

    owner: str
    name: str
    asker: str
    sees: tuple[str, ...] | None = None
    """Owners whose data the asker may use; None: everybody's."""


class CommitData(Message):
    """``stoker.req.datasets.commit``: a new version. Sent again, it gets the same one."""

    owner: str
    name: str
    head: TreeHead
    """Its pieces, and those that hold the tree itself, have been put before."""
    note: str = Field(default="", max_length=NOTE_CHARACTERS)
    address: str = ""


class CommittedData(Message):
    dataset: Dataset
    """The version is its newest one."""
    created: bool = False
    """False where the newest version held the same already."""


class RemoveData(Message):
    """``stoker.req.datasets.remove``; repeated, it is no error."""

    owner: str
    name: str
    version: int | None = None
    """None: all of them."""
    by: str
    address: str = ""


class ResolveData(Message):
    """``stoker.req.datasets.resolve``: what does a job that is submitted now get?"""

    asker: str
    """The job's owner."""
    sees: tuple[str, ...] | None = None
    """Owners whose data they may use; None: everybody's."""
    data: tuple[DataMount, ...]


class Resolved(Message):
    data: tuple[DataMount, ...]
    """The same, each with its owner, version and tree."""


class DataKey(Message):
    """Which data of which attempt a worker asks for: ``stoker.req.datasets.<verb>.<worker>``."""

    job: str
    attempt: int
    nonce: str
    index: int = Field(ge=0)
    """Place in the job's ``data``."""


class AskTree(DataKey):
    """``tree``: a piece of the packed tree."""

    part: int = Field(ge=0)


class DataTreePart(Message):
    data: bytes = b""
    parts: int
    """How many there are of the packed tree."""


class AskPieces(DataKey):
    """``pieces``: some that follow each other in the tree."""

    first: int = Field(ge=0)
    count: int = Field(ge=1, le=PIECES_MOST)


class DataPieces(Message):
    data: tuple[bytes, ...]
