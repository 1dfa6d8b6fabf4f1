"""A bundle of each task, small enough to be made by hand, whose answers tell what went in."""

from __future__ import annotations

from pathlib import Path

from onnx import parser

from inferctl.bundles.manifest import GRAPH_FILE, MANIFEST_FILE, TOKENIZER_FILE, File, Manifest
from tests.tasks import tinybundles

MOODS = ("bad", "good")
WORDS = (*MOODS, "a", "film", "day")

# A white image has scores of 1, 0.8, 0.6 and 0.1; a darker one less of each.
DETECTOR = """
detector (uint8[rows,8,8,3] image)
    => (float[rows,4,4] boxes, float[rows,4] scores, int64[rows,4] labels)
<float[1,4] confidences = {1.0, 0.8, 0.6, 0.1}, float[1,4] kinds = {0, 1, 2, 0},
 float[1,16] sides = {0,0,0.5,0.5, 0.5,0.5,1,1, 0.25,0.25,0.75,0.75, 0,0,1,1},
 int64[3] by_box = {-1, 4, 4}, float[1] white = {255}, int64[1] inside = {1}>
{
    flat = Flatten <axis = 1> (image)
    values = Cast <to = 1> (flat)
    mean = ReduceMean <axes = [1]> (values)
    light = Div (mean, white)
    scores = Mul (light, confidences)
    none = Sub (mean, mean)
    all_sides = Add (none, sides)
    boxes = Reshape (all_sides, by_box)
    all_kinds = Add (none, kinds)
    labels = Cast <to = 7> (all_kinds)
}
"""

# A red image is a cat, a green one a dog, a blue one an owl.
CLASSIFIER = """
classifier (uint8[rows,8,8,3] image) => (float[rows,3] scores)
<float[1] scale = {64}>
{
    values = Cast <to = 1> (image)
    colour = ReduceMean <axes = [1, 2], keepdims = 0> (values)
    logits = Div (colour, scale)
    scores = Softmax <axis = 1> (logits)
}
"""

# Counts the words `bad` and `good`, whose ids follow those of the special tokens.
READER = """
reader (int64[rows,tokens] input_ids, int64[rows,tokens] attention_mask,
        int64[rows,tokens] token_type_ids) => (float[rows,2] scores)
<int64[1] bad = {4}, int64[1] good = {5}>
{
    is_bad = Equal (input_ids, bad)
    is_good = Equal (input_ids, good)
    bads = Cast <to = 1> (is_bad)
    goods = Cast <to = 1> (is_good)
    number_bad = ReduceMax <axes = [1]> (bads)
    number_good = ReduceMax <axes = [1]> (goods)
    both = Concat <axis = 1> (number_bad, number_good)
    scores = Softmax <axis = 1> (both)
}
"""

SUMS = """
sums (float[rows,4] input) => (float[rows,3] logits)
<float[4,3] weights = {1,0,1, 1,0,0, 1,0,0, 1,1,0}>
{
    logits = MatMul (input, weights)
}
"""


def write_bundles(folder: Path) -> Path:
    """`shapes`, `animals`, `mood` and `sums`, as a folder of models."""
    write_bundle(folder, tinybundles.detector(version=1), DETECTOR)
    write_bundle(folder, tinybundles.classifier(version=1), CLASSIFIER)
    write_bundle(folder, tinybundles.reader(version=1, labels=MOODS), READER)
    write_bundle(folder, tinybundles.numbers(version=1), SUMS)
    return folder


def write_bundle(folder: Path, manifest: Manifest, graph: str) -> None:
    """Write one with a tokenizer of WORDS beside its graph."""
    bundle = folder / manifest.name / "1"
    bundle.mkdir(parents=True)
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph.strip()}')
    (bundle / GRAPH_FILE).write_bytes(model.SerializeToString())
    tinybundles.write_tokenizer(bundle, *WORDS)
    files = {name: File.of(bundle / name) for name in (GRAPH_FILE, TOKENIZER_FILE)}
    described = manifest.model_copy(update={"files": files})
    (bundle / MANIFEST_FILE).write_text(described.model_dump_json())
