"""Which version of which model a place of the ledger belongs to.

The supervisor alone changes that, and everybody reads it at any time. So there are two tables, of
which one counts: it writes the other one, and says by the number of its change that from now on
that one does. Whoever reads places and then what was counted there looks at the number again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Rows of the table; one of them stays free, so that there is somewhere to add others up.
PLACES = 256
# As long as a model's name may be; one that is not full ends with zeros.
NAME_BYTES = 64
# The version, and whether somebody has it.
ROW_BYTES = NAME_BYTES + 16
TABLE_BYTES = PLACES * ROW_BYTES
CHANGES_BYTES = 8
PLACES_BYTES = CHANGES_BYTES + 2 * TABLE_BYTES

# The version of a place that holds what several counted which are gone.
EARLIER = 0
# How labels call it.
EARLIER_LABEL = "earlier"


class Place(NamedTuple):
    """What a place belongs to. It `is_taken` while that version is in memory."""

    model: str
    version: int
    is_taken: bool = True

    @property
    def label(self) -> str:
        """The value of the label `version`."""
        return str(self.version) if self.version != EARLIER else EARLIER_LABEL


class Places:
    """The tables. Places that belong to nobody are left out of what is read."""

    def __init__(self, memory: memoryview[int]) -> None:
        self._changes = memory[:CHANGES_BYTES].cast("q")
        tables = memory[CHANGES_BYTES:PLACES_BYTES]
        self._tables = (tables[:TABLE_BYTES], tables[TABLE_BYTES:])

    @property
    def changes(self) -> int:
        """How often they were changed."""
        return self._changes[0]

    def read(self) -> dict[int, Place]:
        """Those of now, by number."""
        table = bytes(self._tables[self._changes[0] & 1])
        found = {}
        for place in range(PLACES):
            row = table[place * ROW_BYTES : (place + 1) * ROW_BYTES]
            if row[0]:
                name = row[:NAME_BYTES].rstrip(b"\0").decode("ascii")
                version, is_taken = memoryview(row[NAME_BYTES:]).cast("q")
                found[place] = Place(name, version, bool(is_taken))
        return found

    def write(self, places: Mapping[int, Place]) -> None:
        """From now on these are the places; for the supervisor alone."""
        changes = self._changes[0] + 1
        table = self._tables[changes & 1]
        for place in range(PLACES):
            row = table[place * ROW_BYTES : (place + 1) * ROW_BYTES]
            owner = places.get(place)
            name = owner.model.encode("ascii") if owner else b""
            row[:NAME_BYTES] = name.ljust(NAME_BYTES, b"\0")
            numbers = row[NAME_BYTES:].cast("q")
            numbers[0], numbers[1] = (owner.version, owner.is_taken) if owner else (0, 0)
        self._changes[0] = changes
