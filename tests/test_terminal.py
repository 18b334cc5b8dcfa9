"""What commands print, in processes of their own: to any encoding, and to readers that leave."""

import os
import subprocess
import sys

import pytest

ANY_TEXT = "± … é \N{PARTY POPPER} caf\udce9"

pipes = pytest.mark.skipif(os.name == "nt", reason="there are no such pipes")


def start(code: str, **variables: str) -> subprocess.Popen:
    code = f"from fashion_transfer.terminal import command, output\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUTF8": "0"} | variables,
    )


def run(code: str, **variables: str) -> tuple[int, bytes, bytes]:
    with start(code, **variables) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def run_unread(code: str) -> tuple[int, bytes]:
    """Runs code whose output nobody reads; returns exit status and stderr."""
    with start(code) as process:
        process.stdout.close()
        return process.wait(120), process.stderr.read()


# ---- encodings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_text_can_be_printed(encoding):
    code = f"with output(): print({ANY_TEXT!a})"
    status, out, err = run(code, PYTHONIOENCODING=encoding)
    assert (status, err) == (0, b"")
    handler = "surrogateescape" if encoding == "utf-8" else "replace"
    assert out.decode(encoding, handler).strip() == ANY_TEXT.encode(encoding, handler).decode(
        encoding, handler
    )


def test_any_text_can_be_printed_without_a_locale():
    code = f"""
from rich.console import Console
from rich.table import Table
table = Table("\\xb1")
table.add_row({ANY_TEXT!a})
with output():
    Console().print(table)
"""
    status, out, err = run(code, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="")
    assert (status, err) == (0, b"")
    assert out


# ---- readers that leave

PRINTS = {
    "print": "for _ in range(10**6): print('x')",
    "one line at the end": "print('x')",
    "flush": "print('x', flush=True)",
    "log": """
import logging
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
for _ in range(10**6): logging.info('x')""",
    "rich": """
from rich.console import Console
for _ in range(10**6): Console().print('x')""",
    "what catches errors": """
try:
    print('x', flush=True)
except Exception:
    print('failed', file=sys.stderr)""",
    "stderr": """
os.dup2(1, 2)
for _ in range(10**6): print('x', file=sys.stderr)""",
    "--help": """
import argparse
argparse.ArgumentParser(epilog='x' * 10**6).parse_args(['--help'])""",
}


@pipes
@pytest.mark.parametrize("printing", PRINTS.values(), ids=PRINTS)
@pytest.mark.parametrize("context", ["output", "command"])
def test_a_command_ends_silently_once_nobody_reads_its_output(printing, context):
    indented = printing.replace("\n", "\n    ")
    code = f"import os, sys\nwith {context}():\n    {indented}\n    print('y')"
    assert run_unread(code) == (141, b"")


@pipes
def test_a_reader_that_leaves_in_between_has_what_it_read():
    with start("with output():\n    for number in range(10**6): print(number)") as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert (process.wait(120), process.stderr.read()) == (141, b"")


@pipes
def test_a_command_runs_without_any_output():
    code = "import os, sys; sys.stdout = sys.stderr = None\nwith output(): print('x'); os._exit(7)"
    assert run(code) == (7, b"", b"")


@pipes
def test_another_broken_pipe_is_no_reader_that_left():
    code = """
import os
reader, writer = os.pipe()
os.close(reader)
with output():
    try:
        os.write(writer, b'x')
    except BrokenPipeError:
        print('broken')
"""
    assert run(code) == (0, b"broken\n", b"")


@pipes
def test_the_work_of_a_command_is_closed_when_it_ends_unread():
    code = """
import sys
with output():
    try:
        while True: print('x')
    finally:
        print('closed', file=sys.stderr)
"""
    assert run_unread(code) == (141, b"closed\n")


# ---- the other ends of a command


def test_a_mistake_is_one_line_and_ctrl_c_a_word():
    mistake = "from fashion_transfer.errors import FashionTransferError as E\n"
    assert run(f"{mistake}with command(): raise E('wrong ±')", PYTHONIOENCODING="utf-8") == (
        1,
        b"",
        "error: wrong ±\n".encode(),
    )
    assert run("with command(): raise KeyboardInterrupt") == (130, b"", b"interrupted\n")
    status, _, err = run("with command(): 1 / 0")
    assert status == 1
    assert b"ZeroDivisionError" in err
