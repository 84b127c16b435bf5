"""The settings of a container, its exit, and the engine's frames."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtimes.docker_container import device_requests, settings
from agent.runtimes.docker_images import Heard
from agent.runtimes.docker_launch import Frames, read_exit, read_unseen_exit
from agent.runtimes.protocol import Launch, Limits
from schemas.reason import Reason
from schemas.stream import Stream

LAUNCH = Launch(
    "docker",
    "0d4k8q2m-7xv3",
    2,
    "ant",
    "/work/attempts/x.2",
    ("python", "main.py"),
    {"A": "b=c"},
    Limits(cpus=1.5, memory=1 << 30, pids=99, shm=1 << 20),
    "none",
    {"image": "sha256:1", "user": "10001:10001", "cpus": 2.0},
)


def test_a_container_gets_the_limits_of_the_job_and_no_rights() -> None:
    host = settings(LAUNCH)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (1 << 30, 1 << 30)
    assert (host["NanoCpus"], host["PidsLimit"], host["ShmSize"]) == (1_500_000_000, 99, 1 << 20)
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert host["ReadonlyRootfs"]
    assert host["NetworkMode"] == "none"


def test_a_job_gets_no_more_cpus_than_the_engine_has() -> None:
    asked = replace(LAUNCH, limits=Limits(cpus=64))
    assert settings(asked)["HostConfig"]["NanoCpus"] == 2_000_000_000


def test_a_command_replaces_the_images_entrypoint_unless_it_runs_its_own() -> None:
    assert settings(LAUNCH)["Entrypoint"] == ["python", "main.py"]
    own = replace(LAUNCH, command=("--fast",), details={**LAUNCH.details, "own_command": True})
    assert settings(own)["Cmd"] == ["--fast"]
    assert "Entrypoint" not in settings(own)
    assert "WorkingDir" not in settings(own)


@pytest.mark.parametrize(
    ("count", "ids", "asked"),
    [
        (0, (), []),
        (0, ("0",), []),
        (2, (), [{"Count": 2}]),
        (2, ("1", "3"), [{"DeviceIDs": ["1", "3"]}]),
    ],
)
def test_gpus_become_device_requests(
    count: int, ids: tuple[str, ...], asked: list[dict[str, object]]
) -> None:
    same = {"Driver": "", "Capabilities": [["gpu"]], "Options": {}}
    assert device_requests(count, ids) == [{**same, **one} for one in asked]


@pytest.mark.parametrize(
    ("status", "oom", "reason", "code", "signal"),
    [
        (0, False, Reason.EXIT, 0, None),
        (3, False, Reason.EXIT, 3, None),
        (128, False, Reason.EXIT, 128, None),
        (137, False, Reason.EXIT, None, 9),
        (139, False, Reason.EXIT, None, 11),
        (160, False, Reason.EXIT, 160, None),
        (255, False, Reason.EXIT, 255, None),
        (137, True, Reason.OOM, None, 9),
        (1, True, Reason.OOM, 1, None),
    ],
)
def test_a_status_is_a_code_or_a_signal(
    status: int, oom: bool, reason: Reason, code: int | None, signal: int | None
) -> None:
    exit = read_exit(status, {"OOMKilled": oom})
    assert (exit.reason, exit.code, exit.signal) == (reason, code, signal)


PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8)


@given(PIECES, st.lists(st.integers(1, 30), min_size=1))
def test_frames_are_read_wherever_they_are_cut(
    pieces: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    wire = b"".join(struct.pack(">BxxxI", number, len(data)) + data for number, data in pieces)
    frames, got, position = Frames(), [], 0
    while position < len(wire):
        step = cuts[position % len(cuts)]
        got += frames.feed(wire[position : position + step])
        position += step
    for stream, number in ((Stream.STDOUT, 1), (Stream.STDERR, 2)):
        printed = b"".join(data for of, data in got if of is stream)
        assert printed == b"".join(data for of, data in pieces if of == number)


def test_pips_last_error_is_the_reason_of_a_failed_build() -> None:
    heard = Heard(lambda stream, data: None)
    heard.hear("Step 2/3 : RUN pip install\n ---> Running in 0123456789ab\n")
    heard.hear("\x1b[91mERROR: No matching distribution found for x\n\x1b[0m")
    assert heard.error == "No matching distribution found for x"


def test_the_last_layer_of_a_failed_build_is_known_but_never_its_base() -> None:
    heard = Heard(lambda stream, data: None)
    heard.hear("Step 1/3 : FROM base\n ---> 000000000000\n")
    assert heard.layer == ""
    heard.hear("Step 2/3 : COPY . .\n ---> 0123456789ab\n")
    assert heard.layer == "0123456789ab"
    heard.hear("Successfully built 0123456789ab\n")
    assert heard.layer == ""


@pytest.mark.parametrize(
    ("status", "lives_on", "reason", "code"),
    [
        (0, True, Reason.EXIT, 0),
        (3, True, Reason.EXIT, 3),
        (3, False, Reason.ENGINE_RESTARTED, None),
        (143, True, Reason.ENGINE_RESTARTED, None),
        # What an engine says that was not told: the program may have ended well.
        (255, True, Reason.ENGINE_RESTARTED, None),
    ],
)
def test_an_end_that_nobody_saw_is_the_programs_own_only_where_that_is_certain(
    status: int, lives_on: bool, reason: Reason, code: int | None
) -> None:
    exit = read_unseen_exit({"ExitCode": status}, lambda: lives_on)
    assert (exit.reason, exit.code) == (reason, code)
