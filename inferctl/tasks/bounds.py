"""How much JSON a model's requests may be: what none of them needs is refused before it is parsed.

Parsing half a million names that no request has takes a second and a hundred megabytes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from inferctl.refusals import TooLarge, Unprocessable

# Bodies of no more than this take no time, whatever they hold.
FEW_BYTES = 4096
# A number as JSON writes it, with room for indentation; a character of a text, escaped.
NUMBER_CHARS = 64
ESCAPED_CHARS = 12
# Names, shapes, parameters, and what we do not know.
SLACK_BYTES = 64 * 1024
SLACK_NAMES = 64

NAMES, VALUES = b":", b","
# Strings, and what lies between them, before the next name or value: of the first there are no more
# than rows, of the second no more than a request is deep.
MOST_PIECES = {NAMES: 4 * 65_536, VALUES: 128}
# All up to one of them that is in no string, if there is one.
SEPARATORS = {
    separator: re.compile(
        rb'(?:[^"%b]++|"(?:[^"\\]++|\\.)*+"?){0,%d}+(%b?)' % (separator, pieces, separator),
        re.DOTALL,
    )
    for separator, pieces in MOST_PIECES.items()
}


class Bounds(NamedTuple):
    """The most that any request of a model has: bytes, if they are bounded, and names of members.

    Where neither numbers nor lists are sent, `max_names` are also more than all its values.
    """

    max_bytes: int | None
    max_names: int

    def check(self, body: bytes | bytearray, separator: bytes) -> None:
        """Count a body's NAMES or VALUES, up to one too many. Raises TooLarge or Unprocessable.

        It takes microseconds for a body that is one long string.
        """
        if self.max_bytes is not None and len(body) > self.max_bytes:
            raise TooLarge(f"the JSON is larger than {self.max_bytes} bytes", hint="send less")
        place = -1
        for _ in range(self.max_names + 1):
            place = body.find(separator, place + 1)
            if place < 0:
                return
        # Texts hold them too.
        if self._are_outside_of_strings(body, separator):
            raise Unprocessable("the body holds more names or values than any request has")

    def _are_outside_of_strings(self, body: bytes | bytearray, separator: bytes) -> bool:
        place, up_to_next = 0, SEPARATORS[separator]
        for _ in range(self.max_names + 1):
            found = up_to_next.match(body, place)
            if found is None or not found[1]:
                return found is not None and found.end() < len(body)
            place = found.end()
        return True
