"""The gateway in front of the simulator, once per test session."""

import pytest

from programs import Gateway, Simulator


@pytest.fixture(scope="session")
def simulator(tmp_path_factory):
    child = Simulator(tmp_path_factory.mktemp("simulator"))
    try:
        yield child
    finally:
        code = child.stop()
    assert code == 0


@pytest.fixture(scope="session")
def gateway(simulator, tmp_path_factory):
    child = Gateway(tmp_path_factory.mktemp("gateway"), simulator)
    try:
        yield child
    finally:
        code = child.stop()
    assert code == 0


@pytest.fixture(autouse=True)
def nothing_is_refused(simulator):
    """No test may lead to a request that the strict simulator refuses."""
    before = len(simulator.refusals())
    yield
    assert simulator.refusals()[before:] == []


@pytest.fixture(scope="session")
def picture():
    """One grey pixel: a PNG in base64."""
    return (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCB3UNq9AAAAABJRU5ErkJggg=="
    )
