"""TLS at the service's own port, where no proxy in front has it."""

from __future__ import annotations

import ssl

from inferctl.errors import StartError
from inferctl.settings import ServerSettings

# Until it is done there is no connection that the protocol could bound.
HANDSHAKE_TIMEOUT_S = 5.0


def tls_context(server: ServerSettings) -> ssl.SSLContext | None:
    """Python's defaults, TLS 1.2 and up, with the service's certificate; None without one.

    Raises StartError when it cannot be used.
    """
    if not server.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key, password=_no_password)
    except (OSError, ValueError) as error:
        raise StartError(
            f"the certificate cannot be used: {_reason(error).lower()}",
            where=f"{server.tls_cert}, {server.tls_key}",
            hint="check --tls-cert and --tls-key",
        ) from None
    return context


def _no_password() -> str:
    """OpenSSL would ask the terminal."""
    raise ValueError("its key has a password")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        # For a file that has nothing in it of what is looked for it has no word.
        return (error.reason or "not PEM of this kind").replace("_", " ")
    return str((isinstance(error, OSError) and error.strerror) or error)
