"""Which version does a job get, what does a new one change, and how is it refused? Pure."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Mapping

from bus.errors import Refused
from schemas.data import DataMount
from schemas.datasets import MOST_VERSIONS, Dataset, Version
from schemas.problem import Problem

NEAR = 3
"""Names, or versions, that are shown."""


def refused(code: str, detail: str, status: int = 422) -> Refused:
    title = "Not with this data"
    return Refused(Problem(code=code, title=title, status=status, detail=detail, field="data"))


def pinned(mount: DataMount, dataset: Dataset, owner: str) -> DataMount:
    """The mount with what it gets. Raises ``Refused``."""
    version = chosen(mount, dataset, owner)
    told = {
        "owner": dataset.owner,
        "version": version.number,
        "tree": version.tree,
        "size": version.size,
        "files": version.files,
    }
    return mount.model_copy(update=told)


def plain(mount: DataMount) -> DataMount:
    """A source: nothing of it is known here, whatever was said."""
    return mount.model_copy(update={"tree": "", "size": 0, "files": 0})


def chosen(mount: DataMount, dataset: Dataset, owner: str) -> Version:
    text = called(dataset.owner, dataset.name, owner)
    if mount.version is None:
        newest = dataset.newest
        if newest is None:
            raise refused("no_such_data", f"every version of {text} was deleted", 404)
        return newest
    version = dataset.find(mount.version)
    if version is None or version.gone_at is not None:
        there = ", ".join(str(one.number) for one in dataset.there[-NEAR:]) or "none"
        why = gone(version) if version else f"{text} has no version {mount.version}"
        raise refused("no_such_version", f"{why}; newest that are there: {there}", 404)
    return version


def gone(version: Version) -> str:
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(version.gone_at or 0.0))
    return f"version {version.number} was deleted by {version.gone_by or 'somebody'}, {at}"


def unknown(owner: str, name: str, asker: str, known: Iterable[str]) -> Refused:
    """``known``: what may be told of, as the asker would write it."""
    text = called(owner, name, asker)
    near = difflib.get_close_matches(text, list(known), n=NEAR, cutoff=0.6)
    instead = f"did you mean {' or '.join(near)}?" if near else "see: stoker data list"
    return refused("no_such_data", f"there is no data {text}; {instead}", 404)


def pieces_missing(count: int) -> Refused:
    detail = f"{count} pieces are not stored: ask which are missing, send them, and submit again"
    return refused("pieces_missing", detail, 409)


def too_many(count: int, most: int) -> Refused:
    return refused(
        "too_many_files",
        f"{count:,} files; at most {most:,} are allowed: put them into archives, such as tar, zip"
        " or parquet, or into several datasets",
        413,
    )


def called(owner: str, name: str, asker: str) -> str:
    """A dataset as that user writes it."""
    return name if owner == asker else f"{owner}/{name}"


def with_version(dataset: Dataset, made: Version) -> Dataset:
    """Raises ``Refused``."""
    if len(dataset.versions) >= MOST_VERSIONS:
        raise refused(
            "too_many_versions",
            f"{dataset.name} has had {MOST_VERSIONS} versions: take another name",
            429,
        )
    return dataset.model_copy(update={"versions": (*dataset.versions, made)})


def next_number(dataset: Dataset) -> int:
    return max((one.number for one in dataset.versions), default=0) + 1


def without(dataset: Dataset, number: int | None, by: str, now: float) -> Dataset:
    """With that version, or all of them, marked as deleted."""

    def after(one: Version) -> Version:
        goes = one.gone_at is None and number in (None, one.number)
        return one.model_copy(update={"gone_at": now, "gone_by": by}) if goes else one

    return dataset.model_copy(update={"versions": tuple(map(after, dataset.versions))})


def shown(dataset: Dataset) -> Dataset:
    return dataset.model_copy(update={"versions": dataset.there})


def named_trees(datasets: Mapping[str, Dataset]) -> set[tuple[str, str]]:
    """Owner and id of all that a version names."""
    return {(one.owner, version.tree) for one in datasets.values() for version in one.there}
