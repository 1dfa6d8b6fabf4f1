"""Settings as TOML."""

from __future__ import annotations

import tomllib

from inferctl.tune.toml import merged, toml_text

TREE = {
    "models_dir": 'mo"dels',
    "server": {"port": 0, "allowed_hosts": ["a", "b"], "docs": True},
    "models": {"net.v2": {"default": False, "batching": {"max_wait_ms": 0.5}}, "b": {}},
    "logs": {},
}


def test_what_is_written_is_read_again() -> None:
    read = tomllib.loads(toml_text(TREE))

    assert read["models"]["net.v2"] == TREE["models"]["net.v2"]  # type: ignore[index]
    assert read["server"] == TREE["server"]
    assert read["models_dir"] == TREE["models_dir"]


def test_a_tree_is_laid_over_another_key_by_key() -> None:
    over = {"server": {"port": 1}, "models": {"b": {"default": True}}}
    tree = merged(TREE, over)

    assert tree["server"] == {"port": 1, "allowed_hosts": ["a", "b"], "docs": True}
    assert tree["models"]["net.v2"] == TREE["models"]["net.v2"]  # type: ignore[index]
    assert tree["models"]["b"] == {"default": True}
    assert TREE["server"]["port"] == 0  # type: ignore[index]
