"""Tiny directories of every family, with random weights that tell pictures and texts apart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

from tests.export.matrix.cells import RARE
from tests.export.tinymodels import VOCABULARY
from tests.export.words import write_tokenizer

CLASSES = {0: "cat", 1: "dog", 2: "owl", 3: "fox"}
LABELS = {"id2label": CLASSES, "label2id": {name: number for number, name in CLASSES.items()}}
SQUARE = {"height": 32, "width": 32}
LARGER = {"height": 64, "width": 64}
GAIN = 1.5
TRANSFORMER = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip

Build = Callable[[], tuple[nn.Module, Any]]


def edit_config(folder: Path, name: str = "config.json", **changes: object) -> Path:
    """Change entries of a JSON file of a directory."""
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def enliven(module: nn.Module, heads: dict[str, float]) -> nn.Module:
    """Weights that pass signals on: a new model's are so small that all pictures look alike.

    What tells little apart even so has its head's weights multiplied.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=GAIN * math.sqrt(len(parameter) / parameter.numel()))
                parameter.mul_(math.prod(heads[head] for head in heads if head in name))
    return module.eval()


def vit() -> tuple[nn.Module, Any]:
    config = hf.ViTConfig(**TRANSFORMER, image_size=32, patch_size=8, **LABELS)
    return hf.ViTForImageClassification(config), hf.ViTImageProcessorPil(size=SQUARE)


def resnet() -> tuple[nn.Module, Any]:
    config = hf.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", **LABELS
    )
    return hf.ResNetForImageClassification(config), hf.ConvNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_pct=0.875
    )


def convnext() -> tuple[nn.Module, Any]:
    config = hf.ConvNextConfig(
        num_stages=2, hidden_sizes=[16, 32], depths=[1, 1], layer_scale_init_value=1.0, **LABELS
    )
    processor = hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875)
    return hf.ConvNextForImageClassification(config), processor


def swin() -> tuple[nn.Module, Any]:
    config = hf.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[2, 1], num_heads=[2, 2], window_size=4,
        **LABELS,
    )  # fmt: skip
    processor = hf.ViTImageProcessorPil(size=SQUARE, resample=3)
    return hf.SwinForImageClassification(config), processor


def yolos() -> tuple[nn.Module, Any]:
    config = hf.YolosConfig(
        **TRANSFORMER, image_size=[64, 64], patch_size=16, num_detection_tokens=10,
        **LABELS,
    )  # fmt: skip
    return hf.YolosForObjectDetection(config), hf.YolosImageProcessorPil(size=LARGER)


def detr() -> tuple[nn.Module, Any]:
    backbone = hf.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic",
        out_features=["stage2"],
    )  # fmt: skip
    config = hf.DetrConfig(
        backbone_config=backbone, use_timm_backbone=False, d_model=32, num_queries=8,
        encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, **LABELS,
    )  # fmt: skip
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessorPil(size=LARGER)


def rt_detr(
    model: type = hf.RTDetrForObjectDetection, configuration: type = hf.RTDetrConfig
) -> tuple[nn.Module, Any]:
    backbone = hf.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = configuration(
        backbone_config=backbone, encoder_in_channels=[16, 24, 32], encoder_hidden_dim=32,
        d_model=32, num_queries=10, encoder_ffn_dim=64, encoder_attention_heads=2,
        decoder_in_channels=[32, 32, 32], decoder_layers=2, decoder_ffn_dim=64,
        decoder_attention_heads=2, decoder_n_points=2, **LABELS,
    )  # fmt: skip
    return model(config), hf.RTDetrImageProcessorPil(size=LARGER)


def rt_detr_v2() -> tuple[nn.Module, Any]:
    return rt_detr(hf.RTDetrV2ForObjectDetection, hf.RTDetrV2Config)


def text(model: type, config: type, **parts: Any) -> Build:
    """A text classifier of two labels."""
    labels = {"id2label": {0: "negative", 1: "positive"}}
    sizes = {"vocab_size": VOCABULARY, "pad_token_id": 0, **TRANSFORMER, **parts, **labels}
    return lambda: (model(config(**sizes)), None)


TEXTS: dict[str, Build] = {
    "bert": text(hf.BertForSequenceClassification, hf.BertConfig),
    "distilbert": text(
        hf.DistilBertForSequenceClassification, hf.DistilBertConfig,
        dim=32, n_layers=2, n_heads=2, hidden_dim=64,
    ),
    "roberta": text(hf.RobertaForSequenceClassification, hf.RobertaConfig),
    "deberta-v2": text(
        hf.DebertaV2ForSequenceClassification, hf.DebertaV2Config,
        relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False,
        max_position_embeddings=64,
    ),
    "modernbert": text(
        hf.ModernBertForSequenceClassification, hf.ModernBertConfig,
        max_position_embeddings=64, local_attention=8,
        bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3,
    ),
}  # fmt: skip
IMAGES: dict[str, Build] = {"vit": vit, "resnet": resnet, "convnext": convnext, "swin": swin}
DETECTORS: dict[str, Build] = {
    "yolos": yolos, "detr": detr, "rt-detr": rt_detr, "rt-detr-v2": rt_detr_v2,
}  # fmt: skip
# RT-DETR picks its queries by a score: near-equal ones would be picked by rounding alone.
HEADS = {
    "resnet": {"classifier": 3},
    "detr": {"class_labels_classifier": 3},
    "rt-detr": {"enc_score_head": 1000},
    "rt-detr-v2": {"enc_score_head": 1000},
}
FAMILIES = {**TEXTS, **IMAGES, **DETECTORS}


def usual(families: Iterable[str]) -> list[Any]:
    """As parameters: what every run has, and for `make matrix` the others."""
    return [
        pytest.param(family, marks=pytest.mark.matrix if family in RARE else ())
        for family in families
    ]


def build(family: str) -> tuple[nn.Module, Any]:
    """The model in evaluation mode and its image processor, the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model, processor = FAMILIES[family]()
        return enliven(model, HEADS.get(family, {})), processor


def save(family: str, folder: Path, shard_size: str = "5GB") -> Path:
    """Write a family's directory as its owner would."""
    model, processor = build(family)
    model.save_pretrained(folder, max_shard_size=shard_size)  # type: ignore[operator]
    if processor is None:
        write_tokenizer(folder / "tokenizer.json")
    else:
        processor.save_pretrained(folder)
    return folder
