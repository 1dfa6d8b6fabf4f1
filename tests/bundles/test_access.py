"""Who may change a bundle: nobody but its owner, or it is said, or it is not served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferctl.bundles import access
from inferctl.bundles.access import check_access
from inferctl.bundles.manifest import GRAPH_FILE, MANIFEST_FILE
from inferctl.bundles.repository import Bundle
from inferctl.errors import BundleError
from tests.tasks.tinybundles import detector, laid_down

# What may be changed, from the bundle's folder.
PLACES = ("../..", "..", ".", GRAPH_FILE, MANIFEST_FILE)

pytestmark = pytest.mark.row(105)


@pytest.fixture(autouse=True)
def nobody_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """As whom tests may run."""
    monkeypatch.setattr(access, "ROOT", -1)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "models"
    laid = laid_down(folder, detector())
    for path in (folder, *folder.rglob("*")):
        os.chown(path, os.getuid(), os.getuid())
        path.chmod(0o755 if path.is_dir() else 0o644)
    return laid


def test_nothing_is_said_of_what_its_owner_alone_may_change(bundle: Bundle) -> None:
    assert check_access(bundle) == ()


@pytest.mark.parametrize("place", PLACES)
def test_what_anybody_may_change_is_refused(bundle: Bundle, place: str) -> None:
    path = (bundle.path / place).resolve()
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(BundleError, match="anybody on this machine may change it") as caught:
        check_access(bundle)
    assert caught.value.where == str(path)
    assert "chmod o-w" in caught.value.hint


@pytest.mark.parametrize("place", PLACES)
def test_of_root_s_it_is_only_said(
    bundle: Bundle, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "ROOT", os.getuid())
    path = (bundle.path / place).resolve()
    path.chmod(path.stat().st_mode | 0o002)
    (warning,) = check_access(bundle)
    assert warning.startswith("anybody may change ")
    assert path.name in warning
    assert str(path.parent) not in warning


def test_a_sticky_folder_lets_nobody_replace_what_is_another_s(bundle: Bundle) -> None:
    bundle.path.parents[1].chmod(0o1777)
    assert check_access(bundle) == ()


def test_a_group_is_said_but_for_the_user_s_own(bundle: Bundle) -> None:
    graph = bundle.path / GRAPH_FILE
    graph.chmod(0o664)
    assert check_access(bundle) == ()


def test_a_group_of_others_is_said(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root gives files to any group")
    graph = bundle.path / GRAPH_FILE
    os.chown(graph, 0, 1)
    graph.chmod(0o664)
    assert check_access(bundle) == ("its whole group may change model.onnx; chmod g-w",)


def test_a_bundle_that_lies_alone_is_looked_at_alone(bundle: Bundle) -> None:
    """What is around it is no models folder."""
    moved = bundle.path.rename(bundle.path.parent / "elsewhere")
    moved.parent.chmod(0o777)
    assert check_access(Bundle(moved, bundle.manifest)) == ()


def test_what_is_not_there_is_refused(bundle: Bundle) -> None:
    (bundle.path / GRAPH_FILE).unlink()
    with pytest.raises(BundleError, match=r"file 'model\.onnx' is missing"):
        check_access(bundle)
