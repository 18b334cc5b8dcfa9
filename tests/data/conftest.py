"""What the tests of data share."""

import pytest


@pytest.fixture(scope="session")
def official(real_data):
    """The training and the test `IdxPair` of the official files. Mark with `real_data`."""
    from fashion_transfer.data.idx_files import load_pair

    return load_pair(real_data, True), load_pair(real_data, False)
