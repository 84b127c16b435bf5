"""The folder in memory from which a plain process reads secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.handing import Secrets
from agent.runtimes import process_secrets
from agent.runtimes.process_secrets import place_of, remove, remove_strays, with_secrets
from agent.runtimes.protocol import CannotLaunch
from schemas.reason import Reason

GIVEN = Secrets({"A": b"one", "B": b"\0\xff"}, {"X": "A"}, {"/run/secrets/b": "B"})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    made = place_of(tmp_path / "attempts" / "j1.1")
    yield made
    remove(made)


def test_variables_are_added_and_files_are_their_owners_alone(place: Path) -> None:
    found = with_secrets({"Y": "y"}, GIVEN, place)
    assert found == {"Y": "y", "X": "one", "STOKER_SECRETS": str(place)}
    assert (place / "b").read_bytes() == b"\0\xff"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place, place / "b")] == [0o700, 0o600]


def test_bytes_that_are_no_text_reach_the_program_as_they_are(place: Path) -> None:
    found = with_secrets({}, Secrets({"A": b"\xff\xfe"}, {"A": "A"}), place)
    assert os.fsencode(found["A"]) == b"\xff\xfe"
    assert not place.exists()


def test_what_an_attempt_left_behind_is_taken_away_and_nothing_else(
    place: Path, tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts"
    lives = place_of(attempts / "j2.1")
    (attempts / "j2.1").mkdir(parents=True)
    of_another = place_of(tmp_path / "others" / "j1.1")
    for one in (place, lives, of_another):
        with_secrets({}, GIVEN, one)
    assert remove_strays(attempts) == 1
    assert [one.exists() for one in (place, lives, of_another)] == [False, True, True]
    for one in (lives, of_another):
        remove(one)


def test_without_a_memory_file_system_files_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_secrets, "in_memory", lambda: False)
    with pytest.raises(CannotLaunch, match="take the secrets as variables") as refused:
        with_secrets({}, GIVEN, place)
    assert refused.value.reason is Reason.SECRET_UNAVAILABLE
    assert with_secrets({}, Secrets({"A": b"1"}, {"A": "A"}), place) == {"A": "1"}


def test_a_link_of_somebody_elses_making_is_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    place.symlink_to(tmp_path / "target")
    with pytest.raises(CannotLaunch):
        with_secrets({}, GIVEN, place)
    assert list((tmp_path / "target").iterdir()) == []
    place.unlink(missing_ok=True)
