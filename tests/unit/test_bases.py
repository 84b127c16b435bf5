"""On which image is an environment made?"""

from __future__ import annotations

from typing import Any

import pytest

from agent.runtimes.bases import BASE, GPU_BASE, Bases, is_pinned, pinned
from schemas.image import image_name, image_pattern
from schemas.job import Pin
from schemas.spec import InvalidSpec, JobSpec, read_spec
from schemas.worker import Grant

DIGEST = f"sha256:{'a' * 64}"
ALL = Bases("own:{python}", gpu_image="own-gpu")


def grant(spec: dict[str, Any], image: str = "", gpu_image: str = "") -> Grant:
    made = JobSpec.model_validate(spec)
    return Grant(
        job="j1", attempt=1, nonce="n", spec=made, bundle="b", image=image, gpu_image=gpu_image
    )


GPU: dict[str, Any] = {"resources": {"gpus": 1}}


@pytest.mark.parametrize(
    ("bases", "asked", "name"),
    [
        (Bases(), grant({}), "python:3.12-slim"),
        (Bases(), grant({"python": "3.13"}), "python:3.13-slim"),
        (Bases(), grant(GPU), GPU_BASE),
        (Bases(), grant({**GPU, "python": "3.13"}), "python:3.13-slim"),
        (Bases(), grant({**GPU, "image": "mine:1"}), "mine:1"),
        (ALL, grant({"image": "mine:1"}, "pool", "pool-gpu"), "mine:1"),
        (ALL, grant({"python": "3.11"}), "own:3.11"),
        (ALL, grant(GPU), "own-gpu"),
        (Bases("own"), grant(GPU), "own"),
        (ALL, grant({}, "pool:{python}"), "pool:3.12"),
        (ALL, grant(GPU, "pool"), "own-gpu"),
        (ALL, grant(GPU, "pool", "pool-gpu"), "pool-gpu"),
        (Bases(), grant(GPU, "pool"), "pool"),
        (Bases(), grant({}, "", "pool-gpu"), "python:3.12-slim"),
    ],
    ids=[
        *("usual", "python", "gpu", "gpu-python", "gpu-image", "image", "worker", "worker-gpu"),
        *("worker-for-all", "pool", "worker-gpu-before-pool", "pool-gpu", "pool-for-all", "no-gpu"),
    ],
)
def test_job_pool_and_worker_say_it_in_that_order(bases: Bases, asked: Grant, name: str) -> None:
    assert bases.name(asked) == name


def test_a_name_stands_for_the_image_that_the_job_found_first() -> None:
    pin = Pin(name="host:5000/a/b:1", digest=DIGEST)
    assert pinned("host:5000/a/b:1", pin) == f"host:5000/a/b@{DIGEST}"
    assert pinned("python:3.12-slim", pin) == "python:3.12-slim"
    assert pinned(BASE, None) == BASE
    found = {"Id": "sha256:1", "RepoDigests": [f"host:5000/a/b@{DIGEST}"]}
    assert is_pinned(found, pin.name, pin)
    assert not is_pinned({"Id": "sha256:1"}, pin.name, pin)
    assert is_pinned({"Id": "sha256:1"}, "another", pin)
    assert not is_pinned(None, pin.name, None)


@pytest.mark.parametrize(
    "name",
    ["python", "a/b/c:1.0-x", "localhost:5000/a", f"host.example/a__b@{DIGEST}", f"a:1@{DIGEST}"],
)
def test_names_of_images_are_taken(name: str) -> None:
    assert image_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "Big", "a b", "a:", "a@sha256:12", "-a", "a//b", "a:b:c", "a" * 256, "$(id)"]
)
def test_what_no_engine_would_take_is_refused_when_it_is_submitted(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of an image"):
        image_name(name)
    with pytest.raises(InvalidSpec, match="image"):
        read_spec({"image": name})


def test_a_pattern_has_room_for_a_version() -> None:
    assert image_pattern("python:{python}-slim") == "python:{python}-slim"
    with pytest.raises(ValueError, match="not the name"):
        image_pattern("python:{version}")
