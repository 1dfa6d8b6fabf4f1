"""Memory is given back, and what is known of a module stays known."""

from __future__ import annotations

from inferctl.export.memory import release

from . import kinds


def test_a_module_that_was_released_keeps_its_shapes_alone() -> None:
    module = kinds.classifier()
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    release(module)
    assert {name: value.shape for name, value in module.state_dict().items()} == shapes
    for value in module.state_dict().values():
        assert value.untyped_storage().nbytes() == value.element_size()
