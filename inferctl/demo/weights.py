"""Where the demo checkpoints live, how they are written and how they are loaded."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from inferctl.demo.shapes import ShapesDetector, build

CHECKPOINTS = Path(__file__).parent / "checkpoints"
SHAPES_WEIGHTS = CHECKPOINTS / "shapes.safetensors"
SENTIMENT_DIRECTORY = CHECKPOINTS / "sentiment"


def save_weights(model: nn.Module, path: Path) -> None:
    """Write every parameter and buffer to `path`; a reader sees the old file or the whole new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    save_file(model.state_dict(), unfinished)
    # safetensors creates files that only their owner may read.
    unfinished.chmod(0o644)
    unfinished.replace(path)


def load_shapes(path: Path = SHAPES_WEIGHTS) -> ShapesDetector:
    """Return the trained detector in evaluation mode; a missing or unknown tensor is an error."""
    model = build()
    model.load_state_dict(load_file(path), strict=True)
    return model
