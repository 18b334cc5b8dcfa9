"""The files that Hydra writes into a run folder, on a disk that is full."""

import logging
from pathlib import Path

import pytest
from hydra.core import utils
from omegaconf import OmegaConf

from fashion_transfer.commands.hydra_files import LogFile, save_configs_atomically

full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="a device that is always full"
)


@pytest.fixture
def log(tmp_path):
    """`log(file)`: a logger that writes to a file."""
    logger, handlers = logging.Logger("test"), []

    def writing(file):
        handlers.append(LogFile(file, encoding="utf-8"))
        logger.addHandler(handlers[-1])
        return logger

    yield writing
    for handler in handlers:
        handler.close()


def test_log_file_has_what_is_logged(log, tmp_path):
    log(tmp_path / "train.log").info("training")
    assert (tmp_path / "train.log").read_text() == "training\n"


@full_device
def test_full_disk_costs_lines_of_the_log_and_is_said_once(log, capfd):
    logger = log("/dev/full")
    logger.info("training")
    logger.info("testing")
    out, err = capfd.readouterr()
    assert out == "/dev/full lacks what follows here (No space left on device)\n"
    assert err == ""


@full_device
def test_log_on_a_full_disk_is_closed_without_an_error(log, capfd):
    logger = log("/dev/full")
    logger.info("training")
    logger.handlers[0].close()
    assert capfd.readouterr().err == ""


def test_defect_in_a_message_is_reported_as_ever(log, tmp_path, capfd):
    log(tmp_path / "train.log").info("%d", "no number")
    assert "TypeError" in capfd.readouterr().err


def test_configuration_of_a_run_stays_whole_when_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "_save_config", utils._save_config)
    save_configs_atomically()
    overrides = OmegaConf.create(["seed=1"])
    utils._save_config(overrides, "overrides.yaml", tmp_path / ".hydra")

    def full(file, *_, **__):
        with file.open("w"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"overrides\.yaml"):
        utils._save_config(OmegaConf.create(["seed=2"]), "overrides.yaml", tmp_path / ".hydra")
    [file] = (tmp_path / ".hydra").iterdir()
    assert file.read_bytes() == b"- seed=1\n"
