"""Where does a program find its data: in a container, and where there is none?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agent.data_rules import NoData, Place
from agent.folder import AttemptFolder
from schemas.data import JOB, DataMount, variables
from schemas.reason import Reason


def data_variables(mounts: Iterable[DataMount], job: str) -> dict[str, str]:
    """``STOKER_DATA_<NAME>`` to a path; ``job``: the folder of a program without a container."""
    found = variables(mounts)
    return {name: f"{job}/{below(one)}" if job else one.path for name, one in found.items()}


def below(mount: DataMount) -> str:
    """Of its path, what is put into the job's folder: of ``/data/x`` all of it."""
    return mount.path.removeprefix(JOB).removeprefix("/")


def link_data(folder: AttemptFolder, places: Iterable[Place]) -> None:
    """In the job's folder: nothing can be mounted for a process. Raises ``NoData``."""
    for place in places:
        free_place(folder, place.mount).symlink_to(place.source)


def make_mount_points(folder: AttemptFolder, places: Iterable[Place]) -> None:
    """For what is mounted within the job's folder. Raises ``NoData``."""
    for place in places:
        if not place.mount.path.startswith(JOB):
            continue
        target = free_place(folder, place.mount)
        if place.source.is_dir():
            target.mkdir()
        else:
            target.touch()


def free_place(folder: AttemptFolder, mount: DataMount) -> Path:
    """What the bundle has there would be hidden: that is never meant. Raises ``NoData``."""
    target = folder.job / below(mount)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise in_the_way(mount) from error
    if target.exists() or target.is_symlink():
        raise in_the_way(mount)
    return target


def in_the_way(mount: DataMount) -> NoData:
    return NoData(
        f"{mount.text} cannot lie at {mount.path}: the bundle has a file or folder there;"
        " choose another path",
        Reason.BUILD_FAILED,
    )
