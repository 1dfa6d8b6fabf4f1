"""Trains the demo sentiment model: `python -m inferctl.demo.train_sentiment`."""

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from inferctl.demo import sentiment
from inferctl.demo.grammar import sentences
from inferctl.demo.lexicon import POLARITIES
from inferctl.demo.weights import SENTIMENT_DIRECTORY

TRAINING_SEED = 30_001
STEPS = 2000
SENTENCES = 120_000

_VOCABULARY = 1000
_BATCH = 128
# A batch is drawn from so many neighbours in order of length, so that little of it is padding.
_WINDOW = 2048
# Training starts on the shortest quarter and sees every length after a fifth of the steps.
_FIRST_SHARE = 0.25
_ALL_AFTER = 0.2
_RATE = 1.5e-3
_WORD_DROPOUT = 0.03
# Moving sentences over all 128 positions hides the order of clauses: 0.79 held-out accuracy after
# 1,000 steps, where 16 gave 0.93 (one run each).
_MOST_OFFSET = 16
# The usual 0.02 is for models eight times as wide: at width 96 it leaves training on a plateau.
_INITIAL_SPREAD = 0.1
_LONGEST_WAVE = 1000.0
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()-&%$"


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Learn a lower-casing byte-pair tokenizer of about a thousand tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token=sentiment.UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(sentiment.SPECIAL_TOKENS),
        initial_alphabet=list(_ALPHABET),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{sentiment.START} $A {sentiment.END}",
        pair=f"{sentiment.START} $A {sentiment.END} $B:1 {sentiment.END}:1",
        special_tokens=[
            (token, sentiment.SPECIAL_TOKENS.index(token))
            for token in (sentiment.START, sentiment.END)
        ],
    )
    return tokenizer


def untrained(vocabulary: int) -> BertForSequenceClassification:
    """Return a two-layer BERT classifier with random weights and wave-shaped positions."""
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=sentiment.MAX_TOKENS,
        pad_token_id=sentiment.PADDING_ID,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=_INITIAL_SPREAD,
        id2label={index: str(label) for index, label in enumerate(POLARITIES)},
        label2id={str(label): index for index, label in enumerate(POLARITIES)},
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.copy_(_waves(config.hidden_size))
    return model


def _waves(width: int) -> Tensor:
    """Return sine and cosine positions [128, width], where neighbours start out alike."""
    places = torch.arange(sentiment.MAX_TOKENS).unsqueeze(1)
    speeds = torch.exp(torch.arange(0, width, 2) * (-math.log(_LONGEST_WAVE) / width))
    waves = torch.stack([torch.sin(places * speeds), torch.cos(places * speeds)], dim=-1)
    return waves.flatten(1) * _INITIAL_SPREAD


def train(steps: int, count: int = SENTENCES) -> tuple[BertForSequenceClassification, Tokenizer]:
    """Train on `count` sentences, at least 512, from a fixed seed: two runs see the same batches.

    The schedule needs 3 steps or more.
    """
    torch.manual_seed(TRAINING_SEED)
    rng = random.Random(TRAINING_SEED)
    texts, labels = zip(*sentences(rng, count, "train"), strict=True)
    tokenizer = train_tokenizer(list(texts))
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    answers = torch.tensor([POLARITIES.index(label) for label in labels])
    model = untrained(tokenizer.get_vocab_size()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=1e-2)
    # BERT normalises after each block and diverges at this rate without a warm-up.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=_RATE,
        total_steps=steps,
        pct_start=max(0.1, 2 / steps),
        cycle_momentum=False,
    )
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for picked in _batches(rng, [len(ids) for ids in encoded], steps):
            loss = _loss(model, [encoded[index] for index in picked], answers[picked])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress.update(task, advance=1, description=f"training, loss {loss.item():.3f}")
    return model.eval(), tokenizer


def save(model: BertForSequenceClassification, tokenizer: Tokenizer, directory: Path) -> None:
    """Write a Hugging Face model directory, one whole file at a time; its card stays as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".sentiment-") as name:
        unfinished = Path(name)
        model.save_pretrained(unfinished)
        tokenizer.save(str(unfinished / "tokenizer.json"))
        settings = json.dumps(_tokenizer_settings(), indent=2) + "\n"
        (unfinished / "tokenizer_config.json").write_text(settings, encoding="utf-8")
        # safetensors creates files that only their owner may read.
        (unfinished / "model.safetensors").chmod(0o644)
        for file in sorted(unfinished.iterdir()):
            file.replace(directory / file.name)


def _tokenizer_settings() -> dict[str, str | int]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": sentiment.MAX_TOKENS,
        "pad_token": sentiment.PADDING,
        "unk_token": sentiment.UNKNOWN,
        "cls_token": sentiment.START,
        "sep_token": sentiment.END,
    }


def _batches(rng: random.Random, lengths: list[int], steps: int) -> Iterator[list[int]]:
    """Yield one batch of indices per step, of sentences that are about equally long.

    Short sentences come first, since they show what single words mean before clauses interact.
    """
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    for step in range(steps):
        share = min(1.0, _FIRST_SHARE + step / (_ALL_AFTER * steps))
        end = int(share * len(by_length))
        start = rng.randrange(max(1, end - _WINDOW))
        yield rng.sample(by_length[start : min(start + _WINDOW, end)], _BATCH)


def _loss(
    model: BertForSequenceClassification, encoded: list[list[int]], answers: Tensor
) -> Tensor:
    """Return the scalar loss with some words hidden and every sentence moved a little.

    The moved positions keep the model from tying what it learns to where a sentence starts.
    """
    ids, mask = sentiment.pad(encoded)
    hidden = (torch.rand(ids.shape) < _WORD_DROPOUT) & (ids >= len(sentiment.SPECIAL_TOKENS))
    ids = ids.masked_fill(hidden, sentiment.UNKNOWN_ID)
    length = ids.shape[1]
    room = min(_MOST_OFFSET, sentiment.MAX_TOKENS - length)
    offset = torch.randint(0, room + 1, (len(ids), 1))
    positions = offset + torch.arange(length)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    return torch.nn.functional.cross_entropy(logits, answers)


def main() -> None:
    """Train, write the model directory and say how long it took."""
    parser = argparse.ArgumentParser(description="Train the demo sentiment model.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=SENTIMENT_DIRECTORY)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    began = time.perf_counter()
    model, tokenizer = train(arguments.steps)
    save(model, tokenizer, arguments.out)
    seconds = time.perf_counter() - began
    Console().print(f"wrote {arguments.out} after {arguments.steps} steps in {seconds:.0f} s")


if __name__ == "__main__":
    main()
