"""Processes that others have started know which one they are."""

import os

import pytest

from fashion_transfer.commands import external


@pytest.fixture
def alone(monkeypatch):
    """No variable says that this process is one of several."""
    slurm = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID")
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", *slurm):
        monkeypatch.delenv(name, raising=False)


def test_processes_started_by_torchrun_or_srun_know_their_rank(alone, monkeypatch):
    assert external.external_rank() is None
    assert external.external_arguments() == []
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    assert external.external_rank() is None
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert external.external_rank() == 3
    assert "hydra.output_subdir=null" in external.external_arguments()
    for name, value in (("TORCHELASTIC_RUN_ID", "none"), ("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert external.external_rank() == 0
    assert external.external_arguments() == []


@pytest.mark.parametrize("step", [None, "4294967290", "4294967291"])  # sbatch, a shell, a script
def test_script_of_a_job_with_several_tasks_is_alone(alone, monkeypatch, step):
    for name, value in (("NTASKS", "4"), ("PROCID", "0"), ("STEP_ID", step)):
        if value is not None:
            monkeypatch.setenv(f"SLURM_{name}", value)
    assert external.external_rank() is None
    assert external.external_arguments() == []
    assert "SLURM_NTASKS" not in os.environ  # or Lightning would wait for the other three
