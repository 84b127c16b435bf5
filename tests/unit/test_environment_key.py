"""When do two jobs have one environment?"""

from __future__ import annotations

from typing import Any

import pytest

from agent.runtimes.environment_key import (
    Recipe,
    base_of,
    contents,
    difference,
    digest_of,
    python_of,
    shown,
)

PARTS = {"the base image": "sha256:1 linux/amd64/", "requirements.txt": "22"}
RECIPE = Recipe("requirements.txt", PARTS)


def image(**values: Any) -> dict[str, Any]:
    machine = {"Os": "linux", "Architecture": "amd64"}
    return {"Id": "sha256:id", "RepoDigests": [], "Config": {"Env": []}, **machine, **values}


def test_the_same_parts_give_the_same_key_in_whatever_order_they_come() -> None:
    other = Recipe("requirements.txt", dict(reversed(PARTS.items())))
    assert other.key == RECIPE.key
    assert len(RECIPE.key) == 32


@pytest.mark.parametrize(
    "other",
    [
        Recipe("pyproject.toml", PARTS),
        Recipe("requirements.txt", {**PARTS, "requirements.txt": "23"}),
        Recipe("requirements.txt", {**PARTS, "more.txt": "22"}),
        Recipe("requirements.txt", {"the base image": "sha256:1 linux/amd64/"}),
        Recipe("requirements.txt", {"the base image": "sha256:1 linux/amd64/requirements.txt22"}),
    ],
    ids=["kind", "content", "one more", "one less", "joined"],
)
def test_whatever_differs_gives_another_key(other: Recipe) -> None:
    assert other.key != RECIPE.key


def test_a_base_counts_by_the_digest_under_which_a_registry_gives_it() -> None:
    digests = ["other/python@sha256:aa", "python@sha256:bb"]
    found = image(RepoDigests=digests)
    assert base_of(found, "python:3.12-slim") == "sha256:bb linux/amd64/"
    assert base_of(image(RepoDigests=digests[:1]), "python") == "sha256:aa linux/amd64/"
    assert base_of(image(), "stoker-base:local") == "sha256:id linux/amd64/"


def test_a_port_is_not_taken_for_a_tag() -> None:
    found = image(RepoDigests=["a/python@sha256:aa", "host:5000/python@sha256:bb"])
    assert base_of(found, "host:5000/python").startswith("sha256:bb")
    assert base_of(found, "host:5000/python:3@sha256:cc").startswith("sha256:bb")


def test_one_digest_for_two_machines_is_two_bases() -> None:
    digests = ["python@sha256:bb"]
    arm = image(RepoDigests=digests, Architecture="arm64", Variant="v8")
    assert base_of(arm, "python") != base_of(image(RepoDigests=digests), "python")


def test_the_python_is_what_the_image_has() -> None:
    told = image(Config={"Env": ["PATH=/bin", "PYTHON_VERSION=3.12.4"]})
    assert python_of(told, "3.12") == python_of(told, None) == "3.12.4"
    assert python_of(image(Config={}), "3.12") == "3.12"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (None, ""),
        (RECIPE, ""),
        (Recipe("Dockerfile", PARTS), "the last one was made from Dockerfile"),
        (
            Recipe("requirements.txt", {**PARTS, "requirements.txt": "1"}),
            "requirements.txt changed since the last one",
        ),
        (
            Recipe("requirements.txt", {name: "" for name in "abc"}),
            "a, b, c and 2 more changed since the last one",
        ),
    ],
    ids=["first", "same", "kind", "one", "many"],
)
def test_the_log_says_what_changed(before: Recipe | None, said: str) -> None:
    assert difference(before, RECIPE) == said


def test_files_count_by_their_content() -> None:
    assert contents({"a": b"1"}) == contents({"a": b"1"}) != contents({"a": b"2"})


def test_a_key_is_shown_by_its_beginning() -> None:
    assert shown("3f2a1b2c" + "0" * 24) == "environment 3f2a1b2c…"


def test_a_base_image_is_named_by_the_digest_of_its_own_registry() -> None:
    known = image(RepoDigests=["other.example/base@sha256:1", "host.example:5000/base@sha256:2"])
    assert digest_of(known, "host.example:5000/base:3.12") == "sha256:2"
    assert digest_of(known, "elsewhere.example/base") == ""
    assert digest_of(image(), "base") == ""
