import pytest

from fashion_transfer.benchmarks.search_pruning import Search, summary


def test_pruning_is_compared_within_a_study_seed():
    searches = [
        Search(0, "none", 100.0, 0.30, 0, 600),
        Search(0, "halving", 50.0, 0.31, 40, 200),
        Search(1, "halving", 40.0, 0.32, 40, 200),
        Search(1, "none", 100.0, 0.34, 0, 600),
        Search(2, "none", 100.0, 0.32, 0, 600),
        Search(2, "halving", 60.0, 0.33, 40, 200),
    ]
    result = summary(searches)
    assert result["ratio"] == 0.5
    assert result["worse"] == pytest.approx(0.01)
    assert result["deviation"] == pytest.approx(0.02)
