"""Puts the tensors of a checkpoint into a module, strictly: a weight left at random is an error."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inferctl.errors import CheckpointError, InferctlError
from inferctl.export.checkpoint import Weights
from inferctl.export.foreign import FOREIGN_ERRORS, clean, first_line

# DistributedDataParallel and AveragedModel, torch.compile, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.")
# Counters that averaging and profiling leave among the weights.
_HARMLESS = ("n_averaged", "initted", "step")
_HARMLESS_ENDS = ("num_batches_tracked", "total_ops", "total_params")


def fit_weights(module: nn.Module, weights: Weights, *, where: str) -> tuple[str, ...]:
    """Load `weights` into `module` in place; return what was stripped or left aside.

    Raises CheckpointError when a weight is missing, unknown or of another shape (only
    `num_batches_tracked` may be missing), or when a weight is NaN.
    """
    own = module.state_dict(keep_vars=True)
    tensors = weights.tensors
    notes: tuple[str, ...] = ()
    if weights.lightning:
        tensors, notes = _take_attribute(tensors, set(own))
    tensors, stripped = strip_prefixes(tensors, set(own), where=where)
    notes += stripped
    missing = _missing(own, tensors)
    unexpected = [name for name in tensors if name not in own]
    harmless = [name for name in unexpected if _is_harmless(name)]
    if len(harmless) < len(unexpected) or missing:
        real = [name for name in unexpected if name not in harmless]
        raise _misfit(missing, real, where)
    _check_shapes(own, tensors, where)
    _check_numbers(tensors, where)
    if harmless:
        notes = (*notes, f"left aside {clean(', '.join(harmless))}")
    # What may be missing keeps the module's own value; tied weights copy onto themselves.
    state = {name: tensors.get(name, value) for name, value in own.items()}
    try:
        module.load_state_dict(state, strict=True)
    except InferctlError:
        raise
    except FOREIGN_ERRORS as error:
        raise CheckpointError(
            f"the weights do not load: {first_line(error)}", where=where
        ) from None
    return notes + _precision_note(tensors)


def strip_prefixes(
    tensors: dict[str, Tensor], own: set[str], *, where: str = ""
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take off wrappers' prefixes that most keys have, unless fewer keys would then fit `own`."""
    notes: list[str] = []
    found = True
    while found:
        found = False
        for prefix in PREFIXES:
            shorter = {name.removeprefix(prefix): value for name, value in tensors.items()}
            carriers = sum(name.startswith(prefix) for name in tensors)
            if carriers * 2 <= len(tensors) or _fitting(shorter, own) < _fitting(tensors, own):
                continue
            if len(shorter) < len(tensors):
                raise CheckpointError(f"keys with and without {prefix!r} collide", where=where)
            notes.append(f"stripped {prefix!r} from {carriers} keys")
            tensors, found = shorter, True
    return tensors, tuple(notes)


def _take_attribute(
    tensors: dict[str, Tensor], own: set[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Keep the weights of the attribute that the model is, when one fits better than all do.

    A LightningModule also holds losses and metrics with weights of their own.
    """
    best = tensors
    notes: tuple[str, ...] = ()
    most = _fitting(strip_prefixes(tensors, own)[0], own)
    for prefix in sorted({name.partition(".")[0] + "." for name in tensors}):
        inner = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        count = _fitting(strip_prefixes(inner, own)[0], own)
        if count <= most:
            continue
        most, best = count, inner
        notes = (f"stripped {prefix!r} from {len(inner)} keys",)
        rest = [name for name in tensors if not name.startswith(prefix)]
        if rest:
            left = f"left aside {len(rest)} weights of other attributes, such as {rest[0]!r}"
            notes += (clean(left),)
    return best, notes


def _fitting(tensors: dict[str, Tensor], own: set[str]) -> int:
    return sum(name in own for name in tensors)


def _missing(own: dict[str, Tensor], tensors: dict[str, Tensor]) -> list[str]:
    """Names of the module's weights that the checkpoint lacks, also under a tied weight's name."""
    present = {id(value) for name, value in own.items() if name in tensors}
    return [
        name
        for name, value in own.items()
        if name not in tensors
        and not name.endswith("num_batches_tracked")
        and id(value) not in present
    ]


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS or name.endswith(_HARMLESS_ENDS)


def _misfit(missing: list[str], unexpected: list[str], where: str) -> CheckpointError:
    parts = []
    if missing:
        parts.append(f"{len(missing)} weights are missing, such as {missing[0]!r}")
    if unexpected:
        parts.append(
            f"{len(unexpected)} weights are unknown to the model, such as {unexpected[0]!r}"
        )
    return CheckpointError(
        clean("; ".join(parts)),
        where=where,
        hint="build the very model that was trained in --factory, or pick other weights with "
        "--weights-key",
    )


def _check_shapes(own: dict[str, Tensor], tensors: dict[str, Tensor], where: str) -> None:
    wrong = [
        name for name, value in tensors.items() if name in own and own[name].shape != value.shape
    ]
    if wrong:
        first = wrong[0]
        saved, built = list(tensors[first].shape), list(own[first].shape)
        raise CheckpointError(
            f"{len(wrong)} weights have another shape, such as {first!r}: "
            f"{saved} in the checkpoint, {built} in the model",
            where=where,
            hint="build the model with the sizes it was trained with (classes, width)",
        )


def _check_numbers(tensors: dict[str, Tensor], where: str) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and bool(torch.isnan(value).any()):
            raise CheckpointError(
                f"the weight {name!r} holds NaN", where=where, hint="take an earlier checkpoint"
            )


def _precision_note(tensors: dict[str, Tensor]) -> tuple[str, ...]:
    halves = {value.dtype for value in tensors.values() if value.is_floating_point()}
    names = sorted(str(dtype).removeprefix("torch.") for dtype in halves - {torch.float32})
    return (f"{' and '.join(names)} weights run as float32",) if names else ()
