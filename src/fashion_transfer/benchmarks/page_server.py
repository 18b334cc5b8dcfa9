"""The page's server as a process of its own, and its memory."""

import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import quoted

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")

START_SECONDS, END_SECONDS = 300, 30
"""At most, until the address is printed and after the interrupt."""


class Server(NamedTuple):
    """A server that answers.

    Attributes:
        url: of the page.
        process: its number.
        log: a file with all that it prints.
    """

    url: str
    process: int
    log: Path

    def failures(self) -> int:
        """Returns how many tracebacks it has printed."""
        return self.log.read_text("utf-8", "replace").count("Traceback (most recent call last)")

    def private_memory(self) -> int:
        """Returns the bytes that it has for itself alone, in memory or swapped out.

        Raises:
            FashionTransferError: the system does not tell, as only Linux does.
        """
        try:
            status = Path(f"/proc/{self.process}/status").read_text()
            lines = dict(line.split(":", 1) for line in status.splitlines())
            return sum(1024 * int(lines[key].split()[0]) for key in ("RssAnon", "VmSwap"))
        except (OSError, KeyError) as error:
            raise FashionTransferError(
                f"the memory of process {self.process} cannot be read: run this on Linux"
            ) from error


@contextmanager
def serve(
    revision: Revision, checkpoint: Path, scratch: Path, overrides: Sequence[str] = ()
) -> Iterator[Server]:
    """Yields a server of `app.py`, which is terminated at the end.

    Args:
        revision: that it is of.
        checkpoint: of the classifier.
        scratch: a folder for its log and its run.
        overrides: of the command.

    Raises:
        FashionTransferError: it ended, or printed no address in time.
    """
    given = [f"ckpt_path={quoted(checkpoint.resolve())}", *overrides]
    command = revision.command("app", given, scratch / "app")
    log, ready = scratch / "app.txt", threading.Event()
    address: list[str] = []
    environment = revision.environment() | {"PYTHONUNBUFFERED": "1"}

    def copy(output: IO[str]) -> None:
        with log.open("w") as file:
            for line in output:
                file.write(line)
                file.flush()
                if not address and (match := ADDRESS.search(line)):
                    address.append(match[0])
                    ready.set()
        ready.set()

    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=revision.root,
        env=environment,
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=copy, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            ready.wait(START_SECONDS)
            if not address:
                last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
                raise FashionTransferError(
                    f"{' '.join(command)} printed no address: {' '.join(last)}"
                )
            yield Server(address[0], process.pid, log)
        finally:
            process.terminate()  # as Ctrl-C, which a background process ignores
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join()
