"""Fixtures of pytest.

The server is one for each process of tests, so that pytest-xdist has one for each
worker, and each test that asks for it finds it empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from . import Flag, Server, serve


@pytest.fixture(scope="session")
def openhands_local_flags() -> Mapping[str, Flag]:
    """The server's flags, as of serve. A conftest.py has another fixture of this name for others."""
    return {}


@pytest.fixture(scope="session")
def openhands_local_server(openhands_local_flags: Mapping[str, Flag]) -> Iterator[Server]:
    """A server for all tests, as the tests before left it."""
    flags: dict[str, Flag] = {"log_requests": True, **openhands_local_flags}  # pytest shows them of a test that fails
    with serve(**flags) as server:
        yield server


@pytest.fixture
def openhands_local(openhands_local_server: Server) -> Server:
    """A server that is fresh for each test."""
    openhands_local_server.reset()
    openhands_local_server.call("DELETE", "/_local/worlds")
    return openhands_local_server
