"""The demo sentiment model: where its parts come from and how a sentence gets its label."""

from pathlib import Path
from typing import cast

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from inferctl.demo.lexicon import POLARITIES, Polarity
from inferctl.demo.weights import SENTIMENT_DIRECTORY

MAX_TOKENS = 128
PADDING = "[PAD]"
UNKNOWN = "[UNK]"
START = "[CLS]"
END = "[SEP]"
# The order is the order of the token ids: padding has to be 0.
SPECIAL_TOKENS = (PADDING, UNKNOWN, START, END)
PADDING_ID = SPECIAL_TOKENS.index(PADDING)
UNKNOWN_ID = SPECIAL_TOKENS.index(UNKNOWN)


def load_sentiment(
    directory: Path = SENTIMENT_DIRECTORY,
) -> tuple[BertForSequenceClassification, Tokenizer]:
    """Return the trained classifier in evaluation mode and its tokenizer, without the network."""
    model = AutoModelForSequenceClassification.from_pretrained(directory, local_files_only=True)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    return cast(BertForSequenceClassification, model.eval()), tokenizer


def classify(
    model: BertForSequenceClassification, tokenizer: Tokenizer, texts: list[str]
) -> list[Polarity]:
    """Return the label of each text; every text is cut after 128 tokens."""
    encoded = [encoding.ids[:MAX_TOKENS] for encoding in tokenizer.encode_batch(texts)]
    found: list[Polarity] = []
    with torch.inference_mode():
        for start in range(0, len(encoded), 256):
            ids, mask = pad(encoded[start : start + 256])
            best = model(input_ids=ids, attention_mask=mask).logits.argmax(dim=-1)
            found += [POLARITIES[index] for index in best.tolist()]
    return found


def pad(encoded: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Return int64 token ids and attention mask, both [B, longest], filled up with padding."""
    longest = max(len(ids) for ids in encoded)
    ids = torch.full((len(encoded), longest), PADDING_ID, dtype=torch.int64)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return ids, (ids != PADDING_ID).long()
