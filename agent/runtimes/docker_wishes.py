"""What is prepared, which image comes of it, and what does the log say of that? Values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.runtimes.choice import Choice
from agent.runtimes.docker_programs import Programs
from agent.runtimes.docker_registry import Login
from agent.runtimes.environment_key import Recipe, shown
from schemas.job import Environment
from schemas.spec import JobSpec
from schemas.worker import Grant


@dataclass(frozen=True, slots=True)
class Wish:
    """What is prepared."""

    grant: Grant
    files: Path
    """The bundle's own."""
    logins: Mapping[str, Login] = field(default_factory=dict)
    """At registries, of the job's owner."""

    @property
    def spec(self) -> JobSpec:
        return self.grant.spec


@dataclass(frozen=True, slots=True)
class Ready:
    """An image to run, and whether it brings its own command."""

    environment: Environment
    image: str
    own_command: bool = False
    python: str = ""
    """The name under which it has Python; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the log says of an environment."""

    choice: Choice
    base: str
    recipe: Recipe
    digest: str = ""
    """Of the base image."""
    python: str = ""

    def line(self, state: str) -> str:
        on = "" if self.choice.source == self.base else f" on {self.base}"
        return f"{shown(self.recipe.key)} {state}: {self.choice.source}{on} ({self.choice.because})"


def environment(told: Told, cached: bool, image: str) -> Environment:
    return Environment(
        source=told.choice.source,
        base=told.base,
        key=told.recipe.key,
        cached=cached,
        image=image,
        digest=told.digest,
        python=told.python,
    )


def ready(made: Environment, programs: Programs) -> Ready:
    python = made.python or programs.version
    return Ready(
        made.model_copy(update={"python": python}), made.image or "", python=programs.python
    )
