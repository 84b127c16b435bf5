"""What is a checkpoint of a job, and how does the worker of its next attempt ask for it?"""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.message import Message
from schemas.outputs import Manifest, OutputsHead, OutputsKey


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that lay in an attempt's checkpoint folder at one moment."""

    manifest: Manifest = field(default_factory=Manifest)
    links: tuple[tuple[str, str], ...] = ()
    """Path and target of each symbolic link: nobody but the job follows them."""


class AskLast(OutputsKey):
    """``checkpoint-last``: what should this attempt begin from?"""


class LastCheckpoint(Message):
    """The newest whole one of the job, or of the job that it resumes."""

    head: OutputsHead | None = None
    """``head.job`` has its pieces; None where there is none."""


class GetPiece(OutputsKey):
    """``checkpoint-get``"""

    source: str
    """The job whose piece it is."""
    digest: bytes


class GotPiece(Message):
    data: bytes
