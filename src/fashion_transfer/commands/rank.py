"""One of several processes that train together, started by `launch.run_ranks`."""

import json
import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log, setup_globals
from omegaconf import DictConfig

from fashion_transfer.commands.cli import quieten
from fashion_transfer.commands.errors import explain
from fashion_transfer.commands.launch import CONFIG, RANK
from fashion_transfer.files import write_text
from fashion_transfer.terminal import UNREAD, output


def main() -> None:
    """Trains what the folder in the first argument describes, and notes there how it failed."""
    folder, rank = Path(sys.argv[1]), int(os.environ[RANK])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with output():
            cfg = _compose(folder, rank)
            from fashion_transfer.commands.train import train_rank

            quieten()  # once Lightning is imported, which sets the levels of its loggers
            train_rank(cfg)
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code == UNREAD:
            os._exit(UNREAD)
        interrupted = isinstance(error, KeyboardInterrupt)
        message = str(error) if interrupted else explain(error)
        outcome = {
            "time": time.time(),
            "traceback": message is None,
            "text": traceback.format_exc() if message is None else message,
        }
        write_text(folder / f"{rank}.json", json.dumps(outcome))
        logging.shutdown()
        # Not the interpreter's end: it would wait for the other processes.
        os._exit(130 if interrupted else 1)


def _compose(folder: Path, rank: int) -> DictConfig:
    """Has Hydra be as in the process that composed the configuration, and returns that."""
    setup_globals()
    cfg, hydra = pickle.loads((folder / CONFIG).read_bytes())
    assert isinstance(cfg, DictConfig)
    HydraConfig.instance().set_config(hydra)
    if rank:
        logging.disable()
    else:
        configure_log(hydra.hydra.job_logging, hydra.hydra.verbose)
    return cfg


def _end_with_parent() -> None:
    """Ends this process once the one that started it has ended, however that came."""
    os.read(0, 1)  # not by `sys.stdin`, which the interpreter waits for when it ends
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
