"""How many requests of the log there are of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from inferctl.errors import UsageError
from inferctl.requestlog.fields import FIELDS
from inferctl.requestlog.readable import printable
from inferctl.requestlog.selection import Found

NAMES = tuple(field.name for field in FIELDS)


class Counts:
    """Counts by what these members of a line are."""

    def __init__(self, members: Sequence[str]) -> None:
        """Raises UsageError for a member that lines do not have."""
        for member in members:
            if member not in NAMES:
                hint = f"one of {', '.join(NAMES)}"
                raise UsageError(f"{member!r} is no member of a line", where="--by", hint=hint)
        self._members = tuple(members)
        self._counts: Counter[tuple[str, ...]] = Counter()

    def show(self, found: Iterable[Found]) -> None:
        """Count these."""
        self._counts.update(
            tuple(_text(each.entry.get(member)) for member in self._members) for each in found
        )

    def table(self) -> Table:
        """The most frequent first."""
        table = Table("requests", *self._members, box=None, pad_edge=False)
        table.columns[0].justify = "right"
        for values, count in self._counts.most_common():
            table.add_row(f"{count:,}", *map(Text, values))  # a client's, and no markup
        return table


def _text(value: object) -> str:
    return "-" if value is None else printable(value)
