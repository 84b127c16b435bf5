"""Which image does a bundle get, and what is said when it cannot have one?"""

from __future__ import annotations

import asyncio
import uuid

import pytest

from agent.runtimes.docker_engine import Engine
from agent.runtimes.protocol import CannotPrepare
from schemas.reason import Reason
from schemas.stream import Stream

from .conftest import BASE, Bundle, until

pytestmark = pytest.mark.docker

TELL = (
    "import os, pathlib, sys\n"
    "def tell(text): pathlib.Path(os.environ['STOKER_OUTPUTS'], 'said').write_text(text)\n"
)


def fresh() -> str:
    """A line that makes a requirements file unlike any before."""
    return f"# {uuid.uuid4()}\n"


async def test_a_bundle_without_requirements_runs_on_the_base_image(bundle: Bundle) -> None:
    attempt = bundle({"main.py": "print(1)"})
    prepared = await attempt.prepare()
    assert prepared.environment.source == "python"
    assert prepared.environment.base == BASE
    assert "nothing to build" in attempt.text(Stream.STOKER)


async def test_requirements_are_built_once_and_then_found(bundle: Bundle) -> None:
    requirements = fresh() + "six\n"
    code = TELL + "import six\ntell(six.__version__)"
    first = bundle({"main.py": code, "requirements.txt": requirements})
    assert (await first.run()).code == 0
    assert first.output().startswith("1.")
    assert "Successfully installed six" in first.text(Stream.BUILD)
    second = bundle({"main.py": "import six", "requirements.txt": requirements})
    prepared = await second.prepare()
    assert prepared.environment.cached
    assert not second.text(Stream.BUILD)
    assert "cached" in second.text(Stream.STOKER)


async def test_two_jobs_wait_for_one_build(bundle: Bundle) -> None:
    files = {"main.py": "print(1)", "requirements.txt": fresh() + "six\n"}
    one, two = bundle(files), bundle(files)
    prepared = await asyncio.gather(one.prepare(), two.prepare())
    assert len({each.environment.image for each in prepared}) == 1
    assert sorted(each.environment.cached for each in prepared) == [False, True]
    assert "waiting" in one.text(Stream.STOKER) + two.text(Stream.STOKER)


async def test_the_dependencies_of_a_pyproject_are_installed(bundle: Bundle) -> None:
    project = f"{fresh()}[project]\nname = 'x'\nversion = '1'\ndependencies = ['six']\n"
    code = TELL + "import six\ntell('here')"
    attempt = bundle({"main.py": code, "pyproject.toml": project})
    assert (await attempt.run()).code == 0
    assert attempt.output() == "here"


async def test_a_pyproject_that_only_configures_tools_builds_nothing(bundle: Bundle) -> None:
    attempt = bundle({"main.py": "print(1)", "pyproject.toml": "[tool.ruff]\nline-length = 100\n"})
    assert (await attempt.prepare()).environment.source == "python"


async def test_the_failing_line_of_pip_is_the_reason(bundle: Bundle, engine: Engine) -> None:
    requirements = "stoker-has-no-such-package==9.9\n"
    attempt = bundle({"main.py": "print(1)", "requirements.txt": requirements})
    with pytest.raises(CannotPrepare) as caught:
        await attempt.prepare()
    assert caught.value.reason is Reason.BUILD_FAILED
    assert "No matching distribution found for stoker-has-no-such-package==9.9" in str(caught.value)
    assert "ERROR: No matching distribution" in attempt.text(Stream.BUILD)


async def test_a_base_image_that_is_nowhere_is_said_in_the_engines_words(bundle: Bundle) -> None:
    attempt = bundle({"main.py": "print(1)"}, image="localhost:1/stoker-nowhere:1")
    with pytest.raises(CannotPrepare) as caught:
        await attempt.prepare()
    assert caught.value.reason is Reason.IMAGE_UNAVAILABLE
    assert "localhost:1/stoker-nowhere:1" in str(caught.value)


async def test_another_python_than_the_bases_is_refused(bundle: Bundle) -> None:
    attempt = bundle({"main.py": "print(1)"}, python="3.7")
    with pytest.raises(CannotPrepare, match=r"asks for Python 3\.7"):
        await attempt.prepare()


async def test_a_bundles_own_dockerfile_is_built_and_runs_the_entry_file(bundle: Bundle) -> None:
    dockerfile = (
        f'ARG BASE\nFROM ${{BASE}}\nRUN echo {uuid.uuid4()} > /etc/made\nENTRYPOINT ["false"]\n'
    )
    code = TELL + "tell(open('/etc/made').read() + os.getcwd())"
    attempt = bundle({"main.py": code, "Dockerfile": dockerfile})
    assert (await attempt.run()).code == 0
    assert attempt.output().endswith("/job")


async def test_without_the_entry_file_an_own_dockerfile_runs_its_command(bundle: Bundle) -> None:
    dockerfile = (
        "ARG BASE\nFROM ${BASE}\nCOPY tool.py /tool.py\n"
        'ENTRYPOINT ["python", "/tool.py", "fixed"]\nCMD ["default"]\n'
    )
    tool = TELL + "tell(' '.join(sys.argv[1:]))"
    files = {"tool.py": tool, "Dockerfile": dockerfile}
    plain, told = bundle(files), bundle(files, arguments=["given"])
    assert (await plain.run()).code == 0
    assert plain.output() == "fixed default"
    assert (await told.run()).code == 0
    assert told.output() == "fixed given"


async def test_a_cancelled_build_stops_in_the_engine(bundle: Bundle, engine: Engine) -> None:
    mark = uuid.uuid4().hex
    dockerfile = f"ARG BASE\nFROM ${{BASE}}\nRUN echo {mark} && sleep 300\n"
    attempt = bundle({"main.py": "print(1)", "Dockerfile": dockerfile})
    building = asyncio.ensure_future(attempt.prepare())
    await attempt.until_said(Stream.BUILD, "Running in")
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    await until(lambda: not any(mark in command for command in commands(engine)))


def commands(engine: Engine) -> list[str]:
    return [one["Command"] for one in engine.call("GET", "/containers/json")]
