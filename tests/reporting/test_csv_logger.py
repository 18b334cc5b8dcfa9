import csv

import pytest

from fashion_transfer.reporting.csv_logger import CSVLogger


@pytest.fixture
def logger(tmp_path):
    return CSVLogger(tmp_path, name="csv")


def rows(logger):
    with open(logger.experiment.metrics_file_path, newline="") as file:
        return list(csv.DictReader(file))


def test_columns_can_be_added(logger):
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.save()
    logger.log_metrics({"accuracy": 0.5}, step=1)
    logger.save()
    assert rows(logger) == [
        {"accuracy": "", "loss": "1.0", "step": "0"},
        {"accuracy": "0.5", "loss": "", "step": "1"},
    ]


def test_curves_stay_whole_when_the_disk_is_full(logger, tmp_path, monkeypatch):
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.save()
    before = rows(logger)
    files = sorted(path.name for path in tmp_path.rglob("*"))
    logger.log_metrics({"accuracy": 0.5}, step=1)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(csv.DictWriter, "writerows", full)
        with pytest.raises(OSError, match=r"metrics\.csv"):
            logger.save()
    assert rows(logger) == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == files
    logger.save()  # there is room again
    assert [row["accuracy"] for row in rows(logger)] == ["", "0.5"]
