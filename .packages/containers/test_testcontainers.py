"""The image's health check says when the server is ready; GET /alive does, too."""

from collections.abc import Iterator

import pytest
from openhands_local import Server
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    container = DockerContainer("openhands-local:latest").with_command("--no-key --data memory").with_exposed_ports(3000)
    with container.waiting_for(HealthcheckWaitStrategy()) as openhands:
        yield Server(f"http://{openhands.get_container_host_ip()}:{openhands.get_exposed_port(3000)}")


def test_client(server: Server) -> None:
    server.reset()  # between tests
    assert server.call("GET", "/alive") == {"status": "ok"}
