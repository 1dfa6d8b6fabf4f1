"""Takes weights that lie beside an ONNX file into it; what lies elsewhere is never opened.

A file names its weights' places itself, so it could name anything: a path out of its folder, a
link, a length of petabytes. onnxruntime follows hard links, and neither it nor onnx is asked to
read any.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto

from inferctl.bundles.manifest import MAX_GRAPH_BYTES
from inferctl.errors import CheckpointError
from inferctl.export.foreign import clean

_KEYS = frozenset(("location", "offset", "length", "checksum"))


def take_in_weights(proto: onnx.ModelProto, path: Path) -> None:
    """Put every tensor's data into the model; raises CheckpointError for one that is not beside it.

    A place is a plain path inside the folder of `path`, a regular file with one name and no link
    on the way, and holds what it is said to hold.
    """
    taken = 0
    for tensor in tensors(proto):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        where = f"{path}, tensor {clean(tensor.name)}"
        places = {entry.key: entry.value for entry in tensor.external_data}
        if unknown := sorted(set(places) - _KEYS):
            raise _refused(f"its external data has an entry {unknown[0]!r}", where)
        with _opened(path.parent, places.get("location", ""), where) as file:
            data = _read(file, places, MAX_GRAPH_BYTES - taken, where)
        taken += len(data)
        tensor.raw_data = data
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")


def tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model: weights, constants, those of subgraphs and functions."""
    graphs = [proto.graph]
    nodes = [node for function in proto.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
        for node in nodes:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                graphs += (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)
        nodes.clear()


@contextmanager
def _opened(folder: Path, location: str, where: str) -> Iterator[int]:
    plain = PurePosixPath(location)
    if not location or plain.is_absolute() or ".." in plain.parts or "\0" in location:
        raise _refused(f"its external data is at {location!r}, not inside the file's folder", where)
    path = folder / plain
    try:
        if path.resolve() != folder.resolve() / plain:
            raise _refused(f"the way to its external data {location!r} is a link", where)
        # Without waiting: a pipe without a writer would never answer.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _refused(f"cannot read its external data {location!r}: {reason}", where) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise _refused(f"its external data {location!r} is no plain file of one name", where)
        yield handle
    finally:
        os.close(handle)


def _read(file: int, places: dict[str, str], most: int, where: str) -> bytes:
    size = os.fstat(file).st_size
    try:
        offset = int(places.get("offset", "0"))
        length = int(places.get("length", size - offset))
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0 or offset + length > size:
        raise _refused("its external data is not where it says it is: the file is shorter", where)
    if length > most:
        raise _refused(f"its external data is over the {MAX_GRAPH_BYTES / 1e9:.0f} GB limit", where)
    data = bytearray()
    while len(data) < length and (part := os.pread(file, length - len(data), offset + len(data))):
        data += part
    return bytes(data)


def _refused(what: str, where: str) -> CheckpointError:
    return CheckpointError(
        clean(what), where=where, hint="export it again, with its weights in a file beside it"
    )
