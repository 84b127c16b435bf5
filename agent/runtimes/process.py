"""How does a job run as a plain process of this machine? Only by choice: it is no sandbox."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import sys
from pathlib import Path
from socket import socket

from agent.data_places import link_data
from agent.folder import AttemptFolder, Note
from agent.runtimes.choice import CONDA, DOCKERFILE, CannotRead, Choice, choose
from agent.runtimes.cores import Cores
from agent.runtimes.process_build import Interpreter
from agent.runtimes.process_environment import Built, Environments, end_builds, say
from agent.runtimes.process_meter import tree_meter
from agent.runtimes.process_secrets import remove_strays
from agent.runtimes.process_tracking import Reserved
from agent.runtimes.program import Places, limits_of, make_places, program_environment
from agent.runtimes.protocol import CannotPrepare, Launch, News, Output, Preparation, Prepared
from agent.runtimes.shim_runtime import ShimRuntime, StartHost
from agent.runtimes.usage import Meter
from schemas.job import Environment

BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


class ProcessRuntime(ShimRuntime):
    """A virtual environment and a process in a session of its own, as the agent's user."""

    name = "process"

    def __init__(
        self,
        work: Path,
        base_environment: dict[str, str] | None = None,
        start_host: StartHost | None = None,
    ) -> None:
        super().__init__(work, start_host)
        self._base = {**BASE_ENVIRONMENT, **(base_environment or {})}
        self._root = work / "environments"
        self._environments = Environments(self._root)
        self._in_use: dict[str, str] = {}
        """Attempt to the key of its environment."""
        self._cores = Cores()
        self._reserved = Reserved()

    async def check(self) -> str | None:
        if sys.platform == "win32":
            return "the process runtime needs Linux or macOS"
        return None

    async def open(self) -> None:
        self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
        await asyncio.to_thread(end_builds, self._root)
        await super().open()

    async def prepare(self, preparation: Preparation, output: Output) -> Prepared:
        grant, folder = preparation.grant, preparation.folder
        choice = read_choice(folder.job)
        interpreter = find_interpreter(grant.spec.python, choice)
        if (folder.job / DOCKERFILE).exists():
            say(output, "the bundle's Dockerfile is not used: this worker runs plain processes")
        bundle = (grant.bundle, folder.job)
        built = await self._environments.get(
            choice, interpreter, bundle, self._in_use.values(), output
        )
        self._in_use[folder.name] = built.key
        make_places(folder)
        await asyncio.to_thread(link_data, folder, preparation.data)
        tell(output, choice, interpreter, built)
        by_conda = choice.source == CONDA
        environment = Environment(
            source=choice.source,
            base="micromamba" if by_conda else f"python {interpreter.version}",
            key=built.key,
            cached=built.cached,
            python=(grant.spec.python or "") if by_conda else interpreter.version,
        )
        return Prepared(environment, self._launch(preparation, built), built.packages)

    def _launch(self, preparation: Preparation, built: Built) -> Launch:
        grant, folder = preparation.grant, preparation.folder
        kind = "VIRTUAL_ENV" if built.home == built.path else "CONDA_PREFIX"
        base = {**self._base, kind: str(built.home)}
        base["PATH"] = f"{built.home / 'bin'}:{base['PATH']}"
        port, variables = self._reserved.reserve(folder.name, grant, str(folder.outputs))
        return Launch(
            runtime=self.name,
            job=grant.job,
            attempt=grant.attempt,
            worker=preparation.worker,
            folder=str(folder.path),
            command=(str(built.python), grant.spec.entry, *grant.spec.arguments),
            environment=program_environment(
                preparation, base | variables, Places.here(folder, home=str(folder.path))
            ),
            limits=limits_of(grant),
            network="full",
            secrets=bool(grant.spec.secrets),
            details={
                "environment": built.key,
                "cores": self._cores.take(folder.name, grant.spec.resources.cpus),
                "tracking": port,
            },
        )

    async def adopt(self, folder: AttemptFolder, news: News) -> bool:
        data = folder.read_notes().get(Note.LAUNCH)
        if data is not None:
            launch = Launch.unpack(data)
            self._in_use[folder.name] = str(launch.details.get("environment", ""))
            self._cores.put(folder.name, launch.details.get("cores", ()), launch.limits.cpus)
        return await super().adopt(folder, news)

    async def _listen(self, folder: AttemptFolder, port: int) -> socket:
        return self._reserved.take(folder.name, port)

    async def clean(self, wanted: int) -> int:
        removed = await super().clean(wanted) + remove_strays(self._root.parent / "attempts")
        return removed + await self._environments.clean(set(self._in_use.values()), wanted)

    def _meter_of(self, identity: str) -> Meter | None:
        return tree_meter(identity) if sys.platform == "linux" else None

    async def discard(self, folder: AttemptFolder) -> None:
        self._in_use.pop(folder.name, None)
        self._cores.give_back(folder.name)
        self._reserved.drop(folder.name)
        await super().discard(folder)

    async def close(self) -> None:
        self._reserved.close()
        await super().close()


def find_interpreter(wanted: str | None, choice: Choice) -> Interpreter:
    """Raises ``CannotPrepare`` where the job asks for a Python that is not here.

    An environment.yml brings its own.
    """
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted in (None, own) or choice.source == CONDA:
        return Interpreter(sys.executable, own, wanted)
    path = shutil.which(f"python{wanted}")
    if path is None:
        raise CannotPrepare(
            f"the job asks for python {wanted}, but this worker has python {own} and runs plain"
            f" processes; install python{wanted} there or leave the version open"
        )
    return Interpreter(path, str(wanted), wanted)


def read_choice(bundle: Path) -> Choice:
    try:
        return choose(bundle, dockerfile=False)
    except CannotRead as error:
        raise CannotPrepare(str(error)) from error


def tell(output: Output, choice: Choice, interpreter: Interpreter, built: Built) -> None:
    state = "cached" if built.cached else "built"
    own = choice.source in ("python", CONDA)
    on = "" if own else f" on python {interpreter.version}"
    version = f" {interpreter.version}" if choice.source == "python" else ""
    say(
        output,
        f"environment {built.key[:8]}… {state}: {choice.source}{version}{on} ({choice.because})"
        f" · no sandbox: runs as user {user()}",
    )


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
