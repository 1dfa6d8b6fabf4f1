"""A torch.export archive runs nothing, whichever of its parts would."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import CheckpointError, UntrustedCheckpoint
from inferctl.export.archive import read_records
from inferctl.export.plain import plain_records
from inferctl.export.program import load_program

from . import kinds, tinymodels

Records = dict[str, bytes]
IMAGE = ImageInput(height=tinymodels.SIDE, width=tinymodels.SIDE)
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program whose batch has the size of an expression."""
    return kinds.save_program(kinds.classifier(), tmp_path_factory.mktemp("pt2") / "model.pt2")


def edited(records: Records, name: str, edit: Callable[[Any], object]) -> None:
    document = json.loads(records[name])
    edit(document)
    records[name] = json.dumps(document).encode()


def in_program(edit: Callable[[Any], object]) -> Callable[[Records, str], None]:
    return lambda records, command: edited(
        records, PROGRAM, lambda d: edit(d["graph_module"] | {"program": d, "command": command})
    )


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def evil_samples(records: Records, command: str) -> None:
    records[SAMPLES] = saved(((Evil(command),), {}))


def evil_weight(records: Records, command: str) -> None:
    def edit(document: Any) -> None:
        payload = next(iter(document["config"].values()))
        payload["use_pickle"] = True
        records["data/weights/" + payload["path_name"]] = saved(Evil(command))

    edited(records, WEIGHTS, edit)


def evil_constant(prefix: str) -> Callable[[Records, str], None]:
    def write(records: Records, command: str) -> None:
        payload = {"path_name": prefix + "0", "is_param": False, "use_pickle": True}
        edited(records, CONSTANTS, lambda d: d["config"].update(c={**payload, "tensor_meta": None}))
        records[f"data/constants/{prefix}0"] = pickle.dumps(Evil(command))

    return write


def evil_old_record(folder: str) -> Callable[[Records, str], None]:
    def write(records: Records, command: str) -> None:
        records[f"data/{folder}/model.pt"] = saved({"w": Evil(command)})

    return write


def call_of(command: str) -> str:
    return f"__import__('os').system({command!r})"


def expressions(module: Any) -> list[dict[str, Any]]:
    found, pending = [], [module["graph"]]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            found += [value] if "expr_str" in value else []
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    assert found, "the program has no size that is computed"
    return found


def evil_expression(text: str) -> Callable[[Records, str], None]:
    def edit(module: Any) -> None:
        for expression in expressions(module):
            expression["expr_str"] = text.format(call=call_of(module["command"]))

    return in_program(edit)


def evil_target(target: str) -> Callable[[Records, str], None]:
    def edit(module: Any) -> None:
        node = module["graph"]["nodes"][-1]
        node["target"] = target
        node["inputs"] = [{"name": "", "arg": {"as_string": module["command"]}, "kind": 1}]

    return in_program(edit)


def evil_tree(tree: dict[str, object]) -> Callable[[Records, str], None]:
    def edit(module: Any) -> None:
        module["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, tree])

    return in_program(edit)


DEFAULTDICT = json.dumps(
    {"default_factory_module": "evilmodule", "default_factory_name": "x", "dict_context": []}
)
REFUSED: dict[str, Callable[[Records, str], None]] = {
    "pickled weight": evil_weight,
    "pickled constant": evil_constant("tensor_"),
    "opaque object": evil_constant("opaque_obj_"),
    "script object": evil_constant("custom_obj_"),
    "expression": evil_expression("{call}"),
    "expression in an argument": evil_expression("Max({call}, 2)"),
    "expression in a text": evil_expression('Max("{call}", 2)'),
    "a lambda for a size": evil_expression("(lambda: 2)()"),
    "no expression": evil_expression("2 +"),
    "object that is no tensor": in_program(
        lambda m: m["graph"]["nodes"][0]["inputs"].append(
            {"name": "x", "arg": {"as_custom_obj": {"name": "x", "class_fqn": "evil.Thing"}}}
        )
    ),
    "attribute in an expression": evil_expression("Symbol('s0').func.mro()"),
    "a function of torch": evil_target("torch.os.system"),
    "a method of an operator": evil_target("torch.ops.aten.relu.default.__class__"),
    "a method of the operators": evil_target("torch.ops.aten.__class__.__init__"),
    "a file as a tensor": evil_target("torch.ops.aten.from_file.default"),
    "operator of another library": evil_target("torch.ops.image.write_file.default"),
    "an operator module": evil_target("_operator.methodcaller"),
    "an extension": evil_target("#evil:op"),
    "imported tree": evil_tree(
        {"type": "collections.defaultdict", "context": DEFAULTDICT, "children_spec": []}
    ),
    "imported enumeration": evil_tree(
        {
            "type": "builtins.dict",
            "context": '[{"__enum__": true, "fqn": "evilmodule:X", "name": "A"}]',
            "children_spec": [],
        }
    ),
    "name of a keyword": evil_tree(
        {
            "type": "builtins.dict",
            "context": json.dumps(["x=__import__('os').abort()"]),
            "children_spec": [{"type": None, "context": None, "children_spec": []}],
        }
    ),
    "name of an input": in_program(
        lambda m: m["graph"]["inputs"][-1]["as_tensor"].update(name="x=__import__('os').abort()")
    ),
    "name of an argument": in_program(
        lambda m: m["module_call_graph"][0]["signature"].update(
            forward_arg_names=["x=__import__('os').abort()"]
        )
    ),
}
LEFT_OUT: dict[str, Callable[[Records, str], None]] = {
    "samples": evil_samples,
    "guards": in_program(lambda m: m["program"].update(guards_code=[call_of(m["command"])])),
    "old weights": evil_old_record("weights"),
    "old constants": evil_old_record("constants"),
    "compiled library": lambda records, _: records.update(
        {"data/aotinductor/model/wrapper.so": b"\x7fELF"}
    ),
    "what a node remembers": in_program(
        lambda m: m["graph"]["nodes"][0]["metadata"].update(
            source_fn_stack="x,torch.os.abort", custom="{"
        )
    ),
}


def evil_archive(
    program: Path, path: Path, write: Callable[[Records, str], None], marker: Path
) -> Path:
    records = read_records(program)
    before = dict(records)
    write(records, f"touch {marker}")
    assert records != before
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in records.items():
            archive.writestr(f"model/{name}", data)
    return path


@pytest.mark.parametrize("part", REFUSED)
def test_a_program_that_would_run_code_is_refused_and_not_run(
    program: Path, tmp_path: Path, part: str
) -> None:
    marker = tmp_path / "marker"
    path = evil_archive(program, tmp_path / "evil.pt2", REFUSED[part], marker)
    with pytest.raises(UntrustedCheckpoint, match="could run code") as caught:
        load_program(path, "image-classification", IMAGE)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", LEFT_OUT)
def test_what_a_program_does_not_need_is_left_out(program: Path, tmp_path: Path, part: str) -> None:
    marker = tmp_path / "marker"
    path = evil_archive(program, tmp_path / "evil.pt2", LEFT_OUT[part], marker)
    module = load_program(path, "image-classification", IMAGE)
    with torch.no_grad():
        assert torch.equal(module(kinds.PICTURES), kinds.classifier()(kinds.PICTURES))
    assert not marker.exists()


def test_the_evil_is_real(program: Path, tmp_path: Path) -> None:
    """torch itself runs these: the tests above would notice."""
    for part in ("pickled weight", "expression", "samples"):
        marker = tmp_path / f"marker-{part.replace(' ', '-')}"
        write = {**REFUSED, **LEFT_OUT}[part]
        path = evil_archive(program, tmp_path / "evil.pt2", write, marker)
        # It fails, after having run the command.
        with kinds.silence(), suppress(Exception):
            torch.export.load(path)
        assert marker.exists(), part


@pytest.mark.parametrize("name", [PROGRAM, WEIGHTS, CONSTANTS, "data/weights/weight_0"])
def test_a_part_that_is_missing_is_named(program: Path, name: str) -> None:
    records = read_records(program)
    del records[name]
    with pytest.raises(CheckpointError, match=f"no record '{name}'"):
        plain_records(records, where="model.pt2")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"[" * 100_000, b"{}", b'{"config": 3}'])
@pytest.mark.parametrize("name", [PROGRAM, WEIGHTS])
def test_a_part_that_is_damaged_is_named(program: Path, name: str, data: bytes) -> None:
    records = {**read_records(program), name: data}
    with pytest.raises(CheckpointError, match="damaged"):
        plain_records(records, where="model.pt2")


@pytest.mark.parametrize("tree", ["", "[1]", "[1, {}]", "[1, 3]"])
def test_a_tree_of_inputs_that_is_damaged_is_named(program: Path, tree: str) -> None:
    records = read_records(program)
    edited(
        records,
        PROGRAM,
        lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(out_spec=tree),
    )
    with pytest.raises(CheckpointError, match="damaged"):
        plain_records(records, where="model.pt2")


def test_a_program_that_torch_does_not_take_is_damaged(program: Path, tmp_path: Path) -> None:
    def unknown_operator(records: Records, _: str) -> None:
        target = "torch.ops.aten.no_such_operator.default"
        edited(
            records, PROGRAM, lambda d: d["graph_module"]["graph"]["nodes"][0].update(target=target)
        )

    path = evil_archive(program, tmp_path / "model.pt2", unknown_operator, tmp_path / "marker")
    with pytest.raises(CheckpointError, match="cut short or damaged: ") as caught:
        load_program(path, "image-classification", IMAGE)
    assert "\n" not in str(caught.value)
