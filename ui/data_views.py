"""How does a dataset look over HTTP, and what goes in?"""

from __future__ import annotations

from pydantic import Field

from schemas.datasets import NOTE_CHARACTERS, Dataset
from schemas.message import Message
from ui.views import SentTree


class NewVersion(Message):
    """The files of a version: all pieces were sent before."""

    tree: SentTree
    note: str = Field(default="", max_length=NOTE_CHARACTERS)
    """For people."""


class VersionAnswer(Message):
    """The dataset with its new version."""

    dataset: Dataset
    """Its newest version is the one that was sent."""
    created: bool = False
    """False where the newest version held the same already."""


class DataList(Message):
    """What the asker may use."""

    datasets: tuple[Dataset, ...] = ()
    """By owner and name; only versions that are there."""
    you: str = ""
    """The asker: what is theirs they may write without an owner."""


class DataFile(Message):
    """One file of a version."""

    path: str
    size: int
    """Bytes."""
    mode: int
    """Permission bits."""
    sha256: str


class DataFileList(Message):
    """Files of one version, in the order of their paths."""

    owner: str
    name: str
    version: int
    files: tuple[DataFile, ...] = ()
    more: bool = False
    """There are more behind the last one: ask with ``after``."""
    count: int = 0
    size: int = 0
    """Of all files of the version."""
    at: float = 0.0
    """Unix seconds at which the version was put."""
