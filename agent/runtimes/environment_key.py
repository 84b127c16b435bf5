"""What is an environment made of, what is its key, and what changed since the last one? Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "stoker environment 2"
"""Changes when the same parts are to give another environment."""
KEY_LENGTH = 32
SHOWN = 8
NAMED_MOST = 3
"""Parts that are named in a line of the log."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Part to what it is: a digest, a version."""

    kind: str
    parts: Mapping[str, str]

    @property
    def key(self) -> str:
        digest = hashlib.sha256()
        for text in (FORMAT, self.kind, *flat(self.parts)):
            # Each with its length: no two lists of parts look the same.
            digest.update(b"%d:" % len(text.encode()) + text.encode())
        return digest.hexdigest()[:KEY_LENGTH]


def flat(parts: Mapping[str, str]) -> list[str]:
    return [text for name, value in sorted(parts.items()) for text in (name, value)]


def contents(files: Mapping[str, bytes]) -> dict[str, str]:
    """Parts by the files' names."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def base_of(image: Mapping[str, Any], name: str) -> str:
    """The digest under which a registry gives it, or its id; and for which machine it is.

    The digest of an image for many machines is the same for all of them.
    """
    digests = [one.partition("@") for one in image.get("RepoDigests") or ()]
    others = sorted(digest for _, _, digest in digests)
    known = digest_of(image, name) or (others or [str(image["Id"])])[0]
    machine = "/".join(str(image.get(part) or "") for part in ("Os", "Architecture", "Variant"))
    return f"{known} {machine}"


def digest_of(image: Mapping[str, Any], name: str) -> str:
    """The digest under which the registry of that name gives it; empty where it is none's."""
    digests = [one.partition("@") for one in image.get("RepoDigests") or ()]
    own = [digest for repository, _, digest in digests if repository == repository_of(name)]
    return min(own, default="")


def repository_of(name: str) -> str:
    name = name.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def python_of(image: Mapping[str, Any], asked: str | None) -> str:
    """The version that the image says it has, or else the one that was asked for."""
    variables = dict(one.partition("=")[::2] for one in image["Config"].get("Env") or ())
    return variables.get("PYTHON_VERSION") or asked or ""


def difference(before: Recipe | None, now: Recipe) -> str:
    """Why the one before does not do, as half a sentence; empty where there was none."""
    if before is None or before == now:
        return ""
    if before.kind != now.kind:
        return f"the last one was made from {before.kind}"
    names = sorted({*before.parts, *now.parts})
    found = [name for name in names if before.parts.get(name) != now.parts.get(name)]
    more = f" and {len(found) - NAMED_MOST} more" if len(found) > NAMED_MOST else ""
    return f"{', '.join(found[:NAMED_MOST])}{more} changed since the last one"


def shown(key: str) -> str:
    """As the log tells it."""
    return f"environment {key[:SHOWN]}…"
