"""How do the images of one engine come about, as the worker is configured?"""

from __future__ import annotations

from pathlib import Path

from agent.runtimes.docker_buildkit import BuildKit
from agent.runtimes.docker_builds import Builds, Kept
from agent.runtimes.docker_config import DockerConfig
from agent.runtimes.docker_engine import Engine
from agent.runtimes.docker_images import Images
from agent.runtimes.docker_leftovers import Leftovers
from agent.runtimes.docker_packages import Packages
from agent.runtimes.docker_registry import Logins
from agent.runtimes.docker_threads import Threads


def new_images(
    engine: Engine, threads: Threads, leftovers: Leftovers, work: Path, config: DockerConfig
) -> Images:
    logins = Logins(config.registry_credentials)
    images = Images(engine, threads, config.builds, leftovers, config.sandbox, logins)
    # Under a sandbox the kernel's limits do not hold that keep a download what it was.
    images.packages = Packages(work / "packages", 0 if config.sandbox else config.package_cache)
    if config.docker_command:
        kept = Kept(config.registry_credentials, config.package_cache)
        buildkit = BuildKit(engine.path, work / "buildkit", config.docker_command)
        images.buildkit = Builds(engine, threads, images, buildkit, kept).build
    return images
