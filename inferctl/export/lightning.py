"""What a checkpoint of PyTorch Lightning says besides its weights."""

from __future__ import annotations

from collections.abc import Mapping

_VERSION_KEY = "pytorch-lightning_version"
_HYPERPARAMETERS = "hyper_parameters"
_PLAIN = (bool, int, float, str, type(None))
_MAX_DEPTH = 4


def is_lightning(content: object) -> bool:
    """Whether a Trainer wrote `content`."""
    return isinstance(content, Mapping) and _VERSION_KEY in content


def plain_hyperparameters(content: object) -> dict[str, object]:
    """What `save_hyperparameters` kept, as far as it is plain: numbers, texts, lists and dicts."""
    kept = content.get(_HYPERPARAMETERS) if isinstance(content, Mapping) else None
    if not isinstance(kept, Mapping):
        return {}
    return {
        name: value
        for name, value in kept.items()
        if isinstance(name, str) and _is_plain(value, _MAX_DEPTH)
    }


def _is_plain(value: object, depth: int) -> bool:
    if type(value) in _PLAIN:
        return True
    if depth == 0:
        return False
    if isinstance(value, list | tuple):
        return all(_is_plain(part, depth - 1) for part in value)
    if isinstance(value, Mapping):
        return all(type(name) is str and _is_plain(v, depth - 1) for name, v in value.items())
    return False
