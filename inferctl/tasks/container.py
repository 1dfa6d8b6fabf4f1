"""An encoded image before any decoder sees it: what its header says of it, and what is left out.

Headers, chunks and scans are read here, in time that depends on their number and not on the bytes
between them; whatever asks for more memory or time than a picture needs is refused. What describes
a picture and is none, profiles, comments, thumbnails, Pillow never gets to read: that has unpacked
megabytes from kilobytes more than once.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferctl.refusals import RequestError, TooLarge, Unprocessable, UnsupportedMedia
from inferctl.tasks.base import Body

MAX_SIDE = 16_384
MAX_ASPECT = 100


@dataclass(frozen=True, slots=True)
class Container:
    """A still image of `width` x `height` pixels as stored; `data` is what a decoder needs of it.

    `orientation` is EXIF's, 1 to 8. Its pixels come in so many `scans`, each over all of them.
    """

    data: Body
    width: int
    height: int
    orientation: int = 1
    scans: int = 1


class Pieces:
    """Puts together what is kept of a file, in runs that are copied once."""

    __slots__ = ("_data", "_end", "_runs", "_start")

    def __init__(self, data: Body, end: int) -> None:
        """Keep it up to `end`."""
        self._data = data
        self._start, self._end = 0, end
        self._runs: list[slice] = []

    def keep(self, start: int, end: int) -> None:
        """Keep this part, and nothing between it and the last one."""
        if start != self._end:
            self._runs.append(slice(self._start, self._end))
            self._start = start
        self._end = end

    def joined(self) -> Body:
        """All that was kept."""
        runs = [*self._runs, slice(self._start, self._end)]
        if runs == [slice(0, len(self._data))]:
            return self._data
        view = memoryview(self._data)
        return b"".join(view[run] for run in runs)


def damaged() -> Unprocessable:
    """What is said of a file that is not as its format wants it, wherever that is seen."""
    return Unprocessable("the image is damaged")


def animated() -> RequestError:
    """What is said of a moving picture."""
    return UnsupportedMedia("the image is animated", hint="send one of its frames")


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLarge, or Unprocessable for a side of 0 or a thread of an image."""
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise TooLarge(f"the image has more than {max_pixels} pixels or {MAX_SIDE} on a side")
    if not width or not height:
        raise damaged()
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Unprocessable(f"a side of the image is more than {MAX_ASPECT} times the other")
