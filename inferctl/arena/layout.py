"""Where the columns of an arena lie: sizes only, for whoever reserves the memory.

Without numpy, which would be a quarter of the supervisor's memory.
"""

from __future__ import annotations

from math import prod

from inferctl.bundles.manifest import Manifest

ALIGNMENT = 64

# One value per slot. Times are CLOCK_MONOTONIC seconds, which every process of a machine shares.
# A row runs while `started_s` is the later one of the two; the rows of which that is so when an
# engine dies may be what killed it. Its successor tries each alone, and notes when that row was
# submitted in `tried_s`, and what became of it in `verdict`. `batch_rows` are the rows of the batch
# that it ran in last.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("tokens", "int32"),
    ("cancelled", "uint8"),
    ("bulk", "uint8"),
    ("deadline_s", "float64"),
    ("submitted_s", "float64"),
    ("started_s", "float64"),
    ("finished_s", "float64"),
    ("tried_s", "float64"),
    ("verdict", "uint8"),
    ("batch_rows", "int32"),
)

ITEM_BYTES = {
    "uint8": 1, "float16": 2, "int32": 4, "float32": 4, "int64": 8, "float64": 8,
}  # fmt: skip

# Key, dtype and shape.
Column = tuple[str, str, tuple[int, ...]]


def columns(manifest: Manifest, slots: int) -> list[Column]:
    """Every array of the arena in the order they lie in memory; tensors as `in:` and `out:`."""
    found: list[Column] = [(name, dtype, (slots,)) for name, dtype in COLUMNS]
    for prefix, tensors in (("in:", manifest.inputs), ("out:", manifest.outputs)):
        for tensor in tensors:
            shape = (slots, *tensor.row_shape(manifest.max_tokens))
            found.append((prefix + tensor.name, tensor.dtype, shape))
    return found


def column_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes from the start of an array to the start of the next one."""
    return -(-ITEM_BYTES[dtype] * prod(shape) // ALIGNMENT) * ALIGNMENT


def arena_bytes(manifest: Manifest, slots: int) -> int:
    """Bytes of shared memory that `slots` rows of a model need."""
    return sum(column_bytes(dtype, shape) for _, dtype, shape in columns(manifest, slots))
