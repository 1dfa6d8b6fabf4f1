"""Gives memory back as soon as it is no longer needed: an export would else hold weights thrice."""

from __future__ import annotations

import gc

import torch
from torch import nn

from inferctl.heap import give_back


def release(module: nn.Module) -> None:
    """Free the weights of a module, which then holds zeros of the same shapes."""
    for tensor in (*module.parameters(), *module.buffers()):
        # One value seen everywhere; who still shares the old memory keeps it.
        tensor.data = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    gc.collect()
    give_back()
