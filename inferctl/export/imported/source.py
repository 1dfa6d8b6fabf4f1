"""Opens an ONNX file that may be anything, and refuses what onnxruntime or we could not run."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import inliner

from inferctl.bundles.manifest import MAX_GRAPH_BYTES
from inferctl.errors import CheckpointError
from inferctl.export.foreign import FOREIGN_ERRORS, clean, first_line
from inferctl.export.imported.external import take_in_weights

# What onnxruntime brings itself; anything else is a library of somebody's own.
_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
# Older ones lack the operators that inputs and outputs are rewritten with.
OLDEST_OPSET = 11


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file in memory: its weights inside, its local functions inlined, checked.

    `sha256` is that of the file as it lies there; `metadata` are its metadata_props.
    """

    path: Path
    sha256: str
    proto: onnx.ModelProto
    metadata: Mapping[str, str]

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return _opset(self.proto)

    @property
    def inputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """What must be fed: older files list their weights among the inputs too."""
        weights = {tensor.name for tensor in self.proto.graph.initializer}
        return tuple(value for value in self.proto.graph.input if value.name not in weights)


def read_onnx(path: Path) -> OnnxFile:
    """Read and check an ONNX file with its external data.

    Raises CheckpointError when it is missing, damaged, too large or too new, uses operators of a
    library, or weights from outside its folder.
    """
    data = _content(path)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, ValueError):
        raise _damaged(path) from None
    if not proto.ir_version or not proto.graph.node or not proto.graph.output:
        raise _damaged(path)
    _check_versions(proto, path)
    _check_operators(proto, path)
    take_in_weights(proto, path)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    return OnnxFile(path, hashlib.sha256(data).hexdigest(), _checked(proto, path), metadata)


def _content(path: Path) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise CheckpointError(
                "it is a folder", where=str(path), hint="name the .onnx file in it"
            )
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError("it is no file", where=str(path))
        if found.st_size > MAX_GRAPH_BYTES:
            raise CheckpointError(
                f"it has {found.st_size / 1e9:.1f} GB, and an ONNX file holds 2 GB", where=str(path)
            )
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror}", where=str(path)) from None


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        "it is no ONNX file, or cut short or damaged",
        where=str(path),
        hint="copy or download it again; a checkpoint of PyTorch is for `inferctl export`",
    )


def _check_versions(proto: onnx.ModelProto, path: Path) -> None:
    opset, newest = _opset(proto), onnx.defs.onnx_opset_version()
    if proto.ir_version > onnx.IR_VERSION or opset > newest:
        raise CheckpointError(
            f"it is of a newer ONNX (IR {proto.ir_version}, opset {opset}) than the one installed "
            f"(IR {onnx.IR_VERSION}, opset {newest})",
            where=str(path),
            hint="export it with an older opset such as 17, or update onnx and onnxruntime",
        )
    if opset < OLDEST_OPSET:
        raise CheckpointError(
            f"its opset {opset} is older than {OLDEST_OPSET}",
            where=str(path),
            hint="export it again with opset 17 or so",
        )


def _opset(proto: onnx.ModelProto) -> int:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    return max(versions, default=0)


def _check_operators(proto: onnx.ModelProto, path: Path) -> None:
    local = {(function.domain, function.name) for function in proto.functions}
    for node in _nodes(proto):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in local:
            raise CheckpointError(
                clean(f"it uses {node.domain}.{node.op_type}, an operator of a library of its own"),
                where=str(path),
                hint="export it again with standard operators alone",
            )
    calls = {
        (function.domain, function.name): [(node.domain, node.op_type) for node in function.node]
        for function in proto.functions
    }
    if _has_cycle(calls):
        raise CheckpointError("its functions call themselves", where=str(path))


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of subgraphs and functions included."""
    left = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while left:
        node = left.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                left.extend(graph.node)


def _has_cycle(calls: dict[tuple[str, str], list[tuple[str, str]]]) -> bool:
    """Whether a function leads back to itself: what calls only finished ones is finished."""
    while done := [name for name, called in calls.items() if not set(called) & set(calls)]:
        for name in done:
            del calls[name]
    return bool(calls)


def _checked(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    try:
        onnx.checker.check_model(proto)
        return inliner.inline_local_functions(proto) if proto.functions else proto
    except FOREIGN_ERRORS as error:
        # The checker's error classes derive from nothing narrower.
        raise CheckpointError(
            f"the graph is not valid: {first_line(error)}",
            where=str(path),
            hint="export it again",
        ) from error
