"""What does a person ask for when submitting a job?"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.data import MOUNTS_MOST, DataMount, check_mounts
from schemas.ids import JOB_ID, NAME_TOKEN
from schemas.image import image_name
from schemas.problem import Problem
from schemas.secret import USES_MOST, SecretUse, check_name, check_uses
from schemas.source import Source

MEBIBYTE = 1 << 20
MOST_BYTES = 1 << 50
MOST_SECONDS = 1e9
"""About thirty years: what is larger has no room in a message, or is no limit at all."""
SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*$", re.IGNORECASE)
DURATION_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.IGNORECASE)

SIZE_FIELDS = ("memory", "shm", "disk")
DURATION_FIELDS = ("timeout", "grace", "idle_timeout", "queue_timeout")

ARGUMENT_BYTES = 32 * 1024
"""Longest single argument or environment value, in bytes."""
ARGUMENTS_BYTES = 128 * 1024
"""All arguments and environment entries together; Linux allows a few times as much."""
ENVIRONMENT_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")

Network = Literal["none", "outbound", "full"]
"""``outbound``: the internet, but no private, link-local or metadata address."""


def parse_size(text: str | int) -> int:
    """Bytes from ``"2g"``, ``"512 MiB"`` or a plain number; units are powers of 1024."""
    if isinstance(text, int):
        return text
    match = SIZE.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a size; write 512m, 2g or a number of bytes")
    try:
        return int(float(match[1]) * SIZE_UNITS[match[2].lower()])
    except OverflowError:
        raise ValueError(f"{text[:20]!r}… is too large for a size") from None


def parse_duration(text: str | float) -> float:
    """Seconds from ``"90"``, ``"1h30m"`` or a number."""
    if not isinstance(text, str):
        return float(text)
    parts = DURATION.findall(text)
    if not parts or DURATION.sub("", text).strip():
        raise ValueError(f"{text!r} is not a duration; write 90, 15m or 1h30m")
    return float(sum(float(number) * DURATION_UNITS[unit.lower()] for number, unit in parts))


def entry_path(path: str) -> str:
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise ValueError(f"the entry file {path!r} must be a path inside the bundle")
    return path


def pool_name(name: str) -> str:
    if not NAME_TOKEN.match(name):
        raise ValueError(f"{name!r} is not a pool's name: use a-z, 0-9 and '-', at most 63")
    return name


def former_job(id: str) -> str:
    if not JOB_ID.match(id):
        raise ValueError(f"{id!r:.80} is not the id of a job")
    return id


class Strict(BaseModel):
    """What people write: a field that is not known is an error, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Resources(Strict):
    """What a job may use. The limits are enforced, not only requested."""

    cpus: float = Field(default=1.0, gt=0, le=1024)
    memory: int = Field(default=2048 * MEBIBYTE, ge=16 * MEBIBYTE, le=MOST_BYTES)
    """Bytes; swap is not on top of it."""
    gpus: int = Field(default=0, ge=0, le=64)
    shm: int = Field(default=64 * MEBIBYTE, ge=MEBIBYTE, le=MOST_BYTES)
    """Bytes of ``/dev/shm``; counts as the job's memory. PyTorch's data loaders want more."""
    pids: int = Field(default=512, ge=16, le=65536)
    disk: int = Field(default=64 * 1024 * MEBIBYTE, ge=16 * MEBIBYTE, le=MOST_BYTES)
    """Bytes that its folders may take on the disk, its copy of the bundle included."""

    @model_validator(mode="before")
    @classmethod
    def read_sizes(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        sizes = {
            k: parse_size(v) for k, v in values.items() if k in SIZE_FIELDS and isinstance(v, str)
        }
        return {**values, **sizes}


class JobSpec(Strict):
    """One job as asked for: frozen, kept in its record, and enough to run it again."""

    name: str = Field(default="", max_length=120)
    entry: Annotated[str, AfterValidator(entry_path)] = "main.py"
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    secrets: tuple[SecretUse, ...] = Field(default=(), max_length=USES_MOST)
    """Names of the owner's secrets alone; their values are no part of a job."""
    data: tuple[DataMount, ...] = Field(default=(), max_length=MOUNTS_MOST)
    """What it finds at some paths, and cannot change."""
    pool: Annotated[str, AfterValidator(pool_name)] = "default"
    priority: int = Field(default=0, ge=-100, le=100)
    """Higher goes first within a pool."""
    resources: Resources = Resources()
    timeout: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    """Seconds that the program may run; None for no limit."""
    idle_timeout: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    """Seconds that it may run without printing anything."""
    queue_timeout: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    """Seconds that the job may wait for a worker, anew before each attempt."""
    grace: float = Field(default=10.0, ge=0, le=300)
    """Seconds between SIGTERM and SIGKILL."""
    retries: int | None = Field(default=None, ge=0, le=20)
    """Tries after the first, whatever the reason; None: 3 for infrastructure, 0 for the user's."""
    exclusive: bool = False
    """Never runs twice at one time: the program dies with the lease of a worker that is cut off."""
    network: Network = "none"
    python: str | None = Field(default=None, pattern=r"^3\.\d{1,2}$")
    image: str | None = Field(default=None, min_length=1, max_length=255)
    """Base image instead of the pool's."""
    image_secret: str | None = None
    """Name of the owner's secret that is ``USER:PASSWORD`` at the image's registry."""
    resume: Annotated[str, AfterValidator(former_job)] | None = None
    """The job whose last checkpoint it begins from, until it has one of its own."""
    source: Source | None = None
    """The commit that the bundle was made from, where its sender knows one."""

    @model_validator(mode="before")
    @classmethod
    def read_durations(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        times = {
            k: parse_duration(v)
            for k, v in values.items()
            if k in DURATION_FIELDS and isinstance(v, str)
        }
        return {**values, **times}

    @model_validator(mode="after")
    def check_secrets(self) -> Self:
        check_uses(self.secrets, self.environment)
        return self

    @model_validator(mode="after")
    def check_image_secret(self) -> Self:
        if self.image_secret is not None:
            check_name(self.image_secret)
            if "/" not in (self.image or ""):
                raise ValueError("image_secret is for an image of a registry: name that as image")
        return self

    @model_validator(mode="after")
    def check_data(self) -> Self:
        check_mounts(self.data)
        return self

    @model_validator(mode="after")
    def bound_arguments(self) -> Self:
        total = 0
        for value in (*self.arguments, *self.environment.values()):
            size = len(value.encode("utf-8", "surrogatepass"))
            if size > ARGUMENT_BYTES:
                raise ValueError(
                    f"an argument or environment value has {size} bytes; at most {ARGUMENT_BYTES}"
                    " are allowed: put it into a file of the bundle"
                )
            if "\0" in value:
                raise ValueError("an argument or environment value holds a NUL character")
            total += size
        for name in self.environment:
            if not ENVIRONMENT_NAME.match(name):
                raise ValueError(f"{name!r} is not a name of an environment variable")
            total += len(name) + 1
        if total > ARGUMENTS_BYTES:
            raise ValueError(
                f"arguments and environment have {total} bytes together; at most"
                f" {ARGUMENTS_BYTES} are allowed"
            )
        return self


def secret_names(spec: JobSpec) -> tuple[str, ...]:
    """All that it needs of its owner's, each once."""
    image = () if spec.image_secret is None else (spec.image_secret,)
    return tuple(dict.fromkeys([*(use.name for use in spec.secrets), *image]))


def read_spec(values: dict[str, Any]) -> JobSpec:
    """A checked spec; raises ``InvalidSpec`` with one sentence that says what to change."""
    try:
        spec = JobSpec.model_validate(values)
    except ValidationError as error:
        raise InvalidSpec(spec_problem(error)) from error
    try:
        # Not a rule of the model: what is stored already is read, whatever it says.
        image_name(spec.image or "python")
    except ValueError as error:
        raise InvalidSpec(invalid("image", str(error))) from error
    return spec


class InvalidSpec(ValueError):
    """The spec breaks a rule; ``problem`` says which and what to change."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def spec_problem(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_context=False)[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join(path) or "spec"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = Resources.model_fields if path[:1] == ["resources"] else JobSpec.model_fields
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        message = f"there is no such field; {hint}"
    return invalid(where, message)


def invalid(field: str, message: str) -> Problem:
    return Problem(
        code="invalid_spec",
        title="The job's spec is not valid",
        status=422,
        detail=f"{field}: {message}",
        field=field,
    )
