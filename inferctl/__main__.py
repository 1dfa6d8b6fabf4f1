"""The `inferctl` command: runs a command, turns an error into one line and an exit code."""

from __future__ import annotations

import sys

from inferctl.errors import InferctlError


def main() -> None:
    """Entry point of the console script; exits with the code of the error's class."""
    from inferctl.cli import app

    try:
        app(prog_name="inferctl")
    except InferctlError as error:
        # Several wrong settings are several lines.
        sys.stderr.writelines(f"inferctl: {line}\n" for line in str(error).splitlines())
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
