"""The API keys of the service, and the cells in which what they use is counted."""

from __future__ import annotations

from collections.abc import Mapping

from inferctl.arena.spec import KeySpec
from inferctl.keys import HASH_PREFIX, MAX_KEYS, KeySettings


class Keyring:
    """A key that stays keeps its cell, whatever comes and goes beside it."""

    def __init__(self, settings: Mapping[str, KeySettings]) -> None:
        self._cells: dict[str, int] = {}
        self.keys: tuple[KeySpec, ...] = ()
        self.renew(settings)

    def renew(self, settings: Mapping[str, KeySettings]) -> bool:
        """Have these keys and no others from now on; whether anything is different."""
        kept = {name: cell for name, cell in self._cells.items() if name in settings}
        free = iter(sorted(set(range(MAX_KEYS)) - set(kept.values())))
        self._cells = {name: kept[name] if name in kept else next(free) for name in settings}
        keys = tuple(
            KeySpec(
                name=name,
                digest=key.hash.get_secret_value().removeprefix(HASH_PREFIX),
                cell=self._cells[name],
                scopes=key.scopes,
                requests_per_s=key.requests_per_s,
                max_concurrent=key.max_concurrent,
            )
            for name, key in settings.items()
        )
        before, self.keys = self.keys, keys
        return keys != before
