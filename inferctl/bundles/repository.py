"""Finding bundles on disk: a single bundle, or a models folder `<name>/<version>/`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from inferctl.bundles.manifest import MANIFEST_FILE, File, Manifest, read_manifest
from inferctl.errors import BundleError


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle folder and its parsed manifest."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Shelved:
    """A version as it lies in a models folder: its bundle, or why it cannot be served."""

    path: Path
    bundle: Bundle | None
    problem: BundleError | None = None


def open_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest and check every file it lists by size and SHA-256.

    Raises BundleError when a file is missing, changed, or a link (the graph is code: what was
    verified at export is what must be served).
    """
    manifest = read_manifest(path)
    for name in manifest.files:
        check_file(path, manifest, name)
    return Bundle(path, manifest)


def check_file(bundle: Path, manifest: Manifest, name: str) -> Path:
    """The path of a file that the manifest lists. Raises BundleError as `open_bundle`."""
    file = bundle / name
    if Path(name).name != name or file.is_symlink() or not file.is_file():
        raise BundleError(
            f"the bundle's file {name!r} is missing or not a plain file",
            where=str(bundle),
            hint="export the bundle again",
        )
    if File.of(file) != manifest.files[name]:
        raise BundleError(
            f"the bundle's file {name!r} is not what was exported (SHA-256 differs)",
            where=str(bundle),
            hint="copy the bundle again, or export it again",
        )
    return file


def find_bundles(root: Path) -> list[Bundle]:
    """The bundles to serve below `root`, the newest version of each model, sorted by name.

    `root` is a bundle, a model folder (`<version>/` inside) or a models folder
    (`<name>/<version>/` inside). Raises BundleError when there is none, or one is damaged.
    """
    root = _folder(root)
    if (root / MANIFEST_FILE).is_file():
        return [open_bundle(root)]
    return [_open_in_place(versions[-1]) for versions in _versions(root).values()]


def list_bundles(root: Path) -> list[Shelved]:
    """Every version of every model below `root`, a models folder or a model folder; by name, then
    version. Raises BundleError when there is none; a damaged one is listed with its problem.
    """
    return [
        _shelved(folder) for versions in _versions(_folder(root)).values() for folder in versions
    ]


def _folder(root: Path) -> Path:
    """An existing folder with a name of its own. Raises BundleError."""
    if not root.is_dir():
        raise BundleError(
            "no such folder of models", where=str(root), hint="make one with `inferctl export`"
        )
    # `.` and `..` have no name to hold against the manifest.
    return root if root.name.strip(".") else root.resolve()


def _versions(root: Path) -> dict[str, list[Path]]:
    """Version folders by model, both ascending. Raises BundleError when there are none."""
    by_model: defaultdict[str, list[Path]] = defaultdict(list)
    for depth in ("*", "*/*"):
        for path in root.glob(f"{depth}/{MANIFEST_FILE}"):
            if path.parent.name.isdecimal():
                by_model[path.parent.parent.name].append(path.parent)
    if not by_model:
        raise BundleError(
            "no bundle found: expected <name>/<version>/manifest.json",
            where=str(root),
            hint="make one with `inferctl export`",
        )
    return {
        model: sorted(by_model[model], key=lambda folder: int(folder.name))
        for model in sorted(by_model)
    }


def _shelved(folder: Path) -> Shelved:
    try:
        return Shelved(folder, _open_in_place(folder))
    except BundleError as problem:
        return Shelved(folder, None, problem)


def _open_in_place(folder: Path) -> Bundle:
    """Open a bundle that lies in a models folder, where its place must agree with its manifest."""
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    if (folder.parent.name, int(folder.name)) != (manifest.name, manifest.version):
        raise BundleError(
            f"the manifest says {manifest.name} version {manifest.version}, the folder does not",
            where=str(folder),
            hint=f"move it to {manifest.name}/{manifest.version}",
        )
    return bundle
