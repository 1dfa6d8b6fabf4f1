"""Large checkpoints of random weights, to export: `python -m benchmarks.checkpoints FOLDER`.

`wide.pt` is the state dict of a residual network, `bert/` a BERT-base as save_pretrained writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.command import run

SEED = 11
WIDTH, BLOCKS, CLASSES = 832, 10, 10


class Block(nn.Module):
    """Two convolutions of 3 x 3 around which the input passes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(WIDTH) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """float32 [rows, WIDTH, height, width] in and out."""
        inner: Tensor = self.norms[0](self.first(x)).relu()
        out: Tensor = (x + self.norms[1](self.second(inner))).relu()
        return out


class Wide(nn.Module):
    """125 million parameters, 500 MB, that run in milliseconds on small pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 7, stride=8)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [rows, 3, height, width] to logits [rows, CLASSES]."""
        logits: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


def main(folder: Annotated[Path, typer.Argument(help="Where to write them")]) -> None:
    """Write both."""
    torch.manual_seed(SEED)
    torch.save(Wide().state_dict(), folder / "wide.pt")
    config = BertConfig()  # two labels
    BertForSequenceClassification(config).save_pretrained(folder / "bert")
    words = {name: number for number, name in enumerate(("[PAD]", "[UNK]"))}
    words |= {f"word{number}": number for number in range(len(words), config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "bert" / "tokenizer.json"))


if __name__ == "__main__":
    run(main)
