"""The service's keys and their cells, which stay while others come and go."""

from __future__ import annotations

from inferctl.keys import MAX_KEYS, KeySettings
from inferctl.supervisor.keyring import Keyring

HASH = "sha256:" + "ab" * 32


def settings(*names: str, **quotas: float) -> dict[str, KeySettings]:
    return {name: KeySettings.model_validate({"hash": HASH, **quotas}) for name in names}


def cells(ring: Keyring) -> dict[str, int]:
    return {key.name: key.cell for key in ring.keys}


def test_a_key_is_told_with_its_digest_scopes_and_quotas() -> None:
    (key,) = Keyring(settings("app", requests_per_s=5, max_concurrent=2)).keys
    assert (key.name, key.digest, key.scopes) == ("app", "ab" * 32, ("predict",))
    assert (key.requests_per_s, key.max_concurrent) == (5, 2)


def test_a_key_that_stays_keeps_its_cell() -> None:
    ring = Keyring(settings("a", "b", "c"))
    assert cells(ring) == {"a": 0, "b": 1, "c": 2}
    ring.renew(settings("new", "c"))
    assert cells(ring) == {"new": 0, "c": 2}


def test_there_is_a_cell_for_as_many_keys_as_there_may_be() -> None:
    ring = Keyring(settings("first"))
    ring.renew(settings(*(f"k{number}" for number in range(MAX_KEYS))))
    assert sorted(cells(ring).values()) == list(range(MAX_KEYS))


def test_whether_anything_changed_is_told() -> None:
    ring = Keyring(settings("a"))
    assert not ring.renew(settings("a"))
    assert ring.renew(settings("a", max_concurrent=1))
    assert ring.renew({})
