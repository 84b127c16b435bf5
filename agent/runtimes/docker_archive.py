"""How does an image leave an engine, and how does it get into another? Blocking.

An engine gives an image as a tar and takes one. Only the layers that the base image does not have
are kept of it: an engine that has them takes a tar in which they are missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from agent.runtimes.build_context import BLOCK, contents, header
from agent.runtimes.docker_engine import EngineError, Link
from schemas.environments import MOST_LAYERS, Blob, SharedImage

READ_BYTES = 1 << 20
CONFIG_BYTES = 4 << 20
HEX = "sha256:"


class NotThatWay(Exception):
    """This image cannot be handed on; the message says why."""


@dataclass
class Member:
    """One file of the tar."""

    digest: str
    size: int
    path: Path | None
    """None where it was not kept."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An image whose layers lie in a folder, each named by its digest."""

    image: SharedImage
    files: Mapping[str, Path]


@dataclass
class Saving:
    """Takes the tar apart while it comes: nothing of it is held in memory."""

    folder: Path
    known: Collection[str]
    """Digests of the layers that every taker has."""
    stopped: Callable[[], bool]
    members: dict[str, Member] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def take(self, archive: tarfile.TarFile) -> None:
        for number, info in enumerate(archive):
            if info.issym() or info.islnk():
                self.links[info.name] = resolved(info)
            elif info.isfile():
                file = archive.extractfile(info)
                assert file is not None
                self.members[info.name] = self._kept(file, self.folder / f".{number}")

    def _kept(self, file: IO[bytes], path: Path) -> Member:
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as copy:
            while block := file.read(READ_BYTES):
                if self.stopped():
                    raise NotThatWay("it was stopped")
                digest.update(block)
                copy.write(block)
                size += len(block)
        name = digest.hexdigest()
        if name in self.known:
            path.unlink()
            return Member(name, size, None)
        path.rename(self.folder / name)
        return Member(name, size, self.folder / name)

    def member(self, name: str) -> Member:
        found = self.members.get(self.links.get(name, name))
        if found is None:
            raise NotThatWay(f"the engine left {name} out")
        return found

    def saved(self, image: str) -> Saved:
        """Once all came."""
        manifest = self._json("manifest.json")[0]
        config = self.member(manifest["Config"])
        told = [
            digest.removeprefix(HEX)
            for digest in self._json(manifest["Config"])["rootfs"]["diff_ids"]
        ]
        layers = [self.member(name) for name in manifest["Layers"]]
        if [layer.digest for layer in layers] != told:
            raise NotThatWay("the engine stores its layers in a form of its own")
        own = [layer for layer in layers if layer.path is not None]
        if len(own) > MOST_LAYERS:
            raise NotThatWay(f"it has {len(own)} layers; at most {MOST_LAYERS} are shared")
        shared = SharedImage(id=image, config=blob(config), layers=tuple(map(blob, own)))
        files = {one.digest: one.path for one in (config, *own) if one.path is not None}
        return Saved(shared, files)

    def _json(self, name: str) -> Any:
        path = self.member(name).path
        if path is None or path.stat().st_size > CONFIG_BYTES:
            raise NotThatWay(f"the engine's {name} cannot be read")
        return json.loads(path.read_bytes())


def blob(member: Member) -> Blob:
    return Blob(digest=member.digest, size=member.size)


def resolved(info: tarfile.TarInfo) -> str:
    """The name in the archive that a link points to."""
    if info.islnk():
        return info.linkname
    parts = info.name.split("/")[:-1]
    for part in info.linkname.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def save(link: Link, name: str, image: str, saving: Saving) -> Saved:
    """Raises ``NotThatWay``, ``EngineError`` and ``OSError``."""
    link.send_request("GET", f"/images/{name}/get")
    response = link.answer()
    try:
        # Its ``read`` is all that is asked of a file here.
        with tarfile.open(fileobj=cast(IO[bytes], response), mode="r|") as archive:
            saving.take(archive)
        with contextlib.suppress(http.client.HTTPException):
            response.read()
        return saving.saved(image)
    except (tarfile.TarError, http.client.HTTPException) as error:
        raise EngineError(0, f"the Docker engine stopped in the middle: {error}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise NotThatWay(f"what the engine says of it cannot be read: {error}") from error


def archive(image: SharedImage, files: Mapping[str, Path], name: str) -> Iterator[bytes]:
    """The tar that an engine takes, named ``name`` there; raises ``NotThatWay``."""
    config = files[image.config.digest].read_bytes()
    try:
        told = [
            str(digest).removeprefix(HEX) for digest in json.loads(config)["rootfs"]["diff_ids"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise NotThatWay(f"what is shared is no image: {error}") from error
    yield from member("config.json", config)
    for layer in image.layers:
        yield header(f"{layer.digest}.tar", layer.size, 0o644)
        yield from contents(files[layer.digest], layer.size)
    listed = [{"Config": "config.json", "RepoTags": [name], "Layers": [f"{d}.tar" for d in told]}]
    yield from member("manifest.json", json.dumps(listed).encode())
    yield bytes(2 * BLOCK)


def member(name: str, data: bytes) -> Iterator[bytes]:
    yield header(name, len(data), 0o644)
    yield data + bytes(-len(data) % BLOCK)
