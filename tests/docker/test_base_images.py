"""What becomes of a lock, of an image without Python, and of the line that says why it failed?"""

from __future__ import annotations

import contextlib
import hashlib
import io
import uuid
import zipfile
from collections.abc import Iterator

import pytest

from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.protocol import CannotPrepare
from schemas.reason import Reason
from schemas.stream import Stream

from .conftest import BASE, Bundle
from .test_installs import build

pytestmark = pytest.mark.docker

WHEEL = "thing-1.0-py3-none-any.whl"
PROJECT = f"""\
[project]
name = "x"
version = "1"
requires-python = ">=3.9"
dependencies = ["thing"]

[tool.uv.sources]
thing = {{ path = "wheels/{WHEEL}" }}
"""
LOCK = f"""\
# {{mark}}
version = 1
requires-python = ">=3.9"

[[package]]
name = "thing"
version = "1.0"
source = {{{{ path = "wheels/{WHEEL}" }}}}
wheels = [
    {{{{ filename = "{WHEEL}", hash = "sha256:{{digest}}" }}}},
]

[[package]]
name = "x"
version = "1"
source = {{{{ virtual = "." }}}}
dependencies = [{{{{ name = "thing" }}}}]

[package.metadata]
requires-dist = [{{{{ name = "thing", path = "wheels/{WHEEL}" }}}}]
"""
LOOK = (
    "import os, pathlib, sys, thing\n"
    "pathlib.Path(os.environ['STOKER_OUTPUTS'], 'said').write_text(thing.NAME + sys.prefix)\n"
)


def wheel() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        info = "thing-1.0.dist-info"
        archive.writestr("thing.py", "NAME = 'thing'\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        tag = "Root-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: x\n{tag}")
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


@pytest.fixture
def bare(engine: Engine) -> Iterator[str]:
    """An image with nothing in it."""
    name = f"stoker-test-bare:{uuid.uuid4().hex[:8]}"
    build(engine, name, "FROM scratch\nCOPY Dockerfile /\n")
    yield name
    with contextlib.suppress(EngineError):
        engine.call("DELETE", f"/images/{name}", {"force": 1})


async def test_a_lock_is_installed_as_it_is_and_its_packages_are_told(bundle: Bundle) -> None:
    data = wheel()
    digest = hashlib.sha256(data).hexdigest()
    lock = LOCK.format(mark=uuid.uuid4(), digest=digest)
    attempt = bundle({"main.py": LOOK, "pyproject.toml": PROJECT, "uv.lock": lock})
    wheels = attempt.folder.job / "wheels"
    wheels.mkdir()
    (wheels / WHEEL).write_bytes(data)
    prepared = await attempt.prepare()
    assert prepared.environment.source == "uv.lock"
    assert prepared.environment.python.startswith("3.")
    assert prepared.packages is not None
    listed = (await prepared.packages()).splitlines()
    assert [line for line in listed if line.startswith("thing")] == [
        f"thing @ file:///opt/stoker/wheels/{WHEEL}"
    ]
    assert (await attempt.run()).code == 0
    assert attempt.output() == "thing/opt/stoker/env"
    changed = lock.replace(digest, "0" * 64)
    wrong = bundle({"main.py": LOOK, "pyproject.toml": PROJECT, "uv.lock": changed})
    (wrong.folder.job / "wheels").mkdir()
    (wrong.folder.job / "wheels" / WHEEL).write_bytes(data)
    with pytest.raises(CannotPrepare, match="Hash mismatch"):
        await wrong.prepare()


@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml", "README"])
async def test_an_image_without_python_is_refused_before_anything_is_built(
    bundle: Bundle, bare: str, name: str
) -> None:
    attempt = bundle({"main.py": "", name: "six\n"}, image=bare)
    with pytest.raises(CannotPrepare) as caught:
        await attempt.prepare()
    assert caught.value.reason is Reason.BUILD_FAILED
    conda = name == "environment.yml"
    assert ("this worker has micromamba" if conda else f"{bare} has no Python") in str(caught.value)
    assert not attempt.text(Stream.BUILD)


async def test_what_apt_says_last_is_the_reason_of_a_dockerfile_that_fails(bundle: Bundle) -> None:
    dockerfile = f"FROM {BASE}\nRUN apt-get install -y stoker-has-no-such-package\n"
    attempt = bundle({"main.py": "", "Dockerfile": dockerfile})
    with pytest.raises(
        CannotPrepare, match=r"^Unable to locate package stoker-has-no-such-package"
    ):
        await attempt.prepare()
    nowhere = f"FROM {BASE}\nENV PATH=/nowhere\nLABEL mark={uuid.uuid4()}\n"
    pathless = bundle({"main.py": "", "Dockerfile": nowhere})
    with pytest.raises(CannotPrepare, match=r"Dockerfile has no Python to run main\.py with"):
        await pathless.prepare()
