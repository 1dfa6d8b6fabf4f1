"""Which libraries a shared library asks the loader for; all of them, of which dlopen names one."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

# 64 bits, little endian: every platform that onnxruntime has a GPU build for.
MAGIC = b"\x7fELF\x02\x01"
_PHOFF, _PHENTSIZE = 0x20, 0x36
_LOAD, _DYNAMIC = 1, 2
_NULL, _NEEDED, _STRTAB = 0, 1, 5


def needed_libraries(library: Path) -> tuple[str, ...]:
    """The names in the order in which they are looked for; none of what is no such library.

    Raises OSError when it cannot be read.
    """
    with library.open("rb") as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as data:
                return _needed(data)
        except (struct.error, ValueError, OverflowError):  # an empty file is mapped to none
            return ()


def _needed(data: mmap.mmap) -> tuple[str, ...]:
    """Raises ValueError, OverflowError or struct.error when it is damaged."""
    if data[: len(MAGIC)] != MAGIC:
        return ()
    (table,) = struct.unpack_from("<Q", data, _PHOFF)
    size, count = struct.unpack_from("<HH", data, _PHENTSIZE)
    # Of each segment: its kind, flags, offset in the file, address, physical address, size there.
    segments = [struct.unpack_from("<IIQQQQ", data, table + size * i) for i in range(count)]
    names: list[int] = []
    strings = 0
    for kind, _, offset, *_ in segments:
        while kind == _DYNAMIC:
            tag, value = struct.unpack_from("<QQ", data, offset)
            offset += 16
            if tag == _NEEDED:
                names.append(value)
            elif tag == _STRTAB:
                strings = value
            elif tag == _NULL:
                break
    if not names:
        return ()
    # The table of names is given by its address in memory.
    inside = [
        strings - address + offset
        for kind, _, offset, address, _, length in segments
        if kind == _LOAD and address <= strings < address + length
    ]
    if not inside:
        raise ValueError("the names lie in no segment")
    return tuple(_string(data, inside[0] + name) for name in names)


def _string(data: mmap.mmap, start: int) -> str:
    end = data.find(b"\0", start)
    return data[start:end].decode()
