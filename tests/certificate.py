"""A certificate for tests, of localhost and 127.0.0.1, signed by itself; nothing trusts it."""

from __future__ import annotations

from pathlib import Path

PRIVATE = """\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMgX3bbvRKlEZY9DY
8eCf/K/MWqFb+Vf9PQ6jX5sp6EShRANCAAS3/rfuNKAV78QIbcXzMhaobKOmK5c8
psoFWR1VDlviJPzyQIMBxNDOss1jEspQy5pbfPftHNu+A46a9vPKzK+w
"""
OF_ANOTHER = """\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8X4QRoMOOqSxvrSR
cQihUSJy542NQpWP678i0hH0N2WhRANCAATjxPC/8WgoE7burWMiKSl/XS5ogLnW
7D6mKD/dD5jk348qWOPcJENzxEBhqfnrn/DpO4FqHdRwN3ptiBLaE/dI
"""
PUBLIC = """\
MIIBnDCCAUGgAwIBAgIUUTEUOJiQNSZJbf0cYNnVD8vSJcUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjE4MDAzN1oYDzIxMjYxMTAy
MTgwMDM3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS3/rfuNKAV78QIbcXzMhaobKOmK5c8psoFWR1VDlviJPzyQIMBxNDO
ss1jEspQy5pbfPftHNu+A46a9vPKzK+wo28wbTAdBgNVHQ4EFgQUywFzGPcOljZj
Vae3uB+sg73nZWUwHwYDVR0jBBgwFoAUywFzGPcOljZjVae3uB+sg73nZWUwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
zj0EAwIDSQAwRgIhANBR6Mxz0UvUXPreiu5ki4M20MLouUAUoiklztRioTqUAiEA
/lsRghi3uEolU4X+n+c57xwueEW8DC9fl3561qz5poI=
"""


def write_certificate(folder: Path, private: str = PRIVATE) -> tuple[Path, Path]:
    """The certificate's file, and its key's."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_text(pem("CERTIFICATE", PUBLIC))
    key.write_text(pem("PRIVATE KEY", private))
    return cert, key


def pem(kind: str, content: str) -> str:
    return f"-----BEGIN {kind}-----\n{content}-----END {kind}-----\n"
