"""Where is somebody sent after signing in? Never to another site."""

from __future__ import annotations

import pytest

from ui.admission import own_path


@pytest.mark.parametrize("text", ["/", "/jobs/0d4k8q2m-7xv3", "/?show=failed&text=a%20b", "/a/b#c"])
def test_a_path_of_this_server_is_kept(text: str) -> None:
    assert own_path(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jobs",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " /",
        "https://evil.example",
        "javascript:alert(1)",
        "/sign-in?next=/",
        "/sign-in/oidc",
        "/" + "a" * 3000,
        "//[",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_anything_else_is_the_first_page(text: str) -> None:
    assert own_path(text) == "/"
