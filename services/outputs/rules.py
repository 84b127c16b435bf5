"""Which worker may write outputs, which manifest is accepted, and what can go? Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bus.outputs import cut
from schemas.job import Record
from schemas.outputs import Commit, Manifest, OutputsHead, OutputsKey
from schemas.problem import Problem
from services.outputs.config import OutputsConfig


def refusal(
    record: Record | None, asked: OutputsKey, worker: str, now: float, late: float
) -> Problem | None:
    """Only the worker that the record names for its current attempt, and not for ever."""
    if record is None or not record.granted(asked.attempt, asked.nonce, worker):
        return not_granted(f"attempt {asked.attempt} of {asked.job} is superseded")
    if record.state.ended and now - record.changed_at > late:
        return not_granted(f"{asked.job} ended too long ago for outputs to come")
    return None


def not_granted(detail: str) -> Problem:
    title = "This attempt is not granted to this worker"
    return Problem(code="not_granted", title=title, status=403, detail=detail)


def bad_chunk(detail: str) -> Problem:
    title = "What came is not what was announced"
    return Problem(code="bad_chunk", title=title, status=422, detail=detail)


def too_large(detail: str) -> Problem:
    title = "The outputs are too large"
    return Problem(code="outputs_too_large", title=title, status=413, detail=detail)


def excess(manifest: Manifest, config: OutputsConfig, links: int = 0) -> Problem | None:
    size, count = manifest.size, len(manifest.files) + links
    if size > config.most_bytes:
        return too_large(f"{size} bytes, where {config.most_bytes} are allowed")
    if count > config.most_files:
        return too_large(f"{count} files, where {config.most_files} are allowed")
    return None


def replaces(asked: Commit, last: OutputsHead) -> bool:
    """Whether a checkpoint is newer than the last one of its job."""
    return (asked.attempt, asked.round) > (last.attempt, last.round)


def forgotten(record: Record, now: float, config: OutputsConfig) -> bool:
    """Whether the checkpoint of a job goes: nobody resumed it in all that time."""
    kept = config.keep_checkpoints
    return kept is not None and record.state.ended and now - record.changed_at > kept


def expired(record: Record, now: float, config: OutputsConfig) -> bool:
    """Whether all outputs of a job go."""
    kept = config.keep
    return kept is not None and record.state.ended and now - record.changed_at > kept


def collectable(
    record: Record, heads: list[OutputsHead], now: float, config: OutputsConfig
) -> bool:
    """Whether nothing more can come, so that what no manifest names is of no use."""
    if not record.state.ended or now - record.changed_at < config.grace:
        return False
    told = any(head.final and head.attempt == record.attempt for head in heads)
    return told or now - record.changed_at > config.late + config.grace


def unnamed(
    stored: set[bytes], heads: Iterable[OutputsHead], manifests: Iterable[Manifest]
) -> set[bytes]:
    """The chunks that no manifest needs, nor is one."""
    left = set(stored)
    for head in heads:
        left.difference_update(cut(head.chunks))
    for manifest in manifests:
        for file in manifest.files:
            left.difference_update(cut(file.chunks))
    return left
