"""What lies on this machine that jobs would otherwise wait for? Told in its beats, bounded."""

from __future__ import annotations

from collections import OrderedDict

from schemas.job import Environment
from schemas.placing import KEYS_MOST, key_start, worth_telling


class Environments:
    """Those that this agent has prepared, the last used last."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def note(self, environment: Environment | None) -> None:
        if environment is None or not worth_telling(environment):
            return
        self._keys[key_start(environment.key)] = None
        self._keys.move_to_end(key_start(environment.key))
        while len(self._keys) > KEYS_MOST:
            self._keys.popitem(last=False)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(reversed(self._keys))
