"""Takes from a torch.export archive what is plain: numbers, names and calls of tensor operators.

`torch.export.load` unpickles weights, constants and sample inputs, opens compiled libraries,
evaluates expressions and guards as Python, and looks up whatever a node names, `torch.os.system`
included. Here every text that could become code must have the form that torch gives it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from inferctl.errors import CheckpointError, UntrustedCheckpoint
from inferctl.export.foreign import clean, first_line

_HEADERS = (
    "version",
    ".data/version",
    "byteorder",
    "archive_format",
    "archive_version",
)
_PROGRAM = "models/model.json"
_SAMPLES = "data/sample_inputs/model.pt"
# (folder, the file that lists its records, how these are named)
_PAYLOADS = (
    ("data/weights/", "model_weights_config.json", re.compile(r"weight_[0-9]+")),
    ("data/constants/", "model_constants_config.json", re.compile(r"tensor_[0-9]+")),
)

_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)?")
# A module that is called again gets an @ and a number.
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9_@]+(\.[A-Za-z0-9_@]+)*)?")
# aten has operators for files too. Masks are joined by three whose names Python has methods of.
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!__|from_file\b|save\b)[A-Za-z0-9_]+\.(?!__)[A-Za-z0-9_]+"
    r"|torch\.ops\.aten\.__(and|or|xor)__\.(Scalar|Tensor)"
    r"|torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|torch\.(sym_(float|int|ite|max|min|not|sqrt|sum)|_sym_sqrt)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc)"
)
# What a size is computed of, in sympy's and in Python's spelling.
_SYMBOL = re.compile(r"(s|u|zf|zuf)[0-9]+|[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?")
_FUNCTIONS = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Mod|And|Or|Not|Eq|Ne|Lt|Le|Gt|Ge|Equality"
    r"|Unequality|LessThan|GreaterThan|StrictLessThan|StrictGreaterThan|FloorDiv|ModularIndexing"
    r"|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow"
    r"|FloatTrueDiv|IntTrueDiv|TruncToInt|TruncToFloat|RoundToInt|ToFloat|Identity"
)
_CONSTANTS = re.compile(r"true|false|oo")
_ARITHMETIC = (
    ast.Expression,
    ast.Load,
    ast.keyword,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
)
_TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def plain_records(records: Mapping[str, bytes], *, where: str) -> dict[str, bytes]:
    """Return the records that make the program, checked; sample inputs and extras are left out.

    Raises UntrustedCheckpoint when something in it could run code, CheckpointError when a part is
    missing or is not what it should be.
    """
    kept = {name: records[name] for name in _HEADERS if name in records}
    program = _json(records, _PROGRAM, where)
    _check(program, where)
    kept[_PROGRAM] = json.dumps(_without_remarks(program, where)).encode()
    for folder, listing, form in _PAYLOADS:
        payloads = _json(records, folder + listing, where)
        _check(payloads, where)
        kept[folder + listing] = json.dumps(payloads).encode()
        for name in _payload_names(payloads, form, where):
            kept[folder + name] = _record(records, folder + name, where)
    # The loader wants the record, and takes nothing for no samples.
    kept[_SAMPLES] = b""
    return kept


def _record(records: Mapping[str, bytes], name: str, where: str) -> bytes:
    if name not in records:
        raise CheckpointError(
            clean(f"the program has no record {name!r}"),
            where=where,
            hint="save it again with torch.export.save of torch 2.9 or newer",
        )
    return records[name]


def _json(records: Mapping[str, bytes], name: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(_record(records, name, where))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} is damaged: {first_line(error)}", where=where) from None
    if not isinstance(document, dict):
        raise CheckpointError(f"{name} is damaged: it is no object", where=where)
    return document


def _payload_names(payloads: Mapping[str, Any], form: re.Pattern[str], where: str) -> list[str]:
    listed = payloads.get("config")
    if not isinstance(listed, dict) or not all(isinstance(v, dict) for v in listed.values()):
        raise CheckpointError("its list of tensors is damaged", where=where)
    for name, payload in listed.items():
        _demand(_QUALIFIED_NAME, name, where)
        # A tensor of a class of its own, a ScriptObject or another object.
        if payload.get("use_pickle") is not False:
            raise _untrusted(f"the entry {name!r} is a pickle", where)
        _demand(form, payload.get("path_name"), where)
    return sorted({payload["path_name"] for payload in listed.values()})


def _without_remarks(program: dict[str, Any], where: str) -> dict[str, Any]:
    """Leave out guards, which are evaluated, and what the program remembers of its source."""
    module = program.get("graph_module")
    if not isinstance(module, dict) or not isinstance(module.get("graph"), dict):
        raise CheckpointError(f"{_PROGRAM} is damaged: it has no graph", where=where)
    bare = {**module, "metadata": {}, "treespec_namedtuple_fields": {}}
    return {**program, "guards_code": [], "graph_module": bare}


def _check(value: object, where: str) -> None:
    """Check every text below `value` that torch looks up, evaluates or writes into Python."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            if isinstance(found.get("target"), str):
                # A node; what it remembers of its source is looked up too.
                found["metadata"] = {}
            for key, part in found.items():
                _check_entry(key, part, where)
                pending.append(part)
        elif isinstance(found, list):
            pending.extend(found)


def _check_entry(key: str, value: object, where: str) -> None:
    if key in ("as_custom_obj", "custom_obj") or (key == "custom_obj_values" and value):
        raise _untrusted("it holds an object that is no tensor", where)
    if key == "forward_arg_names" and isinstance(value, list):
        for name in value:
            _demand(_NAME, name, where)
    if not isinstance(value, str):
        return
    if key in ("target", "as_operator"):
        _demand(_OPERATOR, value, where, what="calls")
    elif key in ("name", "as_name"):
        _demand(_NAME, value, where)
    elif key.endswith("_name") or key == "fqn":
        _demand(_QUALIFIED_NAME, value, where)
    elif key == "expr_str":
        _check_expression(value, where)
    elif key in ("in_spec", "out_spec"):
        _check_tree(value, where)


def _check_expression(text: str, where: str) -> None:
    """Demand known functions of numbers and symbols: sympy evaluates a text and the texts in it."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = [ast.Yield()]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    if not all(_is_arithmetic(node, id(node) in called) for node in nodes):
        raise _untrusted(f"a size in it is {text!r}", where)


def _is_arithmetic(node: ast.AST, called: bool) -> bool:
    if isinstance(node, ast.Name):
        known = _FUNCTIONS if called else _CONSTANTS
        return known.fullmatch(node.id) is not None or _is_symbol(node.id)
    if isinstance(node, ast.Constant):
        value = node.value
        return _is_symbol(value) if isinstance(value, str) else isinstance(value, int | float)
    return not called and isinstance(node, (*_ARITHMETIC, ast.Call))


def _is_symbol(text: str) -> bool:
    return _SYMBOL.fullmatch(text) is not None


def _check_tree(text: str, where: str) -> None:
    """Trees of tuples, lists and dicts; other types are imported by their names."""
    try:
        pending = [json.loads(text)[1]]
        while pending:
            tree = pending.pop()
            context = json.loads(tree["context"]) if tree["context"] else None
            names = context if isinstance(context, list) else []
            if tree["type"] not in _TREES or (context is not None and not names == context):
                raise _untrusted(f"its inputs or outputs are {tree['type']!r}", where)
            for name in names:
                _demand(_NAME, name, where)
            pending.extend(tree["children_spec"])
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{_PROGRAM} is damaged: {first_line(error)}", where=where) from None


def _demand(form: re.Pattern[str], text: object, where: str, what: str = "names") -> None:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise _untrusted(f"it {what} {text!r}", where)


def _untrusted(what: str, where: str) -> UntrustedCheckpoint:
    return UntrustedCheckpoint(
        clean(f"{what}, and loading it could run code"),
        where=where,
        hint="save the model's state_dict and pass --factory package.module:function",
    )
