"""Does a job's owner have the secrets that it names, and should something else be one?"""

from __future__ import annotations

import difflib

from bus import subjects
from bus.connection import Bus
from schemas.problem import Problem
from schemas.secret import ListSecrets, SecretList
from schemas.secret_names import is_secret
from schemas.spec import JobSpec, secret_names
from services.upload.refusals import BadBundle

NEAR = 3
"""Names that are shown."""


class NoSuchSecret(BadBundle):
    """The job names a secret that its owner does not have."""

    def __init__(self, detail: str) -> None:
        super().__init__("no_such_secret", detail)

    @property
    def problem(self) -> Problem:
        title = "The job names an unknown secret"
        return Problem(
            code=self.code, title=title, status=self.status, detail=self.detail, field="secrets"
        )


async def check_secrets(bus: Bus, owner: str, spec: JobSpec) -> None:
    """Nobody is asked where the job names none. Raises ``NoSuchSecret`` and ``BusError``."""
    names = secret_names(spec)
    if not names:
        return
    subject = subjects.request("secrets", "list")
    found = await bus.request(subject, ListSecrets(owner=owner), SecretList)
    known = [one.name for one in found.secrets]
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        raise NoSuchSecret(
            f"{owner} has no secret {missing};"
            f" {instead(missing, known)}: stoker secret set {missing}"
        )


def instead(name: str, known: list[str]) -> str:
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=NEAR, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(folded[one] for one in near)}? Else set it"
    return "set it"


def advice(spec: JobSpec) -> tuple[str, ...]:
    """For the person who submits: what stands in the job's record as plain text."""
    return tuple(
        f"{name} looks like a secret, and is kept with the job as it was written:"
        f" stoker secret set {name}, then --secret {name} in its place"
        for name, value in spec.environment.items()
        if is_secret(name, value)
    )
