"""Data in a container: where the job asked for it, and not to be changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.running import Up, running_up

from .conftest import BASE

pytestmark = pytest.mark.docker

PROGRAM = """
import os, pathlib
for variable, path in (("LETTERS", "/data/letters"), ("NUMBERS", "/job/in/numbers")):
    place = pathlib.Path(os.environ[f"STOKER_DATA_{variable}"])
    assert str(place) == path, place
    print(sorted(os.listdir(place)), (place / "a").read_text())
    for change in (
        lambda: (place / "a").write_text("mine"),
        lambda: (place / "a").chmod(0o777),
        lambda: (place / "new").touch(),
        lambda: (place / "a").unlink(),
    ):
        try:
            change()
        except OSError as error:
            print(error.strerror)
        else:
            raise SystemExit("it could be changed")
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path / "data", "--runtime", "docker", "--base-image", BASE) as running:
        yield running


def test_a_container_reads_its_data_and_cannot_change_it(up: Up, tmp_path: Path) -> None:
    for name in ("letters", "numbers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(f"the {name}")
        told = up.stoker("data", "put", name, str(tmp_path / name))
        assert told.stdout == f"{name}@1\n", told.stderr
    code = tmp_path / "bundle"
    code.mkdir()
    (code / "main.py").write_text(PROGRAM)
    asked = ("--data", "letters@1", "--data", "numbers:/job/in/numbers")
    for said in ("fetching", "cached"):
        done = up.stoker("submit", str(code), *asked, "--follow", timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "['a'] the letters" in done.stdout
        assert done.stdout.count("Read-only file system") == 8
        assert said in done.stdout
    shown = " ".join(up.stoker("show", "last").stdout.split())
    assert "letters@1 at /data/letters" in shown
    gone = up.stoker("submit", str(code), "--data", "letter")
    assert "did you mean letters?" in gone.stderr
