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
    """pip of the agent's own interpreter installs into the other one, where there is a pip.

    They run beside the files that the choice names. Raises ``CannotPrepare``.
    """
    if choice.source == CONDA:
        return conda_commands(path, interpreter)
    own_pip = importlib.util.find_spec("pip") is not None
    bare = ["--without-pip"] if own_pip or not choice.files else []
    venv = Command("venv", [interpreter.path, "-m", "venv", *bare, str(path)])
    if not choice.files:
        return [venv]
    pip = pip_words(str(path / "bin" / "python"), own_pip)
    if choice.source == UV_LOCK:
        return [venv, *uv_commands(path, pip)]
    return [venv, Command("pip", [*pip, "-r", "requirements.txt"])]


def pip_words(python: str, own_pip: bool) -> list[str]:
    pip = [sys.executable, "-m", "pip", "--python", python] if own_pip else [python, "-m", "pip"]
    # Compiling all of it takes longer than the download; what is imported compiles itself.
    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    return [*pip, "install", *options, "--no-compile"]


def uv_commands(path: Path, pip: list[str]) -> list[Command]:
    """Exactly what the lock says, but for the project itself and what only developers need."""
    uv = shutil.which("uv")
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
