"""One nats-server for all worlds of a test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.harness import warm_up
from tests.crash.worlds import Server, server


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    warm_up()
    with server(tmp_path_factory.mktemp("worlds")) as running:
        yield running
