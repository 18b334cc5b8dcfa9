"""Processes that `torchrun` or `srun` has started: each is one rank of a training."""

import atexit
import os
import shutil
import tempfile

from fashion_transfer.paths import quoted

FIRST_SPECIAL_STEP = 2**32 - 16
"""Slurm's numbers from here on are of steps that no `srun` has started, as of a shell."""


def external_rank() -> int | None:
    """Returns the number of this process, if `torchrun` or `srun` has started more than one."""
    variables = os.environ
    if "TORCHELASTIC_RUN_ID" in variables:
        return int(variables["RANK"]) if int(variables["WORLD_SIZE"]) > 1 else None
    return int(variables["SLURM_PROCID"]) if _has_slurm_tasks() and _started_by_srun() else None


def external_arguments() -> list[str]:
    """Returns arguments that have Hydra write nowhere but in a temporary folder, but on rank 0.

    What `sbatch` starts without `srun` is alone: Lightning, which would wait for the other tasks of
    the job, is not to see their number.
    """
    if _has_slurm_tasks() and not _started_by_srun():
        del os.environ["SLURM_NTASKS"]
    if not external_rank():
        return []
    folder = tempfile.mkdtemp(prefix="fashion-transfer-rank-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return [f"hydra.run.dir={quoted(folder)}", "hydra.output_subdir=null"]


def _has_slurm_tasks() -> bool:
    return int(os.environ.get("SLURM_NTASKS", 1)) > 1


def _started_by_srun() -> bool:
    """Whether this process is a task of a step, and not the script or the shell of a job."""
    step = int(os.environ.get("SLURM_STEP_ID", -1))
    return 0 <= step < FIRST_SPECIAL_STEP and "SLURM_PROCID" in os.environ
