"""What tests share: one Ray for the whole session, started by the first test that asks for it."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """An embedded Ray with two CPUs; sweeps inside this process join it and leave it running."""
    from pipeline.sweeps.cluster.session import ray_session

    with ray_session(None, 2):
        yield
