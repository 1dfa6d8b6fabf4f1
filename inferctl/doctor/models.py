"""The bundles: found, intact, nobody else's to change, run by this onnxruntime, and with room."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from inferctl.arena.layout import arena_bytes
from inferctl.bundles.access import check_access
from inferctl.bundles.repository import Bundle, check_files, read_bundle, version_folders
from inferctl.bundles.wanted import Shelf, choose, survey
from inferctl.container import container_limit_bytes
from inferctl.cores import available_cores
from inferctl.doctor.findings import Finding, Subject
from inferctl.engine.room import check_room, left_for_process
from inferctl.errors import BundleError, InferctlError, SettingsError
from inferctl.proc import PROC
from inferctl.settings import Settings
from inferctl.supervisor.contradictions import worker_count

models = Subject("models")

MIB = 1024 * 1024
# Hears how many bytes were looked at, of how many.
OnBytes = Callable[[int, int], object]


def model_findings(
    own: Settings, opset: int, *, by_hash: bool, is_named: bool, on_bytes: OnBytes
) -> Iterator[Finding]:
    """Every version below the models folder, `is_named` by the person or the default one.

    `opset` is the newest that onnxruntime knows, 0 if that is not known.
    """
    root = Path(own.models_dir)
    try:
        shelf = version_folders(root)
    except BundleError as error:
        if is_named or root.exists():
            yield models.error("folder", error, "check the folder")
        else:
            yield models.warn("folder", f"there is none yet ({root})", error.hint)
        return
    yield from _choice_findings(own, shelf)
    bundles: list[Bundle] = []
    for name, found in shelf.items():
        for version, folder in found.items():
            try:
                bundles.append(read_bundle(root, folder))
            except BundleError as error:
                yield models.error(f"{name} {version}", error, "export the bundle again")
    yield from _bundle_findings(bundles, opset, by_hash, on_bytes)
    yield _arena_finding(bundles, own)


def _choice_findings(own: Settings, shelf: Shelf) -> Iterator[Finding]:
    """What the settings say of models and versions that are not there."""
    wrong = False
    asked: list[Callable[[], object]] = [partial(survey, own)]
    asked += [partial(choose, name, found, own.for_model(name)) for name, found in shelf.items()]
    for ask in asked:
        try:
            ask()
        except SettingsError as error:
            wrong = True
            yield models.error("settings", error, "correct the name, or remove the section")
    if not wrong:
        yield models.ok("settings", "name no model and no version that is not there")


def _bundle_findings(
    bundles: list[Bundle], opset: int, by_hash: bool, on_bytes: OnBytes
) -> Iterator[Finding]:
    whole = sum(file.bytes for bundle in bundles for file in bundle.manifest.files.values())
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        on_bytes(done, whole)

    for bundle in bundles:
        manifest = bundle.manifest
        name = f"{manifest.name} {manifest.version}"
        size = sum(file.bytes for file in manifest.files.values())
        try:
            check_files(bundle, by_hash=by_hash, on_bytes=add)
            check_room(manifest)
            warnings = check_access(bundle)
        except InferctlError as error:
            yield models.error(name, error, "export the bundle again")
            continue
        if opset and manifest.opset > opset:
            yield models.fail(
                name, f"its opset is {manifest.opset}, and onnxruntime knows {opset} at most",
                "install a newer onnxruntime, or export it again with an older opset",
            )  # fmt: skip
            continue
        for warning in warnings:
            yield models.warn(name, *warning.split("; "))
        looked = "intact by SHA-256" if by_hash else "sizes as exported, hashes not looked at"
        yield models.ok(
            name, f"{manifest.task}, {manifest.precision}, opset {manifest.opset}, "
            f"{size / 1e6:.1f} MB, {looked}",
        )  # fmt: skip


def _arena_finding(bundles: list[Bundle], own: Settings) -> Finding:
    """The memory that workers and engine share, were the newest versions served."""
    workers = worker_count(own.server, available_cores())
    mapped = touched = 0
    for bundle in {each.manifest.name: each for each in bundles}.values():
        limits = own.for_model(bundle.manifest.name).limits
        size = arena_bytes(bundle.manifest, limits.max_queue_rows * workers)
        mapped += size
        touched += min(size, limits.memory_bytes)
    shown = f"{mapped // MIB:,} MiB are mapped, and rows touch {touched // MIB:,} MiB at most"
    limits_bytes = (left_for_process(PROC), container_limit_bytes())
    left = min((limit for limit in limits_bytes if limit), default=touched)
    if touched > left:
        return models.warn(
            "shared memory", f"{shown}, of {left // MIB:,} MiB that there are",
            "lower limits.memory_bytes, or serve fewer models",
        )  # fmt: skip
    if hasattr(os, "memfd_create"):
        return models.ok(
            "shared memory", f"{shown}; it is memfd, counts as memory, and /dev/shm does not matter"
        )
    return models.ok("shared memory", f"{shown}; it is a file in {tempfile.gettempdir()}")
