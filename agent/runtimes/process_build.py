"""With which commands is a virtual environment of this machine made?"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.runtimes.choice import CONDA, UV_LOCK, Choice
from agent.runtimes.protocol import CannotPrepare

CONDA_FOLDER = "env"
"""In an environment's folder: micromamba makes only folders that are not there yet."""
TOOLS, UV_CACHE = "tools", "uv-cache"
"""Needed while it is made."""
UV_FIRST = """\
UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never "$0" pip install --no-progress --color never \
--python "$1" -r requirements.txt && exit 0
shift
echo "uv could not do it: pip tries"
exec "$@"
"""
"""uv takes a tenth of pip's time. pip knows settings that uv does not read, and has the last word.
What is copied and not linked stays as it is when another job changes its packages."""
NO_CONDA = (
    "the bundle has an environment.yml, and this worker has no micromamba: install it there, or"
    " name the packages in a requirements.txt"
)
CHECK = (
    "import sys; has = '%d.%d' % sys.version_info[:2]; sys.exit(None if has == {wanted!r} else"
    " 'ERROR: the job asks for Python {wanted}, but its environment.yml has ' + has)"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    path: str
    version: str
    """``3.11``"""
    asked: str | None = None
    """The version that the job asks for."""


@dataclass(frozen=True, slots=True)
class Command:
    """One step."""

    name: str
    """Of the program, for a person."""
    words: list[str]


def home_of(path: Path) -> Path:
    """Where ``bin/python`` of an environment lies."""
    conda = path / CONDA_FOLDER
    return conda if conda.is_dir() else path


def build_commands(path: Path, interpreter: Interpreter, choice: Choice) -> list[Command]:
    """uv installs where there is one, else pip: that of the agent's own interpreter if it has one.

    They run beside the files that the choice names. Raises ``CannotPrepare``.
    """
    if choice.source == CONDA:
        return conda_commands(path, interpreter)
    own_pip = importlib.util.find_spec("pip") is not None
    bare = ["--without-pip"] if own_pip or not choice.files else []
    venv = Command("venv", [interpreter.path, "-m", "venv", *bare, str(path)])
    if not choice.files:
        return [venv]
    python = str(path / "bin" / "python")
    pip, uv = pip_words(python, own_pip), found_uv()
    if choice.source == UV_LOCK:
        return [venv, *uv_commands(path, pip)]
    first = ["sh", "-c", UV_FIRST, uv, python] if uv else []
    return [venv, Command("pip", [*first, *pip, "-r", "requirements.txt"])]


def found_uv() -> str | None:
    """Beside the agent's own interpreter, or else on its path."""
    return shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


def pip_words(python: str, own_pip: bool) -> list[str]:
    pip = [sys.executable, "-m", "pip", "--python", python] if own_pip else [python, "-m", "pip"]
    # Compiling all of it takes longer than the download; what is imported compiles itself.
    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    return [*pip, "install", *options, "--no-compile"]


def uv_commands(path: Path, pip: list[str]) -> list[Command]:
    """Exactly what the lock says, but for the project itself and what only developers need."""
    uv = found_uv()
    tools = path / TOOLS
    get = [] if uv else [Command("pip", [*pip, "--target", str(tools), "uv"])]
    variables = {
        "UV_PROJECT_ENVIRONMENT": path,
        "UV_PYTHON": path / "bin" / "python",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_CACHE_DIR": path / UV_CACHE,
    }
    words = [uv or str(tools / "bin" / "uv"), "sync", "--frozen", "--no-dev"]
    words += ["--no-install-project", "--inexact"]
    given = [f"{name}={value}" for name, value in variables.items()]
    return [*get, Command("uv", ["env", *given, *words])]


def conda_commands(path: Path, interpreter: Interpreter) -> list[Command]:
    micromamba = shutil.which("micromamba")
    if micromamba is None:
        raise CannotPrepare(NO_CONDA)
    home = path / CONDA_FOLDER
    root = f"MAMBA_ROOT_PREFIX={path / TOOLS}"
    words = [micromamba, "create", "--yes", "--prefix", str(home), "--file", CONDA]
    commands = [Command("micromamba", ["env", root, *words])]
    if interpreter.asked:
        check = CHECK.format(wanted=interpreter.asked)
        commands.append(Command("python", [str(home / "bin" / "python"), "-c", check]))
    return commands
