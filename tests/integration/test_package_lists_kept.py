"""Is what was installed for a job kept, named in its record and shown?"""

from __future__ import annotations

import asyncio
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.packages import Kept, PackageList
from agent.reports import Reporter, end_report
from agent.runtimes.protocol import Exit, Launch, Prepared
from bus import subjects
from bus.connection import Bus
from bus.errors import Refused
from bus.packages import PackageStore
from schemas.job import Environment
from schemas.message import Empty
from schemas.packages import KeepPackages, digest_of, packed
from schemas.worker import Grant
from services.environments.packages import MOST
from services.environments.service import Environments
from tests.integration.environment_tools import grant_of, replicas
from tests.plugins.running import Up, running_up

__all__ = ["replicas"]

LIST = "six==1.17.0\n"
LAUNCH = Launch("dummy", "j1", 1, "ant", "/nowhere", (), {})
MADE = Environment(source="python", base="b", key="k")


async def ended(bus: Bus, grant: Grant, text: str, kept: Kept) -> Environment | None:
    """What the end's report says of an environment whose packages are told late."""
    told = asyncio.Event()

    async def packages() -> str:
        await told.wait()
        return text

    reporter = Reporter(bus, "ant", grant)
    listed = PackageList(bus, "ant", kept, reporter)
    async with asyncio.TaskGroup() as tasks:
        listed.begin(tasks, grant, Prepared(MADE, LAUNCH, packages))
        assert reporter.environment == MADE
        report = end_report(reporter.environment, reporter.base, Exit(code=0))
        told.set()
        return (await listed.named_in(report)).environment


async def test_a_list_is_kept_once_and_named_at_the_end(
    bus: Bus, replicas: list[Environments]
) -> None:
    grant = await grant_of(bus, "j1", "ant")
    kept = Kept()
    for _ in range(2):
        environment = await ended(bus, grant, LIST, kept)
        assert environment is not None
        assert environment.packages == digest_of(LIST)
    assert await PackageStore(bus).get(digest_of(LIST)) == LIST
    assert await PackageStore(bus).get("0" * 64) is None
    nothing = await ended(bus, grant, "", kept)
    assert nothing == MADE
    superseded = grant.model_copy(update={"nonce": "another"})
    assert await ended(bus, superseded, "attrs==25.3.0\n", kept) == MADE
    assert await PackageStore(bus).get(digest_of("attrs==25.3.0\n")) is None


async def test_a_worker_that_lies_fills_nothing(bus: Bus, replicas: list[Environments]) -> None:
    grant = await grant_of(bus, "j2", "ant")
    subject = subjects.request("environments", "packages", "ant")

    async def keep(data: bytes, worker: str = "ant") -> None:
        told = KeepPackages(job="j2", attempt=1, nonce=grant.nonce, packed=data)
        await bus.request(subject.replace("ant", worker), told, Empty)

    with pytest.raises(Refused, match="superseded"):
        await keep(packed(LIST), "bee")
    for data in (b"", zlib.compress(bytes(64 << 20)), packed(LIST)[:-3]):
        with pytest.raises(Refused, match="list"):
            await keep(data)
    lists = [packed(f"p{number}==1\n") for number in range(2 * MOST + 1)]
    told = await asyncio.gather(*map(keep, lists), return_exceptions=True)
    assert any(isinstance(one, Refused) and one.problem.code == "too_many" for one in told)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("packages"), "--runtime", "process") as running:
        yield running


def bundle(folder: Path, requirement: str) -> Path:
    info = "thing-1.0.dist-info"
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        tag = "Root-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: x\n{tag}")
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "main.py").write_text("import thing\n")
    (folder / "requirements.txt").write_text(f"{requirement}\n")
    return folder


def test_the_command_and_the_api_show_them(up: Up, tmp_path: Path) -> None:
    made = up.stoker("submit", str(bundle(tmp_path, "./thing-1.0-py3-none-any.whl")), "--follow")
    assert made.returncode == 0, made.stdout + made.stderr
    shown = json.loads(up.stoker("show", "last", "--json").stdout)
    digest = shown["attempts"][0]["environment"]["packages"]
    lines = shown["reproduce"]["packages"]
    assert [line.split(" @ ")[0] for line in lines] == ["thing"]
    assert digest_of("".join(f"{line}\n" for line in lines)) == digest
    assert "thing @ file" in " ".join(up.stoker("show", "last").stdout.split())


def test_the_line_that_says_why_pip_failed_is_the_reason(up: Up, tmp_path: Path) -> None:
    made = up.stoker("submit", str(bundle(tmp_path, "./gone-1.0-py3-none-any.whl")), "--follow")
    assert made.returncode != 0
    shown = json.loads(up.stoker("show", "last", "--json").stdout)
    assert (shown["reason"], shown["reproduce"]["packages"]) == ("build_failed", [])
    assert "gone-1.0-py3-none-any.whl" in shown["detail"]
    assert "exit code" not in shown["detail"]
