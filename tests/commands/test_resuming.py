"""How a run ends that somebody ends."""

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from fashion_transfer.commands.resuming import interruptible


def test_run_that_a_cluster_ends_has_not_succeeded():
    with pytest.raises(SystemExit) as ended, interruptible():
        raise SIGTERMException
    assert ended.value.code == 143


def test_another_exit_status_stays():
    with pytest.raises(SystemExit) as ended, interruptible():
        raise SystemExit(3)
    assert ended.value.code == 3


def end_as_lightning_does():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise SystemExit(1)  # noqa: B904


def test_ctrl_c_has_a_hint():
    with pytest.raises(KeyboardInterrupt, match="^the hint$"), interruptible(lambda: "the hint"):
        end_as_lightning_does()
