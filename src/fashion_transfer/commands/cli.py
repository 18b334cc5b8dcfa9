"""Around every command: arguments before Hydra sees them, errors after. Imports no torch."""

import atexit
import gc
import logging
import os
import secrets
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig

from fashion_transfer.commands.arguments import options_first
from fashion_transfer.commands.errors import explain, name_run_folder
from fashion_transfer.commands.external import external_arguments
from fashion_transfer.commands.hydra_files import save_configs_atomically
from fashion_transfer.terminal import output, print_anything

log = logging.getLogger(__name__)

SPEAKING = tuple(f"lightning.pytorch.{part}" for part in ("callbacks", "profilers", "tuner"))
"""Loggers of what Lightning does only where somebody asks for it."""

RANK_ZERO = tuple(f"lightning.{part}.utilities.rank_zero" for part in ("fabric", "pytorch"))
"""Loggers of the trainer and of some callbacks: all log with that of the package imported last."""

_failures: list[Exception] = []


@output()
def run(main: Callable[[], Any], rewrite: Callable[[list[str]], list[str]] | None = None) -> None:
    """Runs a Hydra main: a user's mistake is one line on stderr and exit status 1.

    Args:
        main: decorated by `hydra.main`.
        rewrite: turns the command's arguments into those for Hydra.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    save_configs_atomically()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints a traceback and ends the process
    # Names the run folder: two runs that start in the same second must not share one.
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    os.environ["FASHION_TRANSFER_RUN"] = f"{stamp}_{secrets.token_hex(4)}"
    # The objects that importing torch creates live to the end. Searching them for garbage, again
    # and again, takes a tenth of a short run.
    gc.disable()
    # Nor when the process ends, which gives all of it back at once: that takes another second.
    atexit.register(gc.freeze)
    try:
        if rewrite is not None:
            sys.argv[1:] = options_first(rewrite(sys.argv[1:]))
        sys.argv += external_arguments()
        main()
        if _failures:
            raise _failures.pop()
    except KeyboardInterrupt as interrupt:
        print(f"interrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        message = explain(error)
        if wants_traceback or message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)
    finally:
        gc.unfreeze()
        gc.enable()


def job(
    function: Callable[[DictConfig], Any] | str,
    cfg: DictConfig,
    check: Callable[[DictConfig], None] | None = None,
) -> Any:
    """Runs one Hydra job; in a multirun an error is reported at once, and the other jobs go on.

    Args:
        function: what runs; or its dotted name, and it is imported after the check.
        cfg: the configuration.
        check: of the configuration.
    """
    print_anything()  # this process may be another one than that of `run`
    quieten()
    try:
        if check is not None:
            check(cfg)
        call = get_method(function) if isinstance(function, str) else function
        quieten()  # again: what was imported by now has set the levels of its loggers
        if not gc.isenabled():  # the first job: everything has been imported
            gc.freeze()
            gc.enable()
        return call(cfg)
    except Exception as error:
        name_run_folder(error)
        hydra = HydraConfig.get()
        if hydra.mode == RunMode.RUN:
            _failures.append(error)  # handed to `run` past Hydra, which would print it twice
            return None
        if not hydra.sweeper._target_.startswith("hydra_plugins."):  # those report it themselves
            overrides = " ".join(hydra.overrides.task)
            message = explain(error) or repr(error)
            log.error("job %s (%s) failed: %s", hydra.job.num, overrides, message)
        raise


def quieten() -> None:
    """Drops messages of libraries in every run that nobody here can or should act on.

    What callbacks and profilers of Lightning say stays: somebody has asked for it.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    threading.excepthook = _report_thread
    for name in (*SPEAKING, *RANK_ZERO):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers[:] = logging.getLogger().handlers
        logger.propagate = False  # Lightning's own handler would print it again
    for name in RANK_ZERO:
        logging.getLogger(name).filters[:] = [_is_of_a_callback]
    for name in ("filelock", "matplotlib", "PIL"):  # thousands of lines with hydra.verbose=true
        logging.getLogger(name).setLevel(logging.INFO)
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it reports what it also raises
    # It reports on every machine without a GPU that there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for message in (
        r".*module\(s\) in eval mode",  # the backbone, as it should be
        r".*does not have many workers",  # features and 28 x 28 pixels need none
        r".*smaller than the logging interval",
        r"Checkpoint directory .* exists and is not empty",  # of a run that is continued
        r"The dirpath has changed from",  # on purpose: another run's checkpoint may be continued
        r"GPU available but not used",  # another accelerator was asked for
        r".*`isinstance\(treespec, LeafSpec\)` is deprecated",
        r"`ModelCheckpoint\(monitor='val/.*could not find",  # the run says so in its own words
    ):
        warnings.filterwarnings("ignore", message)
    # What a camera wrote beside the picture, which is whole.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _is_of_a_callback(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or Path(record.pathname).parent.name == "callbacks"


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    """Reports an error of a thread, but of TensorBoard's: its writer raises that in this one."""
    if not type(arguments.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(arguments)
