"""What the settings and the bundles must agree on before anything starts: each model's spec."""

from __future__ import annotations

from collections.abc import Sequence

from inferctl.arena.layout import arena_bytes
from inferctl.arena.memory import create_memory
from inferctl.arena.spec import ModelSpec
from inferctl.bundles.repository import Bundle
from inferctl.errors import SettingsError
from inferctl.settings import ModelSettings, Settings


def model_specs(bundles: Sequence[Bundle], settings: Settings, workers: int) -> list[ModelSpec]:
    """Each model's spec with its arena made. Raises SettingsError for what does not fit them."""
    names = [bundle.manifest.name for bundle in bundles]
    for name in settings.models:
        if name not in names:  # it would silently keep its defaults
            raise SettingsError(
                f"models.{name}: no such model; found: {', '.join(names)}",
                hint="correct the name, or remove the section",
            )
    defaults = [name for name in names if settings.for_model(name).default]
    if len(defaults) > 1:
        raise SettingsError(
            f"{' and '.join(defaults)} are both marked as default", hint="keep one `default = true`"
        )
    if len(names) == 1:
        defaults = names
    return [
        _model_spec(bundle, settings, workers, default=bundle.manifest.name in defaults)
        for bundle in bundles
    ]


def _model_spec(bundle: Bundle, settings: Settings, workers: int, *, default: bool) -> ModelSpec:
    """A model's spec with its arena made; every worker gets the same share of its queue."""
    manifest = bundle.manifest
    own = settings.for_model(manifest.name).model_copy(update={"default": default})
    _check_contradictions(manifest.name, own, settings.server.request_timeout_ms)
    # Any worker may hold the whole queue; pages that no row touches cost nothing.
    slots = own.limits.max_queue_rows * workers
    return ModelSpec(
        manifest=manifest,
        bundle=str(bundle.path.resolve()),
        slots=slots,
        arena_fd=create_memory(f"arena-{manifest.name}", arena_bytes(manifest, slots)),
        settings=own,
    )


def _check_contradictions(name: str, own: ModelSettings, request_timeout_ms: int) -> None:
    """Settings that fit each their own rule and not each other. Raises SettingsError."""
    batching, limits = own.batching, own.limits
    if batching.max_batch_rows != "auto" and batching.max_batch_rows > limits.max_queue_rows:
        raise SettingsError(
            f"{name}: batching.max_batch_rows = {batching.max_batch_rows} is more than "
            f"limits.max_queue_rows = {limits.max_queue_rows}",
            hint="raise the queue or lower the batch",
        )
    if batching.max_wait_ms >= request_timeout_ms:
        raise SettingsError(
            f"{name}: batching.max_wait_ms = {batching.max_wait_ms:g} is not below "
            f"server.request_timeout_ms = {request_timeout_ms}",
            hint="a held batch would miss every deadline",
        )
