"""Image classifiers: a picture in, one label out."""

from __future__ import annotations

import transformers
from torch import Tensor, nn

from inferctl.export.huggingface.config import Directory
from inferctl.export.huggingface.preprocessor import read_preprocessor
from inferctl.export.huggingface.weights import load_module, weights_of
from inferctl.export.loaded import LoadedModel

# What only texts have.
TEXT_FLAGS = ("tokenizer", "max_tokens")


class ImageClassifier(nn.Module):
    """Pixels float32 [rows, 3, H, W] in, logits [rows, labels] out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Logits of normalised pixels."""
        logits: Tensor = self.model(pixel_values=pixel_values).logits
        return logits


def load_image_classifier(directory: Directory) -> LoadedModel:
    """Load an image classifier with its preprocessor's settings.

    Raises CheckpointError when it is incomplete or its pixels cannot be made here, UsageError for
    flags that contradict it.
    """
    directory.refuse_flags("image_size", *TEXT_FLAGS)
    labels = directory.labels(at_least=2)
    preprocessor = read_preprocessor(directory)
    image = preprocessor.classifier_input()
    mean, std = preprocessor.normalisation()
    card = directory.card()
    weights, sha256, shards = weights_of(directory.path)
    model, notes = load_module(directory.path, transformers.AutoModelForImageClassification)
    return LoadedModel(
        module=ImageClassifier(model).eval(),
        task="image-classification",
        name=directory.name,
        labels=labels,
        weights=weights,
        sha256=sha256,
        shards=shards,
        notes=notes,
        image=image,
        mean=mean,
        std=std,
        card=card,
    )
