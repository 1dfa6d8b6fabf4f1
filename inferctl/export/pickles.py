"""Says what a pickle would import, by reading its opcodes; nothing is unpickled."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
import zlib
from typing import BinaryIO

# What every torch.save file names, and torch's own safe loader builds.
_ORDINARY = re.compile(
    r"torch\._utils\._rebuild_\w+|torch\.(\w+Storage|Size|device)|collections\.OrderedDict"
    r"|(__builtin__|builtins)\.set"
)
# The old format has five pickles before its raw data; the fourth holds the objects.
_MAX_PICKLES = 5


def imported_names(file: BinaryIO) -> tuple[str, ...]:
    """List what loading a torch.save file or a bare pickle would import, sorted.

    What tensors are made of is left out. A file can hide more from this than it shows: the list
    says what to expect, never that a file is harmless.
    """
    stream = _pickle_of(file)
    names: set[str] = set()
    for _ in range(_MAX_PICKLES):
        try:
            names |= _names_of_one(stream)
        except ValueError:
            # The raw data after the pickles, or a pickle cut short.
            break
    return tuple(sorted(name for name in names if not is_ordinary(name)))


def is_ordinary(name: str) -> bool:
    """Whether a name is one of those that tensors are made of."""
    return _ORDINARY.fullmatch(name) is not None


def _pickle_of(file: BinaryIO) -> BinaryIO:
    zipped = file.read(2) == b"PK"
    file.seek(0)
    if not zipped:
        return file
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.partition("/")[2] == "data.pkl":
                    return io.BytesIO(archive.read(name))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
        pass
    return io.BytesIO()


def _names_of_one(stream: BinaryIO) -> set[str]:
    """The names one pickle imports; from protocol 4 on, they are two strings on the stack."""
    names: set[str] = set()
    memo: dict[int, str] = {}
    strings: list[str] = []
    last = ""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            names.add(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.add(".".join(strings[-2:]))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = last
            continue
        elif "UNICODE" in opcode.name or opcode.name in ("BINGET", "LONG_BINGET"):
            last = memo.get(argument, "") if isinstance(argument, int) else str(argument)
            strings.append(last)
            continue
        last = ""
    return names
