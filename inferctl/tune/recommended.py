"""The result as a settings file, whole: what the user's file says, with what was found in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inferctl.bundles.repository import version_folders
from inferctl.bundles.wanted import STABLE
from inferctl.errors import BundleError, OutputError
from inferctl.files import check_writable, write_new
from inferctl.tune.plan import Plan, machine
from inferctl.tune.run import Tuned
from inferctl.tune.space import Candidate, Variant
from inferctl.tune.toml import merged, toml_text

# What the first line begins with.
HEADER = "# Measured by `inferctl tune`"


def check_target(file: Path, *, force: bool) -> None:
    """Raise OutputError when the settings could not be written to `file` later.

    A file of another search may be replaced, and any other one with `force` alone.
    """
    check_writable(file, "--out")
    if file.exists() and not force and not _is_recommended(file):
        raise OutputError(
            "the file exists already", where=str(file), hint="name another, or say --force"
        )


def recommended_tree(plan: Plan, candidate: Candidate) -> dict[str, Any]:
    """The settings to serve with; those of the model stand in its own section.

    The version that was measured is served, and no other one of its model. Where the user's folder
    of models has not got it, it is served without the other models.
    """
    sections, variant = candidate.settings(), candidate.variant
    models_dir = _models_dir(plan, variant)
    served = version_folders(Path(models_dir))
    models = {name: own for name, own in _own(plan).items() if name in served}
    before = dict(models.get(variant.name, {}))
    labels = {
        label: variant.version
        for label, version in before.pop("labels", {}).items()
        if version == variant.version or label == STABLE
    }
    models[variant.name] = merged(
        before,
        {
            "versions": [variant.version], "labels": labels,
            "batching": sections["batching"], "runtime": sections["runtime"],
        },
    )  # fmt: skip
    tree = {**plan.config_tree, "models_dir": models_dir, "models": models}
    return merged(tree, {"server": sections["server"]})


def left_out(plan: Plan, tree: Mapping[str, Any]) -> Iterator[str]:
    """What the user's file says of models and versions that the recommended one does not serve."""
    for name, before in _own(plan).items():
        if name not in tree["models"]:
            yield f"models.{name}"
            continue
        labels = tree["models"][name].get("labels", {})
        yield from (f"models.{name}.labels.{one}" for one in before.get("labels", {})
                    if one not in labels)  # fmt: skip


def outranking(plan: Plan, candidate: Candidate) -> Iterator[str]:
    """The variables that outrank what the file says, or that a service with it would refuse."""
    name = candidate.variant.name
    served = version_folders(Path(_models_dir(plan, candidate.variant)))
    own = {"models_dir", "server.workers", f"models.{name}.versions", *(
        f"models.{name}.{section}.{key}"
        for section, values in candidate.settings().items()
        for key in values
    )}  # fmt: skip
    for key, variable in plan.surroundings.items():
        section, _, rest = key.partition(".")
        is_refused = section == "models" and rest.partition(".")[0] not in served
        if key in own or is_refused or key.startswith(f"models.{name}.labels."):
            yield variable


def recommended_text(tuned: Tuned) -> str:
    """The file's text, with where its values come from above them."""
    plan, winner = tuned.plan, tuned.winner
    assert winner is not None
    rate_per_s = tuned.rate_per_s or 0.0
    where = machine()
    lines = [
        f"{HEADER} on {datetime.now(UTC):%Y-%m-%d}: {plan.name} keeps {plan.slo}",
        f"# at {rate_per_s:,.4g} requests/s on {where['cores']} cores of {where['cpu']}, "
        "the load generator beside it.",
    ]
    if plan.config:
        lines.append(f"# Everything else is as in {plan.config.name}, without its comments.")
    tree = recommended_tree(plan, winner)
    if missing := ", ".join(left_out(plan, tree)):
        lines.append(f"# Left out, for it was not measured: {missing}.")
    return "\n".join(lines) + "\n\n" + toml_text(tree)


def write_recommended(tuned: Tuned, file: Path, force: bool) -> None:
    """Write the file, whole or not at all. Raises OutputError, as `check_target` by now."""
    write_new(file, recommended_text(tuned), force=force or _is_recommended(file))


def _is_recommended(file: Path) -> bool:
    """Whether a file is what a search wrote."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(HEADER)) == HEADER.encode()
    except OSError:
        return False


def _own(plan: Plan) -> Mapping[str, Any]:
    """The sections of the user's file that are models' own."""
    return dict(plan.config_tree.get("models", {}))


def _models_dir(plan: Plan, variant: Variant) -> str:
    """The user's folder of models if the variant lies in it, else what was named, else its own."""
    named = [str(plan.model)]
    if plan.config or "models_dir" in plan.config_tree:
        named.insert(0, plan.settings.models_dir)
    return next((one for one in named if _is_in(variant, Path(one))), variant.folder)


def _is_in(variant: Variant, folder: Path) -> bool:
    try:
        found = version_folders(folder).get(variant.name, {}).get(variant.version)
    except BundleError:
        return False
    return found is not None and found.resolve() == Path(variant.folder)
