"""With which settings is a job's container created? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.runtimes.docker_pipes import mount, through_pipes, uses_pipes
from agent.runtimes.docker_secrets import has_files, memory_file_system, through_shell
from agent.runtimes.protocol import Launch

JOB = "/job"
OUTPUTS = "/outputs"
CHECKPOINTS = "/checkpoints"
STOP = "/run/stoker-stop"
"""Beside the pipes, which are mounted read-only themselves."""
JOB_USER = 10001
"""Who a job is where the agent is root; any other agent runs its jobs as itself."""
OPEN_FILES = 4096
"""No more than the least that an engine itself may open: it cannot give what it has not."""
OOM_SCORE = 500
"""The kernel takes a job before it takes the agent."""
OUTBOUND, FULL = "stoker-outbound", "bridge"
NETWORKS = {"none": "none", "outbound": OUTBOUND, "full": FULL}
"""Of a job, and of the engine."""


OWNER = "stoker.owner"
"""Label of all that an agent makes: nobody else removes it."""
INSTALLS = "stoker.installs"
"""Label of a container that installs packages: the agent that waits for it."""


def owner_of(worker: str, work: Path) -> str:
    """An agent's name alone would not do: two Stokers may know a worker of one name."""
    return f"{worker}@{work}"


def container_name(job: str, attempt: int) -> str:
    return f"stoker-{job}-{attempt}"


def settings(launch: Launch) -> dict[str, Any]:
    """The body of the engine's ``/containers/create``.

    Of ``launch.details``: ``image`` (id), ``user``, ``own_command`` (run what the image names, with
    the command as its arguments), ``cpus`` (what the engine has), ``gpus`` (ids), ``sandbox`` (the
    engine's name of what runs the container; empty for its default), ``pipes`` (print to the shim
    itself; the command is complete then, as it is with secrets), ``secret_files``.
    """
    own = bool(launch.details.get("own_command"))
    body: dict[str, Any] = {
        "Image": launch.details["image"],
        "Env": [f"{name}={value}" for name, value in launch.environment.items()],
        "User": launch.details["user"],
        "Labels": labels(launch),
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": launch.network == "none",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host_settings(launch),
    }
    if launch.secrets or uses_pipes(launch):
        body |= {"Entrypoint": wrapped(launch)}
        body |= {} if own else {"WorkingDir": JOB}
        body |= {"OpenStdin": True, "StdinOnce": True} if launch.secrets else {}
    elif own:
        body |= {"Cmd": list(launch.command)} if launch.command else {}
    else:
        # An entrypoint of its own, or the image's would stand before the command.
        body |= {"Entrypoint": list(launch.command), "WorkingDir": JOB}
    return body


def wrapped(launch: Launch) -> list[str]:
    """The complete command, behind the shells that it needs."""
    command = through_pipes(launch.command) if uses_pipes(launch) else list(launch.command)
    return through_shell(command) if launch.secrets else command


def labels(launch: Launch) -> dict[str, str]:
    return {
        "stoker.job": launch.job,
        "stoker.attempt": str(launch.attempt),
        "stoker.worker": launch.worker,
        "stoker.folder": launch.folder,
        OWNER: owner_of(launch.worker, Path(launch.folder).parent.parent),
    }


def host_settings(launch: Launch) -> dict[str, Any]:
    limits = launch.limits
    cpus = min(limits.cpus, launch.details.get("cpus") or limits.cpus)
    host = hardened(limits.memory, limits.pids, cpus)
    return {
        **host,
        "Runtime": launch.details.get("sandbox", ""),
        "ReadonlyRootfs": True,
        # Programs compile into /tmp and run what they made: it stays executable.
        "Tmpfs": {
            "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={limits.memory}",
            **(memory_file_system(launch.details["user"]) if has_files(launch) else {}),
        },
        "Mounts": mounts(launch),
        "NetworkMode": NETWORKS[launch.network],
        "ShmSize": limits.shm,
        "Ulimits": [*host["Ulimits"], ulimit("fsize", limits.disk)],
        "DeviceRequests": device_requests(limits.gpus, launch.details.get("gpus", ())),
    }


def hardened(memory: int, pids: int, cpus: float) -> dict[str, Any]:
    """What holds for whatever runs code that is not ours; ``cpus`` 0 for all."""
    return {
        "Init": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "private",
        "PidsLimit": pids,
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": int(cpus * 1e9),
        "Ulimits": [ulimit("nofile", OPEN_FILES), ulimit("core", 0)],
        "OomScoreAdj": OOM_SCORE,
        # Whoever attached keeps the output; a driver would write every byte once more.
        "LogConfig": {"Type": "none"},
    }


def mounts(launch: Launch) -> list[dict[str, Any]]:
    folders = [
        bind(f"{launch.folder}/job", JOB),
        bind(f"{launch.folder}/outputs", OUTPUTS),
        bind(f"{launch.folder}/checkpoints", CHECKPOINTS),
        {**bind(f"{launch.folder}/stop", STOP), "ReadOnly": True},
    ]
    folders += [read_only(*pair) for pair in launch.details.get("data", ())]
    return [*folders, mount(launch)] if uses_pipes(launch) else folders


def bind(source: str, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target}


def read_only(source: str, target: str) -> dict[str, Any]:
    """What lies mounted within it on the machine stays out."""
    return {**bind(source, target), "ReadOnly": True, "BindOptions": {"NonRecursive": True}}


def ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


def device_requests(count: int, ids: Sequence[str] = ()) -> list[dict[str, Any]]:
    """GPUs, the way of ``docker run --gpus``: those with these ids, or any ``count`` of them."""
    if not count:
        return []
    which: dict[str, Any] = {"DeviceIDs": list(ids)} if ids else {"Count": count}
    return [{"Driver": "", "Capabilities": [["gpu"]], "Options": {}, **which}]
