"""Does an image come through the engine's tar whole, without what every taker has?"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import pytest

from agent.runtimes.docker_archive import NotThatWay, Saved, Saving, archive, resolved, save
from agent.runtimes.docker_engine import EngineError, Link

BASE, OWN = b"base " * 1000, b"own " * 1000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config_of(*layers: bytes) -> bytes:
    told = [f"sha256:{digest(layer)}" for layer in layers]
    return json.dumps({"rootfs": {"type": "layers", "diff_ids": told}}).encode()


CONFIG = config_of(BASE, OWN)


def manifest_of(*layers: str) -> bytes:
    return json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": layers}]).encode()


def tar_of(files: Mapping[str, bytes | str]) -> bytes:
    """A text stands for a link to it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


WHOLE: dict[str, bytes | str] = {
    "1/layer.tar": BASE,
    "1/VERSION": b"1.0",
    "2/layer.tar": OWN,
    "c.json": CONFIG,
    "manifest.json": manifest_of("1/layer.tar", "2/layer.tar"),
}


class Told:
    """An engine's answer."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def send_request(self, *_: Any) -> None:
        pass

    def answer(self) -> IO[bytes]:
        return self._file


def saved(data: bytes, folder: Path, *known: bytes, stopped: bool = False) -> Saved:
    folder.mkdir()
    saving = Saving(folder, frozenset(map(digest, known)), lambda: stopped)
    return save(cast(Link, Told(data)), "x:1", "sha256:i", saving)


def test_the_layers_of_the_base_are_left_out(tmp_path: Path) -> None:
    found = saved(tar_of(WHOLE), tmp_path / "s", BASE)
    assert [(one.digest, one.size) for one in found.image.layers] == [(digest(OWN), len(OWN))]
    assert found.image.config.digest == digest(CONFIG)
    assert {name: path.read_bytes() for name, path in found.files.items()} == {
        digest(CONFIG): CONFIG,
        digest(OWN): OWN,
    }
    assert not (tmp_path / "s" / digest(BASE)).exists()


def test_without_a_known_base_all_of_it_is_kept(tmp_path: Path) -> None:
    found = saved(tar_of(WHOLE), tmp_path / "s")
    assert [one.digest for one in found.image.layers] == [digest(BASE), digest(OWN)]


def test_a_layer_that_stands_in_for_another_is_found(tmp_path: Path) -> None:
    files = {**WHOLE, "c.json": config_of(BASE, OWN, OWN), "3/layer.tar": "../2/layer.tar"}
    files["manifest.json"] = manifest_of("1/layer.tar", "2/layer.tar", "3/layer.tar")
    found = saved(tar_of(files), tmp_path / "s", BASE)
    assert [one.digest for one in found.image.layers] == [digest(OWN), digest(OWN)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"c.json": config_of(BASE, b"other")}, "a form of its own"),
        ({"manifest.json": manifest_of("1/layer.tar", "9/layer.tar")}, "left 9/layer.tar out"),
        ({"manifest.json": b"{}"}, "cannot be read"),
        ({"manifest.json": b"no json"}, "cannot be read"),
        ({"c.json": b"[]"}, "cannot be read"),
    ],
    ids=["compressed", "missing", "empty", "no json", "no config"],
)
def test_what_cannot_be_handed_on_says_why(
    tmp_path: Path, changes: dict[str, bytes], why: str
) -> None:
    with pytest.raises(NotThatWay, match=why):
        saved(tar_of({**WHOLE, **changes}), tmp_path / "s", BASE)


def test_an_engine_that_stops_in_the_middle_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="in the middle"):
        saved(tar_of(WHOLE)[:3000], tmp_path / "s", BASE)


def test_a_stop_is_heard_within_a_layer(tmp_path: Path) -> None:
    with pytest.raises(NotThatWay, match="stopped"):
        saved(tar_of(WHOLE), tmp_path / "s", stopped=True)


def test_what_an_engine_gets_names_all_layers_and_holds_those_that_travelled(
    tmp_path: Path,
) -> None:
    found = saved(tar_of(WHOLE), tmp_path / "s", BASE)
    made = b"".join(archive(found.image, found.files, "stoker-env:1"))
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        held = {info.name: tar.extractfile(info) for info in tar}
        files = {name: file.read() for name, file in held.items() if file}
    assert set(files) == {"config.json", "manifest.json", f"{digest(OWN)}.tar"}
    assert files[f"{digest(OWN)}.tar"] == OWN
    (told,) = json.loads(files["manifest.json"])
    assert told["RepoTags"] == ["stoker-env:1"]
    assert told["Layers"] == [f"{digest(BASE)}.tar", f"{digest(OWN)}.tar"]


def test_what_is_no_image_is_not_given_to_the_engine(tmp_path: Path) -> None:
    found = saved(tar_of(WHOLE), tmp_path / "s", BASE)
    found.files[digest(CONFIG)].write_bytes(b"no json")
    with pytest.raises(NotThatWay, match="no image"):
        list(archive(found.image, found.files, "stoker-env:1"))


@pytest.mark.parametrize(
    ("name", "target", "found"),
    [("3/layer.tar", "../2/layer.tar", "2/layer.tar"), ("a/b", "./c", "a/c"), ("a", "b", "b")],
    ids=["beside", "here", "top"],
)
def test_a_link_is_followed_within_the_tar(name: str, target: str, found: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    assert resolved(info) == found
