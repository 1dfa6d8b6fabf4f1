"""onnxruntime reports to nobody what it is used for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.graphs import image_graph

LOAD = """
import sys
from pathlib import Path
from inferctl.engine.session import Session
from inferctl.settings import RuntimeSettings
Session(Path(sys.argv[1]), RuntimeSettings(device="cpu"), threads=1)
"""


def test_nothing_is_kept_to_be_sent(tmp_path: Path) -> None:
    """Its database would be in the home folder."""
    graph = tmp_path / "model.onnx"
    graph.write_bytes(image_graph().SerializeToString())
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run(
        [sys.executable, "-c", LOAD, str(graph)], env=environment | {"HOME": str(home)}, check=True
    )
    assert list(home.iterdir()) == []
