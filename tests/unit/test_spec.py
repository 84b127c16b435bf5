"""The spec refuses what it cannot hold, in one sentence that says what to change."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.spec import InvalidSpec, parse_duration, parse_size, read_spec


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"entri": "train.py"}, "entri", "did you mean 'entry'?"),
        ({"resources": {"memroy": "2g"}}, "resources.memroy", "did you mean 'memory'?"),
        ({"zzz": 1}, "zzz", "known are name, entry"),
        ({"timeout": 0}, "timeout", "greater than 0"),
        ({"timeout": -5}, "timeout", "greater than 0"),
        ({"timeout": "soon"}, "spec", "is not a duration"),
        ({"resources": {"cpus": 0}}, "resources.cpus", "greater than 0"),
        ({"resources": {"cpus": -1}}, "resources.cpus", "greater than 0"),
        ({"resources": {"memory": 0}}, "resources.memory", "greater than or equal"),
        ({"resources": {"memory": "lots"}}, "resources", "is not a size"),
        ({"resources": {"gpus": -1}}, "resources.gpus", "greater than or equal"),
        ({"entry": "/etc/passwd"}, "entry", "inside the bundle"),
        ({"entry": "../main.py"}, "entry", "inside the bundle"),
        ({"entry": ""}, "entry", "inside the bundle"),
        ({"pool": "Big Pool"}, "pool", "not a pool's name"),
        ({"arguments": ["x" * (1 << 20)]}, "spec", "put it into a file of the bundle"),
        ({"environment": {"A": "x" * (1 << 20)}}, "spec", "put it into a file of the bundle"),
        ({"environment": {"A": "a\0b"}}, "spec", "NUL"),
        ({"environment": {"1A": "x"}}, "spec", "not a name of an environment variable"),
        ({"arguments": ["x" * 30_000] * 5}, "spec", "together"),
        ({"timeout": []}, "timeout", "valid number"),
        ({"timeout": float("inf")}, "timeout", "finite"),
        ({"resources": {"memory": []}}, "resources.memory", "valid integer"),
        ({"resources": 7}, "resources", "dictionary"),
        ({"name": "\ud800"}, "name", "valid string"),
        ({"retries": -1}, "retries", "greater than or equal"),
        ({"network": "everything"}, "network", "none"),
        ({"python": "2.7"}, "python", "match"),
    ],
)
def test_a_bad_spec_is_refused_with_its_field_and_what_to_change(
    values: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read_spec(values)
    assert caught.value.problem.status == 422
    assert caught.value.problem.field == field
    assert words in caught.value.problem.detail
    assert "\n" not in caught.value.problem.detail


def test_an_empty_spec_is_a_job_that_runs_main_py() -> None:
    spec = read_spec({})
    assert (spec.entry, spec.pool, spec.network) == ("main.py", "default", "none")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2g", 2 << 30),
        ("512 MiB", 512 << 20),
        ("1.5k", 1536),
        ("100", 100),
        (7, 7),
        ("3MB", 3 << 20),
    ],
)
def test_a_size_is_read_in_powers_of_1024(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800), (1.5, 1.5)]
)
def test_a_duration_is_read_in_its_units(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "ten minutes", "1h 30q"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "values",
    [
        {"resources": {"disk": 1 << 64}},
        {"resources": {"memory": "9" * 400 + "g"}},
        {"resources": {"shm": 1 << 51}},
        {"timeout": float("inf")},
        {"queue_timeout": "99999999999999999d"},
    ],
    ids=["disk", "memory", "shm", "timeout", "queue timeout"],
)
def test_what_has_no_room_in_a_message_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidSpec):
        read_spec(values)
