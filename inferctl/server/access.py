"""Who may ask: by which name, from which page, with which key.

Nothing is open but what is listed here. It is asked once for every head: of one that the protocol
knows by its bytes, the answer is known too.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from hmac import compare_digest

from inferctl.arena.ledger import Ledger
from inferctl.arena.spec import KeySpec
from inferctl.refusals import Forbidden, Misdirected, Unauthorized
from inferctl.server.call import Headers
from inferctl.server.quotas import Quota
from inferctl.server.v2 import PROBES
from inferctl.settings import ServerSettings

# Whoever restarts or balances has no key, and learns one bit.
OPEN = frozenset(("/livez", "/readyz", *PROBES))
ADMIN = "/v2/repository/"
LOCALHOST = "localhost"
# Methods of which a browser says by `Origin` which page sends them.
READING = frozenset(("GET", "HEAD", "OPTIONS"))

BEARER, BASIC = b"bearer", b"basic"


class Key:
    """An API key. `rows` are those that it has in this worker, and `body_bytes` what it has of
    bodies in memory, by the place of their model; `has_others` is whether there are other keys to
    share with."""

    def __init__(self, spec: KeySpec, quota: Quota, *, has_others: bool) -> None:
        self.name = spec.name
        self.has_others = has_others
        self.digest = bytes.fromhex(spec.digest)
        self.scopes = frozenset(spec.scopes)
        self.quota = quota
        self.rows: defaultdict[int, int] = defaultdict(int)
        self.body_bytes: defaultdict[int, int] = defaultdict(int)

    def rows_beside(self, place: int, held: int) -> int | None:
        """Its rows of a model besides those that a request `held`; None if it has no others."""
        return self.rows[place] - held if self.has_others else None

    def bytes_beside(self, place: int, held: int) -> int | None:
        """Its bytes of bodies besides those that a request `held`; None if it has no others."""
        return self.body_bytes[place] - held if self.has_others else None


class Access:
    """The service's names and keys, as one worker knows them."""

    def __init__(
        self, server: ServerSettings, keys: Sequence[KeySpec], ledger: Ledger, process: int
    ) -> None:
        """`process` is the number of this worker's block."""
        self._allowed = {_name(name) for name in server.allowed_hosts}
        self._names = set(self._allowed)
        self._is_loopback = not server.is_public
        if self._is_loopback:
            self._names |= {LOCALHOST, server.host.lower()}
        self._keys: list[Key] = []
        self._ledger, self._process = ledger, process
        under_way = ledger.used_by_keys(process)
        for cell in range(len(under_way)):  # a predecessor died with requests under way
            under_way[cell] = 0
        self.renew(keys)

    def renew(self, keys: Sequence[KeySpec]) -> None:
        """Other keys count from now on, for heads that are asked about from now on.

        What a key of the same name has on its way goes on to count for it.
        """
        before = {key.name: key for key in self._keys}
        self._keys = [
            Key(spec, Quota(spec, self._ledger, self._process), has_others=len(keys) > 1)
            for spec in keys
        ]
        for key in self._keys:
            if same := before.get(key.name):
                key.rows, key.body_bytes = same.rows, same.body_bytes

    def is_keyed(self) -> bool:
        """Whether keys are asked for."""
        return bool(self._keys)

    def check(self, method: str, path: str, headers: Headers) -> Key | None:
        """The key of a request, if keys are asked for. Raises Misdirected, Forbidden, Unauthorized.

        What the key may do is said by `permit`.
        """
        if path in OPEN:
            return None
        hosts = [value for name, value in headers if name == b"host"]
        if self._names and not all(self._is_ours(host) for host in hosts):
            raise Misdirected(
                "the service has another name", hint="add this one to server.allowed_hosts"
            )
        if method not in READING:
            self._check_origin(hosts, headers)
        return self._key_of(headers) if self._keys else None

    def permit(self, key: Key | None, path: str, *, predicts: bool) -> None:
        """Refuse what is not in the key's scopes. Raises Forbidden.

        `predicts` is whether the path is one of a model; what is no admin's either any key opens.
        """
        scope = "predict" if predicts else "admin" if path.startswith(ADMIN) else None
        if key is not None and scope is not None and scope not in key.scopes:
            raise Forbidden(f"this key lacks the scope {scope}", hint="use one that has it")

    def _is_ours(self, host: bytes) -> bool:
        """Whether a Host, with or without its port, is a name of the service.

        On loopback that is what browsers take for this machine: no page elsewhere can have its own
        name point here and be let in.
        """
        name = _name(host.decode("latin-1"))
        return name in self._names or (self._is_loopback and _is_loopback(name))

    def _check_origin(self, hosts: list[bytes], headers: Headers) -> None:
        """Refuse what another page has a browser send: it would go with the person's own rights."""
        for field, value in headers:
            if field == b"origin":
                origin = value.decode("latin-1").lower()
                authority = origin.partition("://")[2]
                is_own = authority.encode("latin-1") in [host.lower() for host in hosts]
                if not (authority and (is_own or _name(authority) in self._allowed)):
                    raise Forbidden(
                        "this comes from a page of another origin",
                        hint="server.allowed_hosts names those that may",
                    )

    def _key_of(self, headers: Headers) -> Key:
        """The one key of a request. Raises Unauthorized, the same whatever is wrong."""
        given = list(_credentials(headers))
        digest = sha256(given[0] if len(given) == 1 else b"").digest()
        found = None
        for key in self._keys:  # all of them: how long it takes says nothing
            if compare_digest(key.digest, digest):
                found = key
        if found is None or len(given) != 1:
            raise Unauthorized("an API key is needed", hint="send it as a bearer token")
        return found


def _credentials(headers: Headers) -> Iterator[bytes]:
    """Every key that a request has: of `X-API-Key`, a bearer token, a browser's password."""
    for name, value in headers:
        if name == b"x-api-key":
            yield value
        elif name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == BEARER:
                yield token.strip()
            elif scheme.lower() == BASIC:
                yield _password(token)


def _password(token: bytes) -> bytes:
    try:
        return binascii.a2b_base64(token.strip(), strict_mode=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _name(authority: str) -> str:
    """A host in lower case, without its port if it has one, or the brackets of an IPv6 address."""
    found = re.fullmatch(r"(?:\[(.*)\]|([^:]*))(?::\d*)?", authority)
    return (found[found.lastindex or 0] if found else authority).lower()


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
