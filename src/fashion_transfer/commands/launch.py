"""Training by several processes: what is not possible with them, and how they are started.

The command that the user has started trains nothing itself then. It holds the run folder's lock,
starts a process per device (see `rank`), hands Ctrl-C on, and ends all of them as soon as one has
failed. `torchrun` and `srun` start processes of their own, also on several machines: each of them
is a rank at once.
"""

import copy
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fashion_transfer.commands.external import external_rank
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.terminal import UNREAD

RANK = "FASHION_TRANSFER_RANK"
"""Variable with the number of a process that this module has started."""

GRACE = 15.0
"""Seconds that rank 0 has to end after Ctrl-C."""

CONFIG = "config.pickle"
"""What the processes are started with: the configuration, and Hydra's own."""

PARALLEL_LAUNCHER = "JoblibLauncher"
"""The launcher of sweeps that trains several runs at once on one machine."""


def ddp(backend: str | None = None, hours: float = 12) -> Any:
    """Returns Lightning's strategy for several processes, each with a model of its own.

    Args:
        backend: how they exchange gradients; None: nccl on GPUs, gloo on a CPU.
        hours: that one waits for the others at most.
    """
    from lightning.pytorch.strategies import DDPStrategy

    # The name that torch has for it now is unknown to the versions before.
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
    return DDPStrategy(
        process_group_backend=backend,
        timeout=timedelta(hours=hours),
        # None changes in training but those that every rank fits by itself, to the same values.
        broadcast_buffers=False,
    )


def processes(cfg: DictConfig, callbacks: Sequence[Any] = ()) -> int:
    """Returns how many processes `trainer` asks this command to start; 1: it trains itself.

    Args:
        cfg: the configuration.
        callbacks: of the trainer, beside those of the configuration.

    Raises:
        FashionTransferError: something is not possible with several.
    """
    options = cfg.trainer
    one_device = str(options.get("devices", 1)) == "1" and options.get("num_nodes", 1) == 1
    external = external_rank() is not None
    if one_device and not external:
        return 1
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        trainer = instantiate(options, logger=False, enable_checkpointing=False, _convert_="all")
    except Exception as error:
        cause = error.__cause__ or error
        if not isinstance(cause, (MisconfigurationException, ValueError)):
            raise
        message = " ".join(str(cause).split())
        raise FashionTransferError(f"trainer.devices={options.devices}: {message}") from error
    count: int = trainer.world_size
    if count == 1 and not external:
        return 1
    _check_trainer(cfg, trainer, external)
    _check_batches(cfg, count)
    if callbacks:
        raise FashionTransferError(
            f"a search trains each trial on one device, got trainer.devices={options.devices}: "
            "leave trainer=ddp out, and start more processes of the search to use more"
        )
    hydra = HydraConfig.get()
    launcher = str(hydra.launcher.get("_target_", "")).rpartition(".")[2]
    if hydra.mode == RunMode.MULTIRUN and (external or launcher == PARALLEL_LAUNCHER):
        raise FashionTransferError(
            f"runs of {count} processes cannot be trained beside each other: give the sweep one "
            "device per run (trainer.devices=1), or leave out hydra/launcher"
        )
    return 1 if external else count


def _check_trainer(cfg: DictConfig, trainer: Any, external: bool) -> None:
    from lightning.pytorch.strategies import DDPStrategy

    strategy, count = trainer.strategy, trainer.world_size
    if trainer.num_nodes > 1 and not external:
        raise FashionTransferError(
            f"trainer.num_nodes={trainer.num_nodes}: several machines need a starter of their own: "
            "use torchrun or srun, see docs/scale.md"
        )
    if type(strategy) is not DDPStrategy or strategy._start_method != "popen":
        raise FashionTransferError(
            f"trainer.strategy={cfg.trainer.get('strategy', 'auto')} is not supported: use "
            "trainer=ddp, or one device"
        )
    if cfg.trainer.get("use_distributed_sampler", True):
        raise FashionTransferError(
            "trainer.use_distributed_sampler must be false: the data module shares the images out"
        )
    if cfg.trainer.get("overfit_batches"):
        raise FashionTransferError("trainer.overfit_batches needs one device: trainer.devices=1")
    cores = os.cpu_count() or 1
    if strategy.root_device.type == "cpu" and trainer.num_devices > max(2, cores):
        raise FashionTransferError(
            f"trainer.devices={trainer.num_devices} is over the {cores} cores of this machine: "
            "use fewer"
        )
    if "LBFGS" in str(cfg.model.optimizer.get("_target_", "")):
        raise FashionTransferError(
            f"model/optimizer=lbfgs needs the loss of all images in one process, got {count}: use "
            "another optimizer, or trainer.devices=1"
        )


def _check_batches(cfg: DictConfig, count: int) -> None:
    size = cfg.data.batch_size
    if isinstance(size, int) and size % count:
        near = sorted({max(1, size // count) * count, (size // count + 1) * count})
        raise FashionTransferError(
            f"data.batch_size={size} is that of all {count} processes together, and cannot be "
            f"shared equally: use {' or '.join(map(str, near))}"
        )


def run_ranks(cfg: DictConfig, count: int) -> None:
    """Trains by several processes on this machine, and waits for them.

    Args:
        cfg: the configuration.
        count: number of processes.

    Raises:
        FashionTransferError: one of them has failed, or was killed.
        KeyboardInterrupt: the user stopped it.
    """
    with tempfile.TemporaryDirectory(prefix="fashion-transfer-ranks-") as name:
        folder = Path(name)
        if cfg.trainer.get("strategy", "auto") in ("auto", "ddp"):
            cfg = copy.deepcopy(cfg)
            own = {"_target_": f"{__name__}.ddp"}
            OmegaConf.update(cfg, "trainer.strategy", own, force_add=True)
        # Pickled, since Hydra wants its own configuration typed.
        (folder / CONFIG).write_bytes(pickle.dumps((cfg, HydraConfig.instance().cfg)))
        children: list[subprocess.Popen[bytes]] = []
        try:
            port = _free_port()
            for rank in range(count):
                children.append(_start(folder, rank, count, port))
            statuses = _wait(children)
        except KeyboardInterrupt:
            _interrupt(children[:1])
            raise KeyboardInterrupt(_outcome(folder, 0).get("text", "")) from None
        finally:
            _kill(children)
        _report(folder, statuses)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _start(folder: Path, rank: int, count: int, port: int) -> "subprocess.Popen[bytes]":
    environment = dict(os.environ)
    # Lightning would take these for the number of processes, and their ranks.
    for variable in ("SLURM_NTASKS", "SLURM_JOB_NAME", "GROUP_RANK"):
        environment.pop(variable, None)
    environment |= {
        RANK: str(rank),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    threads = max(1, (os.cpu_count() or 1) // count)
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    return subprocess.Popen(
        [sys.executable, "-m", "fashion_transfer.commands.rank", str(folder)],
        env=environment,
        stdin=subprocess.PIPE,  # never written to: its end tells that this process has ended
        stdout=None if rank == 0 else subprocess.DEVNULL,
        stderr=None if rank == 0 else subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C comes here alone
    )


def _wait(children: Iterable["subprocess.Popen[bytes]"]) -> list[int | None]:
    """Waits until all have ended, or one has failed; returns their statuses, None: under way."""
    while True:
        statuses = [child.poll() for child in children]
        if any(statuses) or None not in statuses:
            return statuses
        time.sleep(0.05)


def _interrupt(children: Iterable["subprocess.Popen[bytes]"]) -> None:
    for child in children:
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)


def _kill(children: Iterable["subprocess.Popen[bytes]"]) -> None:
    for child in children:
        with suppress(ProcessLookupError):  # with the workers that load its images
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdin is not None:
            child.stdin.close()


def _outcome(folder: Path, rank: int) -> dict[str, Any]:
    """What a process has noted of its end, see `rank.main`; empty if it was killed."""
    file = folder / f"{rank}.json"
    outcome: dict[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    return outcome


def _report(folder: Path, statuses: Sequence[int | None]) -> None:
    """Raises why training ended: a mistake, else a killed process, else a defect.

    One that fails has the others fail, too, for lack of a connection: what comes first counts.
    """
    if not any(statuses):
        return
    if UNREAD in statuses:
        raise SystemExit(UNREAD)
    outcomes = {rank: _outcome(folder, rank) for rank in range(len(statuses))}
    noted = sorted((o["traceback"], o["time"], rank) for rank, o in outcomes.items() if o)
    ended = [(rank, s) for rank, s in enumerate(statuses) if s and not outcomes[rank]]
    if noted and (not noted[0][0] or not ended):
        rank = noted[0][2]
        text = outcomes[rank]["text"]
        if outcomes[rank]["traceback"]:
            raise RuntimeError(f"process {rank} of {len(statuses)} failed:\n{text}")
        raise FashionTransferError(text)
    rank, status = ended[0]
    cause = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    raise FashionTransferError(
        f"process {rank} of {len(statuses)} ended before training did ({cause}), perhaps for lack "
        "of memory: the same command in the same folder, or ckpt_path=last, continues the run"
    )
