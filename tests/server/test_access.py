"""Who may ask: one key, a name of the service's, no page of another origin."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from inferctl.refusals import Forbidden, Misdirected, RequestError, Unauthorized
from inferctl.server import access
from inferctl.server.access import OPEN, Access, Key
from inferctl.server.call import Headers
from inferctl.settings import ServerSettings
from inferctl.supervisor.keyring import Keyring

from .keyed import ADMIN_KEY, PREDICT_KEY, bearer, key_settings, keyed
from .wiring import WORKER, make_ledger

PATH = "/predict"


def access_of(server: ServerSettings) -> Access:
    return Access(server, Keyring(server.api_keys).keys, make_ledger(), WORKER)


def fields(headers: Mapping[str, str], *more: tuple[bytes, bytes]) -> Headers:
    return [(key.lower().encode(), text.encode("latin-1")) for key, text in headers.items()] + [
        *more
    ]


def check(
    server: ServerSettings, headers: Mapping[str, str], *more: tuple[bytes, bytes], **request: str
) -> Key | None:
    given = {"method": "POST", "path": PATH} | request
    return access_of(server).check(headers=fields(headers, *more), **given)


def basic(password: str, user: str = "") -> dict[str, str]:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


@pytest.mark.parametrize(
    "headers",
    [
        bearer(PREDICT_KEY),
        {"authorization": f"BEARER   {PREDICT_KEY} "},
        {"X-API-Key": PREDICT_KEY},
        {"X-API-Key": PREDICT_KEY, "Authorization": "Negotiate xyz"},
        basic(PREDICT_KEY),
        basic(PREDICT_KEY, user="me"),
    ],
)
def test_a_key_is_known_wherever_it_stands(headers: dict[str, str]) -> None:
    key = check(keyed(), headers)
    assert key is not None
    assert key.name == "app"


NO_KEYS: dict[str, Any] = {
    "none": {},
    "empty": {"X-API-Key": ""},
    "wrong": bearer("inferctl_another"),
    "its beginning": bearer(PREDICT_KEY[:-1]),
    "longer": bearer(PREDICT_KEY + "x"),
    "its hash": bearer(keyed().api_keys["app"].hash.get_secret_value()),
    "large": bearer("k" * 10_000),
    "another scheme": {"Authorization": f"Token {PREDICT_KEY}"},
    "no scheme": {"Authorization": PREDICT_KEY},
    "beyond ASCII": bearer("schl\xfcssel"),
    "as a user": basic("", user=PREDICT_KEY),
    "no base64": {"Authorization": "Basic ?"},
    "both": {"X-API-Key": PREDICT_KEY} | bearer(PREDICT_KEY),
}


@pytest.mark.parametrize("headers", NO_KEYS.values(), ids=NO_KEYS)
@pytest.mark.row(164)
def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized) as caught:
        check(keyed(), headers)
    assert str(caught.value) == "an API key is needed; send it as a bearer token"


@pytest.mark.row(164)
def test_two_keys_are_none() -> None:
    key = PREDICT_KEY.encode()
    for more in ((b"x-api-key", key), (b"authorization", b"Bearer " + key)):
        with pytest.raises(Unauthorized):
            check(keyed(), {}, more, more)


@pytest.mark.row(165)
def test_every_key_is_compared_in_constant_time() -> None:
    """The comparison that says how far it came is nowhere."""
    source = inspect.getsource(access.Access._key_of)
    assert "compare_digest" in source
    assert "==" not in source.replace("len(given) == 1", "")
    assert "break" not in source
    assert "return key" not in source


def test_a_key_that_was_taken_back_opens_nothing() -> None:
    server = keyed()
    ring = Keyring(server.api_keys)
    own = Access(server, ring.keys, make_ledger(), WORKER)
    ring.renew({"ops": server.api_keys["ops"]})
    own.renew(ring.keys)
    with pytest.raises(Unauthorized):
        own.check("POST", PATH, fields(bearer(PREDICT_KEY)))
    assert own.check("POST", PATH, fields(bearer(ADMIN_KEY)))


def test_what_a_key_has_on_its_way_counts_for_it_after_a_renewal() -> None:
    server = keyed()
    ring = Keyring(server.api_keys)
    own = Access(server, ring.keys, make_ledger(), WORKER)
    asking = ("POST", PATH, fields(bearer(PREDICT_KEY)))
    before = own.check(*asking)
    assert before is not None
    before.rows[3] += 5
    before.body_bytes[3] += 70
    own.renew(ring.keys)
    after = own.check(*asking)
    assert after is not None
    assert (after.rows_beside(3, 1), after.bytes_beside(3, 20)) == (4, 50)
    before.rows[3] -= 5
    assert after.rows_beside(3, 0) == 0


@pytest.mark.parametrize("path", sorted(OPEN))
def test_probes_need_no_key_and_no_name(path: str) -> None:
    assert check(keyed(), {"Host": "elsewhere"}, method="GET", path=path) is None


def test_without_keys_nobody_needs_one() -> None:
    assert check(ServerSettings(), {"Host": "localhost"}) is None


@pytest.mark.parametrize(
    ("key", "path", "predicts"),
    [
        (ADMIN_KEY, "/predict", True),
        (PREDICT_KEY, "/v2/repository/index", False),
        (PREDICT_KEY, "/v2/repository/models/m/load", False),
    ],
)
@pytest.mark.row(167)
def test_a_key_opens_what_its_scopes_say(key: str, path: str, predicts: bool) -> None:
    own = access_of(keyed())
    found = own.check("POST", path, fields(bearer(key)))
    with pytest.raises(Forbidden, match="lacks the scope"):
        own.permit(found, path, predicts=predicts)
    own.permit(found, "/metrics", predicts=False)


def test_a_key_may_have_both_scopes() -> None:
    server = ServerSettings(api_keys={"all": key_settings(PREDICT_KEY, "predict", "admin")})
    own = access_of(server)
    found = own.check("POST", PATH, fields(bearer(PREDICT_KEY)))
    own.permit(found, "/predict", predicts=True)
    own.permit(found, "/v2/repository/index", predicts=False)


def refusal(server: ServerSettings, headers: Mapping[str, str], **request: str) -> str:
    """The class of what is raised, or nothing."""
    try:
        check(server, headers, **request)
    except RequestError as error:
        return type(error).__name__
    return ""


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:8000",
        "127.1.2.3",
    ],
)
@pytest.mark.row(172)
def test_on_loopback_it_is_known_by_this_machines_names(host: str) -> None:
    assert refusal(ServerSettings(), {"Host": host}) == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "localhost.evil.example", "evil@localhost", "10.0.0.1",
        "127.0.0.1.evil.example", "", "[::1", "localhost:8000:1", "localhost/", "[fe80::1]",
    ],
)  # fmt: skip
@pytest.mark.row(172)
def test_and_by_no_other(host: str) -> None:
    for method in ("GET", "POST"):
        assert refusal(ServerSettings(), {"Host": host}, method=method) == Misdirected.__name__


@pytest.mark.row(172)
def test_one_of_two_hosts_that_is_another_is_enough() -> None:
    with pytest.raises(Misdirected):
        check(ServerSettings(), {"Host": "localhost"}, (b"host", b"evil.example"))


@pytest.mark.parametrize(
    "name", ["ml.example", "ML.example:8443", "[fd00::1]", "[FD00::1]:8443", "fd00::1"]
)
def test_a_further_name_may_be_written_as_host_has_it(name: str) -> None:
    host = "[fd00::1]" if "::" in name else "ml.example"
    for loopback in (True, False):
        server = ServerSettings(host="127.0.0.1" if loopback else "0.0.0.0", allowed_hosts=(name,))
        for port in ("", ":443", ":8443"):
            asked = {"Host": host + port, "Origin": f"https://{host}:8443"}
            assert refusal(server, asked) == ""
        assert refusal(server, {"Host": f"{host}.evil.example"}) == Misdirected.__name__


def test_further_names_are_settings() -> None:
    named = ServerSettings(allowed_hosts=("ml.example",))
    assert refusal(named, {"Host": "ML.example:443"}) == ""
    assert refusal(named, {"Host": "localhost"}) == ""
    public = ServerSettings(host="0.0.0.0", allowed_hosts=("ml.example",))
    assert refusal(public, {"Host": "ml.example"}) == ""
    assert refusal(public, {"Host": "localhost"}) == Misdirected.__name__
    assert refusal(ServerSettings(host="0.0.0.0"), {"Host": "whatever"}) == ""


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8000",
        "https://localhost:8000",
        "http://LOCALHOST:8000",
        "https://ml.example",
    ],
)
@pytest.mark.row(172)
def test_its_own_page_may_ask(origin: str) -> None:
    server = ServerSettings(allowed_hosts=("ml.example",))
    assert refusal(server, {"Host": "localhost:8000", "Origin": origin}) == ""


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost:9000",
        "http://localhost",
        "localhost:8000",
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.row(172)
def test_a_page_of_another_origin_may_not(origin: str, host: str) -> None:
    headers = {"Host": "localhost:8000", "Origin": origin}
    for method in ("POST", "DELETE", "PUT"):
        assert refusal(ServerSettings(host=host), headers, method=method) == Forbidden.__name__
    assert refusal(ServerSettings(host=host), headers, method="GET") == ""
