"""Does deploy/ run on a real engine: join, work, scale, replace in the middle of a job, stop?"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest

from stoker.client import Client, Job, LogPiece, Unreachable

from .conftest import BASE

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SOCKET = "/var/run/docker.sock"
BUILD_SECONDS = 600
PATIENCE = 90.0

SECRETS = (
    "import os; print('hello', len(os.environ['TOKEN']), len(open('/run/secrets/key').read()))"
)
LONG = """
import pathlib, time
tick = 0
while not pathlib.Path("go").exists():
    print("tick", tick)
    tick += 1
    time.sleep(0.05)
print("went on")
"""


def compose_command() -> list[str]:
    """The plugin where there is one, else the older program of its own."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("neither docker compose nor docker-compose is here")


def docker(*arguments: str, stdin: str | None = None) -> str:
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stack:
    """One project of deploy/compose.yaml."""

    work: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    port: int = field(default_factory=free_port)
    nats_port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    token: str = ""

    @property
    def machine(self) -> str:
        return f"m{self.mark}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Client:
        if not self.token:
            self.token = self.entered()
        return Client(self.url, token=self.token)

    def entered(self) -> str:
        """A token, made by the admin who came by the link of the first start."""
        until(lambda: answers(f"{self.url}/readyz"), "the page is there")
        link = self.compose("exec", "-T", "people", "cat", "/var/lib/stoker/sign-in.url").strip()
        opener = build_opener(HTTPCookieProcessor())

        def post(path: str, value: dict[str, str]) -> dict[str, str]:
            headers = {"Content-Type": "application/json", "Origin": self.url}
            request = Request(self.url + path, json.dumps(value).encode(), headers)
            with opener.open(request, timeout=10) as answer:
                return dict(json.load(answer))

        post("/api/v1/sign-in", {"link": link.partition("link=")[2]})
        return post("/api/v1/tokens", {"name": "test", "scope": "admin"})["secret"]

    def compose(self, *arguments: str, file: str = "compose.yaml") -> str:
        environment = {
            **os.environ,
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
            "BASE": BASE,
            "DOCKER_GID": str(os.stat(SOCKET).st_gid),
            "STOKER_BASE_IMAGE": BASE,
            "STOKER_MACHINE": self.machine,
            "STOKER_WORK": str(self.work),
            "STOKER_PORT": str(self.port),
            "STOKER_NATS_PORT": str(self.nats_port),
            "STOKER_SERVICES_IMAGE": "stoker-services:test",
            "STOKER_AGENT_IMAGE": "stoker-agent:test",
            **self.settings,
        }
        command = [
            *compose_command(),
            "-p",
            f"stoker{self.mark}",
            "-f",
            str(ROOT / "deploy" / file),
        ]
        done = subprocess.run(
            [*command, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def agents(self) -> list[str]:
        """Ids of the agents' containers."""
        labels = (
            f"com.docker.compose.project=stoker{self.mark}",
            "com.docker.compose.service=agent",
        )
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        return docker("ps", "-q", "--no-trunc", *filters).split()

    def siblings(self) -> list[str]:
        """Containers in which this machine's shims live."""
        told = docker(
            "ps", "--filter", "label=stoker.shims", "--format", '{{.Label "stoker.shims"}}'
        )
        return [name for name in told.split() if name.startswith(self.machine)]

    def online(self) -> set[str]:
        with contextlib.suppress(Unreachable):
            return {worker.name for worker in self.client.workers() if worker.raw["online"]}
        return set()

    def numbered(self, *numbers: int) -> set[str]:
        return {f"{self.machine}-{number}" for number in numbers}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("deploy") / "work")
    for part in ("services", "agent"):
        file = f"deploy/{part}.Dockerfile"
        tag = f"stoker-{part}:test"
        docker("build", "--build-arg", f"BASE={BASE}", "-f", str(ROOT / file), "-t", tag, str(ROOT))
    try:
        made.compose("up", "-d")
        yield made
    finally:
        print(made.compose("logs", "--no-color", "--tail", "50"))
        made.compose("down", "-v", "-t", "5")
        with contextlib.suppress(AssertionError):
            docker("rmi", f"stoker-agent:{made.mark}")


def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urlopen(url, timeout=5):
        return True
    return False


def submit(stack: Stack, folder: Path, code: str, **spec: object) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(code)
    return stack.client.submit(folder, **spec)


def printed(stack: Stack, job: Job) -> list[str]:
    pieces = [event for event in stack.client.follow(job.id) if isinstance(event, LogPiece)]
    data = b"".join(data for piece in pieces for stream, data in piece.parts() if stream == "o")
    return data.decode().splitlines()


def test_agents_join_work_scale_and_are_replaced_in_the_middle_of_jobs(
    stack: Stack, tmp_path: Path
) -> None:
    until(lambda: stack.online() == stack.numbered(1), "one agent is there")
    stack.client.transport.put("/api/v1/secrets/TOKEN", {"value": "a value"})
    uses = ["TOKEN", "TOKEN:/run/secrets/key"]
    first = submit(stack, tmp_path / "first", SECRETS, secrets=uses)
    assert stack.client.wait(first.id, timeout=PATIENCE).state == "succeeded"
    assert printed(stack, first) == ["hello 7 7"]

    stack.compose("up", "-d", "--no-deps", "--scale", "agent=2", "agent")
    until(lambda: stack.online() == stack.numbered(1, 2), "a second agent is there")
    all_cpus = {"cpus": stack.client.workers()[0].raw["beat"]["capacity"]["cpus"]}
    long = [submit(stack, tmp_path / f"l{n}", LONG, resources=all_cpus) for n in (1, 2)]
    until(lambda: {worker_of(stack, job) for job in long} == stack.numbered(1, 2), "both work")

    newer = docker(
        "build",
        "-q",
        "-t",
        f"stoker-agent:{stack.mark}",
        "-",
        stdin="FROM stoker-agent:test\nLABEL newer=1\n",
    )
    stack.settings["STOKER_AGENT_IMAGE"] = f"stoker-agent:{stack.mark}"
    stack.compose("up", "-d", "--no-deps", "--scale", "agent=2", "agent")
    images = {docker("inspect", "--format", "{{.Image}}", agent) for agent in stack.agents()}
    assert images == {newer}
    for job in long:
        allow(stack, job)
    for job in long:
        ended = stack.client.wait(job.id, timeout=PATIENCE)
        assert (ended.state, ended.raw["attempt"]) == ("succeeded", 1)
        assert ended.raw["attempts"][-1]["end"]["peak_memory"] > 1 << 20
        *ticks, last = printed(stack, job)
        assert last == "went on"
        assert ticks == [f"tick {number}" for number in range(len(ticks))]

    stack.compose("up", "-d", "--no-deps", "--scale", "agent=1", "agent")
    after = submit(stack, tmp_path / "after", "print('still here')")
    assert stack.client.wait(after.id, timeout=PATIENCE).state == "succeeded"


def test_stopped_agents_leave_no_container_behind(stack: Stack) -> None:
    stack.compose("stop", "-t", "10", "agent")
    until(lambda: not stack.siblings(), "the shims' containers are gone")


def test_the_file_for_a_worker_machine_alone_is_valid(stack: Stack) -> None:
    stack.settings["STOKER_NATS"] = f"nats://127.0.0.1:{stack.nats_port}"
    assert "stoker-agent" in stack.compose("config", file="worker.compose.yaml")


def worker_of(stack: Stack, job: Job) -> str:
    raw = stack.client.job(job.id).raw
    return str(raw["attempts"][-1]["worker"]) if raw["state"] == "running" else ""


def allow(stack: Stack, job: Job) -> None:
    """Lets a long job end: a file in its folder, put there as the agents' user."""
    number = worker_of(stack, job).rpartition("-")[2]
    path = f"{stack.work}/{number}/attempts/{job.id}.1/job/go"
    docker("exec", stack.agents()[0], "touch", path)
