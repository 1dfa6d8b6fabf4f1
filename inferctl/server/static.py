"""Files of this package for people's browsers, under a policy that lets nothing else in."""

from __future__ import annotations

from hashlib import sha256

from fastapi import FastAPI, Request, Response

NOTHING_ELSE = (
    "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'{styles}; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STRICT = NOTHING_ELSE.format(styles="") + "; require-trusted-types-for 'script'"
# Swagger UI sets styles and markup of its own.
SWAGGER = NOTHING_ELSE.format(styles=" 'unsafe-inline'")


class Static:
    """One file, as long as it is held; a browser that has it gets a 304."""

    def __init__(self, content: bytes, media_type: str, policy: str) -> None:
        self._content = content
        self._media_type = media_type
        self._etag = f'"{sha256(content).hexdigest()[:16]}"'
        self._headers = {
            "etag": self._etag,
            "cache-control": "no-cache",
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }

    def add_to(self, rest: FastAPI, path: str) -> None:
        """Hold it, and serve it there, outside of the API's document."""

        @rest.get(path, include_in_schema=False)
        async def get(request: Request) -> Response:
            return self.answer(request)

    def answer(self, request: Request) -> Response:
        """The file, or that it is still the same."""
        known = request.headers.get("if-none-match", "").split(",")
        if any(tag.strip().removeprefix("W/") in (self._etag, "*") for tag in known):
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, media_type=self._media_type, headers=self._headers)
