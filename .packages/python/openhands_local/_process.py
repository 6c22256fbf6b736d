"""Runs the program."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator, Sequence
from typing import Union

from ._server import Server

Flag = Union[str, int, bool, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]], None]
"""The value of a flag: True for one that takes none, a list for one that is repeated, None or False to leave it out."""


def program() -> str:
    """The path of the program."""
    return str(pathlib.Path(__file__).with_name("openhands-local.exe" if os.name == "nt" else "openhands-local"))


@contextlib.contextmanager
def serve(**flags: Flag) -> Iterator[Server]:
    """Serve for the time of a with statement: in memory and on a free port unless flags say otherwise.

    Flags are those of ``openhands-local serve --help``, with _ for -: ``serve(strict=True, agent="none", seed=1,
    import_="all.ndjson")``; key="…" is the one that clients have to show. What is set in the environment for other
    servers (OPENHANDS_LOCAL_…, SESSION_API_KEY) does not count. The log goes to standard error. The server ends with the
    statement, or with this process, however that ends.
    """
    key = str(flags.pop("key", None) or "")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENHANDS_LOCAL_") and k != "SESSION_API_KEY"}
    if key:
        environment["SESSION_API_KEY"] = key
    command = [program(), "serve", *_words({"addr": "localhost:0", "data": "memory", **flags}), "--ready-file=-", "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin and process.stdout
        try:
            ready = process.stdout.readline()
            if not ready:
                raise RuntimeError(f"openhands-local ended with {process.wait()}, and said why on standard error")
            yield Server(json.loads(ready)["url"], key=key)
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:  # a fork of this process holds the pipe too
                process.terminate()


def _words(flags: dict[str, Flag]) -> Iterator[str]:
    for name, value in flags.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        if value is True:
            yield flag
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from (f"{flag}={os.fspath(v)}" for v in value)
        elif value is not None and value is not False:
            yield f"{flag}={value}"
