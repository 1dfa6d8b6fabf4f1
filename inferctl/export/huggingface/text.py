"""Sequence classifiers: tokens in, one label out."""

from __future__ import annotations

import transformers
from torch import Tensor, nn

from inferctl.bundles.manifest import TOKENIZER_FILE, TextInput
from inferctl.errors import CheckpointError
from inferctl.export.huggingface.config import Directory, number
from inferctl.export.huggingface.lengths import longest_text
from inferctl.export.huggingface.weights import load_module, weights_of
from inferctl.export.loaded import LoadedModel
from inferctl.export.tokens import read_tokenizer


class SequenceClassifier(nn.Module):
    """Positional tensors in, logits [rows, labels] out, for any Hugging Face classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of int64 [rows, tokens] ids and mask."""
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def load_text_classifier(directory: Directory) -> LoadedModel:
    """Load a sequence classifier with its tokenizer.json.

    Raises CheckpointError when it is incomplete or the two do not fit, UsageError for flags that
    contradict them.
    """
    directory.refuse_flags("image_size")
    request, config = directory.request, directory.config
    labels = directory.labels(at_least=2)
    tokenizer = read_tokenizer(request.tokenizer or directory.path / TOKENIZER_FILE)
    if tokenizer.vocab_size > number(config, "vocab_size", tokenizer.vocab_size):
        raise CheckpointError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model {config['vocab_size']}",
            where=str(directory.path),
            hint="use the tokenizer.json the model was trained with",
        )
    card = directory.card()
    weights, sha256, shards = weights_of(directory.path)
    model, notes = load_module(directory.path, transformers.AutoModelForSequenceClassification)
    return LoadedModel(
        module=SequenceClassifier(model).eval(),
        task="text-classification",
        name=directory.name,
        labels=labels,
        weights=weights,
        sha256=sha256,
        shards=shards,
        notes=notes,
        text=TextInput(
            max_tokens=longest_text(directory),
            pad_id=number(config, "pad_token_id", tokenizer.pad_id or 0),
            vocab_size=tokenizer.vocab_size,
        ),
        tokenizer=tokenizer.data,
        card=card,
    )
