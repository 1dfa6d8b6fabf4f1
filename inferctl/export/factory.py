"""Builds the module that a state dict belongs to, by the person's `package.module:function`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from inferctl.errors import InferctlError, UsageError
from inferctl.export.foreign import FOREIGN_ERRORS, clean, first_line, type_of

# A module without a `__main__` guard parses its own arguments when it is imported, and exits.
CALL_ERRORS: tuple[type[BaseException], ...] = (*FOREIGN_ERRORS, SystemExit)


def build_module(
    spec: str, offered: Mapping[str, object] | None = None
) -> tuple[nn.Module, tuple[str, ...]]:
    """Import `package.module:function`, call it, and put the module on the CPU in float32, eval.

    Of the values `offered` by the checkpoint, those are passed that the function has a parameter
    for; the notes say which. The current directory can be imported from. Raises UsageError when any
    step fails.
    """
    factory = _import_factory(spec)
    passed = _asked_for(factory, offered or {})
    try:
        module = factory(**passed)
    except InferctlError:
        raise
    except CALL_ERRORS as error:
        raise UsageError(
            f"the factory fails: {type(error).__name__}: {first_line(error)}",
            where=spec,
            hint=f"it was called with {_listed(passed)} of the checkpoint's hyper_parameters"
            if passed
            else "it must work when called without arguments",
        ) from None
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"the factory returns {type_of(module)}, not an nn.Module",
            where=spec,
            hint="return the model itself, such as `return Net()`",
        )
    notes = (f"passed hyper_parameters to the factory: {_listed(passed)}",) if passed else ()
    return module.cpu().float().eval(), notes


def import_from_here() -> None:
    """Let modules be imported from the current directory, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        # The console script's folder is first on the path, the person's project is not on it.
        sys.path.insert(0, here)


def _asked_for(factory: Callable[..., Any], offered: Mapping[str, object]) -> dict[str, object]:
    """What of `offered` the factory names as a parameter; `**kwargs` asks for nothing."""
    try:
        parameters = inspect.signature(factory).parameters.values() if offered else ()
    except (TypeError, ValueError):
        # Callables written in C may have no signature.
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: offered[p.name] for p in parameters if p.kind in named and p.name in offered}


def _listed(passed: Mapping[str, object]) -> str:
    return clean(", ".join(f"{name}={value!r}" for name, value in passed.items()))


def _import_factory(spec: str) -> Callable[..., Any]:
    module_name, _, function = spec.partition(":")
    if not module_name or not function.isidentifier():
        raise UsageError(
            f"{spec!r} does not name a function",
            where="--factory",
            hint="write package.module:function",
        )
    import_from_here()
    try:
        module = importlib.import_module(module_name)
        factory = getattr(module, function, None)
    except InferctlError:
        raise
    except CALL_ERRORS as error:
        raise UsageError(
            f"cannot import {module_name}: {type(error).__name__}: {first_line(error)}",
            where="--factory",
            hint="run the command in the project's folder, or install the project",
        ) from None
    if not callable(factory):
        raise UsageError(
            f"{module_name} has no function {function!r}", where="--factory", hint=_offer(module)
        )
    return factory  # type: ignore[no-any-return]  # callable() does not narrow Any


def _offer(module: ModuleType) -> str:
    """Name up to five public callables of a module, those defined in it first."""
    public = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value)
    }
    own = [n for n, v in public.items() if getattr(v, "__module__", "") == module.__name__]
    names = (own or list(public))[:5]
    return f"it has {', '.join(names)}" if names else "it has no functions at all"
