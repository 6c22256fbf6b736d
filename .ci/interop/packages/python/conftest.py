import pytest
from openhands_local import Flag


@pytest.fixture(scope="session")
def openhands_local_flags() -> dict[str, Flag]:
    return {"max_running": 0}
