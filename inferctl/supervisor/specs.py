"""What a version is served with: its spec, and the settings that must agree for it."""

from __future__ import annotations

import structlog

from inferctl.arena.layout import arena_bytes
from inferctl.arena.memory import create_memory
from inferctl.arena.spec import ModelSpec
from inferctl.bundles.access import check_access
from inferctl.bundles.manifest import Manifest
from inferctl.bundles.repository import Bundle
from inferctl.cores import available_cores
from inferctl.cuda.driver import lack_of_library
from inferctl.device import is_strict
from inferctl.errors import BundleError
from inferctl.settings import ModelSettings, Settings
from inferctl.supervisor.contradictions import check_model

log = structlog.get_logger()


def own_settings(name: str, settings: Settings) -> ModelSettings:
    """What all versions of a model are served with. Raises SettingsError for contradictions, and
    StartError where there is no driver for what must have a GPU: the engine would take longer to
    say so.

    Which versions those are, and which model is the default one, is said by the roster.
    """
    whole = settings.for_model(name)
    own = ModelSettings(batching=whole.batching, limits=whole.limits, runtime=whole.runtime)
    check_model(name, own, settings.server, available_cores())
    device = own.runtime.device
    if is_strict(device) and (lack := lack_of_library()):
        raise lack.refusal(device)
    return own


def model_spec(place: int, bundle: Bundle, own: ModelSettings, workers: int) -> ModelSpec:
    """A version's spec with its arena made. Raises StartError when there is no memory for it, or
    when anybody may change it."""
    manifest = bundle.manifest
    warnings = check_access(bundle)
    for warning in warnings:
        log.warning(warning, model=manifest.name, version=manifest.version)
    # Any worker may hold the whole queue; pages that no row touches cost nothing.
    slots = own.limits.max_queue_rows * workers
    return ModelSpec(
        place=place,
        manifest=manifest,
        bundle=str(bundle.path.resolve()),
        slots=slots,
        arena_fd=create_memory(f"arena-{manifest.name}", arena_bytes(manifest, slots)),
        settings=own,
        warnings=warnings,
    )


def check_takes_over(manifest: Manifest, served: Manifest) -> None:
    """Whether a version can answer the requests of another one. Raises BundleError.

    Labels, sizes of images and models may differ; what a client must send may not.
    """
    differs = "task" if manifest.task != served.task else ""
    if manifest.task == served.task == "tensor":
        if manifest.inputs != served.inputs:
            differs = "inputs"
        elif manifest.outputs != served.outputs:
            differs = "outputs"
    if differs:
        raise BundleError(
            f"its {differs} would be another than of version {served.version}, which clients use",
            hint="give it another name, or start the service anew",
        )
