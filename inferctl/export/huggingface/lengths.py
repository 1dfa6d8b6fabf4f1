"""How long the texts of a sequence classifier may be."""

from __future__ import annotations

from inferctl.errors import UsageError
from inferctl.export.huggingface.config import Directory, number, read_json
from inferctl.export.request import MAX_TOKENS_LIMIT

# Longer texts cost quadratically more; who wants them says --max-tokens.
_DEFAULT_MAX_TOKENS = 512
# These count positions from pad_token_id + 1, so that many of the table's rows are never used.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet")


def longest_text(directory: Directory) -> int:
    """How many tokens model, tokenizer and person agree on; raises UsageError when they cannot."""
    request, config = directory.request, directory.config
    positions = number(config, "n_positions", MAX_TOKENS_LIMIT)
    longest = number(config, "max_position_embeddings", positions)
    if config.get("model_type") in _OFFSET_POSITIONS:
        longest -= number(config, "pad_token_id", 1) + 1
    longest = min(longest, MAX_TOKENS_LIMIT)
    if request.max_tokens is not None:
        if request.max_tokens > longest:
            raise UsageError(f"the model has only {longest} positions", where="--max-tokens")
        return request.max_tokens
    settings = directory.file("tokenizer_config.json")
    trained = number(read_json(settings), "model_max_length", longest) if settings else longest
    return min(longest, trained, _DEFAULT_MAX_TOKENS)
