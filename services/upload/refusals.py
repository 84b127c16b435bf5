"""How is a bad bundle refused?"""

from __future__ import annotations

from schemas.problem import Problem


class BadBundle(Exception):
    """The bundle breaks a rule; says which and what to change."""

    def __init__(self, code: str, detail: str, status: int = 422) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status

    @property
    def problem(self) -> Problem:
        title = "The bundle is not accepted"
        return Problem(code=self.code, title=title, status=self.status, detail=self.detail)
