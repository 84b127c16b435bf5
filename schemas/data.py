"""What data does a job ask for, and where does it find it?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.ids import NAME_TOKEN, USER_NAME

MOUNTS_MOST = 16
"""Of one job."""
PATH_CHARACTERS = 255
SOURCE_CHARACTERS = 2048
HOST = "host:"
NAMED = re.compile(r"^(?:(?P<owner>[^/@:]+)/)?(?P<name>[^/@:]+)(?:@v?(?P<version>\d{1,9}))?$")
SHORT = re.compile(
    r"^(?P<what>(?:[a-z0-9]+://[^\s]+?|host:/[^\s:]*|[^\s:]+))(?::(?P<path>/[^:]*))?$"
)
URL = re.compile(r"^(?:hf|s3|https?)://[A-Za-z0-9][^\s\x00-\x1f\x7f]*$")
PLACE = re.compile(r"^(?:/[A-Za-z0-9._+-]+)+$")
TAKEN = frozenset(
    {
        *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "opt", "proc"),
        *("root", "run", "sbin", "srv", "sys", "tmp", "usr", "var", "outputs", "checkpoints"),
    }
)
"""Folders of a container in which nothing is mounted: the image's, the kernel's, Stoker's own."""
JOB = "/job/"


class DataMount(BaseModel):
    """Data that a job finds at a path, and cannot change: a dataset of Stoker's, or a source.

    Written short, ``NAME[@VERSION][:/PATH]``, ``OWNER/NAME…`` or ``SOURCE:/PATH``, where a source
    begins with ``hf://``, ``s3://``, ``https://`` or is ``host:/FOLDER`` of the worker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    """Of a dataset; empty where it is a source."""
    owner: str = ""
    """Whose dataset; filled in at submission where it is left out."""
    version: int | None = Field(default=None, ge=1, le=999_999_999)
    """The newest where it is left out; filled in at submission, so that a retry has the same."""
    source: str = Field(default="", max_length=SOURCE_CHARACTERS)
    path: str = Field(default="", max_length=PATH_CHARACTERS)
    """Absolute, in the container; ``/data/NAME`` where it is left out."""
    tree: str = Field(default="", pattern=r"^(?:[0-9a-f]{64})?$")
    """What the version holds; filled in at submission, whatever was said."""
    size: int = 0
    """Bytes; likewise."""
    files: int = 0
    """Likewise."""

    @model_validator(mode="before")
    @classmethod
    def read_short(cls, value: Any) -> Any:
        return read_short(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def check(self) -> Self:
        if bool(self.name) == bool(self.source):
            raise ValueError("data is either a dataset's name or a source")
        if self.name and not NAME_TOKEN.match(self.name):
            raise ValueError(f"{self.name[:64]!r} is no dataset's name: use a-z, 0-9 and '-'")
        if self.owner and not USER_NAME.match(self.owner):
            raise ValueError(f"{self.owner[:64]!r} is no user's name")
        if self.source:
            check_source(self.source)
            if self.owner or self.version:
                raise ValueError("a source has no owner and no version")
        if not self.path:
            object.__setattr__(self, "path", default_path(self))
        check_path(self.path)
        return self

    @property
    def text(self) -> str:
        """As people write it, without the path."""
        if self.source:
            return self.source
        owner = f"{self.owner}/" if self.owner else ""
        return f"{owner}{self.name}@{self.version}" if self.version else f"{owner}{self.name}"

    @property
    def scheme(self) -> str:
        """Of a source; empty for a dataset."""
        return self.source.partition(":")[0]


def read_short(text: str) -> dict[str, Any]:
    """Raises ``ValueError``."""
    short = SHORT.match(text)
    if short is None:
        raise ValueError(f"{text[:200]!r} is no data: write NAME[@VERSION]:/PATH")
    what, path = short["what"], short["path"] or ""
    if what.startswith(HOST) or "://" in what:
        return {"source": what, "path": path}
    named = NAMED.match(what)
    if named is None:
        raise ValueError(f"{what[:200]!r} is no data: write NAME, NAME@VERSION or OWNER/NAME")
    version = int(named["version"]) if named["version"] else None
    return {"owner": named["owner"] or "", "name": named["name"], "version": version, "path": path}


def check_source(source: str) -> None:
    if source.startswith(HOST):
        folder = source.removeprefix(HOST)
        if not folder.startswith("/") or ".." in folder.split("/") or "\0" in folder:
            raise ValueError(
                f"{source[:200]!r}: write host:/FOLDER, an absolute path of the worker"
            )
    elif not URL.match(source):
        raise ValueError(
            f"{source[:200]!r} is no source: it begins with hf://, s3://, https:// or host:/"
        )
    elif "@" in source.split("/")[2]:
        raise ValueError("a source holds no password: name a secret of yours in the job instead")


def default_path(mount: DataMount) -> str:
    if mount.name:
        return f"/data/{mount.name}"
    raise ValueError(f"say where it is to be found: {mount.source[:200]}:/data/NAME")


def check_path(path: str) -> None:
    parts = path.split("/")[1:]
    if not PLACE.match(path) or any(part in (".", "..") for part in parts):
        raise ValueError(f"{path[:200]!r} is no place for data: write an absolute path, /data/NAME")
    if parts[0] in TAKEN or path == "/job":
        raise ValueError(f"no data can lie at {path}: write a path such as /data/NAME or /job/NAME")


def check_mounts(mounts: tuple[DataMount, ...]) -> None:
    """Raises ``ValueError`` where one place is within another."""
    places: list[str] = []
    for mount in mounts:
        for other in places:
            if f"{mount.path}/".startswith(f"{other}/") or other.startswith(f"{mount.path}/"):
                raise ValueError(f"{mount.path} and {other} lie within one another")
        places.append(mount.path)


def variables(mounts: Iterable[DataMount]) -> dict[str, DataMount]:
    """``STOKER_DATA_<NAME>`` to what the program finds by it.

    A source, and a dataset that is mounted twice, go by the last part of their path.
    """
    all_of_them = tuple(mounts)
    names = Counter(mount.name for mount in all_of_them)
    found = {}
    for mount in all_of_them:
        own = mount.name if mount.name and names[mount.name] == 1 else ""
        found[variable(own or mount.path.rpartition("/")[2])] = mount
    return found


def variable(name: str) -> str:
    return "STOKER_DATA_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
