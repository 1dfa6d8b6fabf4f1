"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import REPOSITORY, pages
from inferctl.sources import load_settings

CONFIGS = sorted((REPOSITORY / "configs").glob("*.toml"))


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    return pages()


def test_generated_pages_are_up_to_date(generated: dict[Path, str]) -> None:
    for path, text in generated.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make docs`"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load_settings(config=config).settings.models


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")

    assert len(readme.splitlines()) <= 150
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", readme):
        assert (REPOSITORY / target).exists(), target


def test_the_map_names_every_folder_and_file_it_should() -> None:
    text = (REPOSITORY / "docs" / "path.md").read_text(encoding="utf-8")

    for name in re.findall(r"`(inferctl/[\w/.]+)`", text):
        assert (REPOSITORY / name).exists(), name


def test_every_claim_about_security_has_its_test() -> None:
    text = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", text)

    assert len(named) > 30
    for path, test in named:
        assert f"def {test}(" in (REPOSITORY / path).read_text(encoding="utf-8"), test
