"""Which command repeats a job, and what counts as its seed?"""

from __future__ import annotations

import shlex

import pytest

from schemas.job import Attempt, Environment, Record, State
from schemas.reproduce import pinned, reproduce, seeds
from schemas.spec import InvalidSpec, JobSpec, read_spec

DIGEST = f"sha256:{'a' * 64}"
COMMIT = "c" * 40


def environment(base: str, digest: str = DIGEST) -> Environment:
    return Environment(source="requirements.txt", base=base, key="0" * 32, digest=digest)


def record(spec: JobSpec, ran: Environment | None = None) -> Record:
    attempt = Attempt(number=1, worker="w", claim="c", nonce="n", granted_at=1, environment=ran)
    return Record(
        id="abcdefgh-1234",
        owner="ada",
        spec=spec,
        bundle="b" * 64,
        state=State.RUNNING,
        submitted_at=1,
        changed_at=1,
        attempt=1,
        attempts=(attempt,),
    )


def test_the_command_names_the_image_by_its_digest() -> None:
    spec = JobSpec(arguments=("--name", "two words; rm"))
    words = shlex.split(reproduce(record(spec, environment("python:3.12-slim"))).command)
    assert words[:4] == ["stoker", "submit", "--like", "abcdefgh-1234"]
    assert words[4:] == ["--image", f"python@{DIGEST}", "--", "--name", "two words; rm"]


def test_a_job_that_did_not_run_is_repeated_by_its_id() -> None:
    assert reproduce(record(JobSpec())).command == "stoker submit --like abcdefgh-1234"


@pytest.mark.parametrize(
    ("base", "image"),
    [
        ("python:3.12", f"python@{DIGEST}"),
        ("host.example:5000/team/base:1", f"host.example:5000/team/base@{DIGEST}"),
        ("host.example:5000/base", f"host.example:5000/base@{DIGEST}"),
        (f"python@{DIGEST}", f"python@{DIGEST}"),
    ],
)
def test_a_tag_gives_way_to_the_digest(base: str, image: str) -> None:
    assert pinned(environment(base)) == image


def test_an_image_of_no_registry_is_not_named() -> None:
    assert pinned(environment("mine:1", digest="")) == ""


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--seed", "7"), {"--seed": "7"}),
        (("--seed=7",), {"--seed": "7"}),
        (("--random-seed", "-1"), {"--random-seed": "-1"}),
        (("train.seed=3",), {"train.seed": "3"}),
        (("seed", "3"), {}),
        (("--seed", "--fast"), {}),
        (("--seed",), {}),
        (("--reseed", "1"), {}),
        (("--seed", "x" * 65), {}),
    ],
    ids=lambda value: " ".join(value)[:16] if isinstance(value, tuple) else "",
)
def test_arguments_that_are_seeds(arguments: tuple[str, ...], found: dict[str, str]) -> None:
    assert seeds(JobSpec(arguments=arguments)) == found


def test_variables_that_are_seeds() -> None:
    variables = {"SEED": "1", "TORCH_SEED": "2", "PYTHONHASHSEED": "0", "SEEDS": "3", "LR": "1"}
    expected = {"SEED": "1", "TORCH_SEED": "2", "PYTHONHASHSEED": "0"}
    assert seeds(JobSpec(environment=variables)) == expected


def test_a_secret_seed_is_not_shown() -> None:
    assert seeds(JobSpec(environment={"SECRET_SEED": "correct horse"})) == {}


@pytest.mark.parametrize(
    "source",
    [
        {"commit": "abc"},
        {"commit": COMMIT.upper()},
        {"commit": f"{COMMIT}\n"},
        {"commit": COMMIT, "branch": "x" * 256},
        {"commit": COMMIT, "branch": "a\x1b[2J"},
        {"commit": COMMIT, "author": "ada"},
    ],
    ids=["short", "capitals", "newline", "long branch", "escape", "unknown"],
)
def test_a_source_that_is_none_is_refused(source: dict[str, str]) -> None:
    with pytest.raises(InvalidSpec, match="source"):
        read_spec({"source": source})
