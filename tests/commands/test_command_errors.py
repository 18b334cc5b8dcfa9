import ast
import errno
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fashion_transfer.commands.errors import (
    HINTS,
    config_keys,
    explain,
    is_disk_error,
    name_run_folder,
    nearest,
    unknown_key,
    with_hint,
)
from fashion_transfer.errors import ArgumentError, FashionTransferError

SOURCE = Path(__file__).resolve().parents[2] / "src" / "fashion_transfer"

CONFIG = OmegaConf.create(
    {
        "data": {
            "images_per_class": 500,
            "augmentation": {"_target_": "fashion_transfer.data.Augmentation", "zoom": 2},
        },
        "model": {"head": {"name": "mlp"}, "mixup": 1.0},
        "policy": {"threshold": 0.8, "threshold_target": {"warned": None}},
    }
)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


# ---- explain


def test_explain_returns_the_message_of_our_error():
    assert explain(FashionTransferError("no such file: look again")) == "no such file: look again"


def test_explain_finds_our_error_among_the_causes():
    error = caused(InstantiationException("long story"), FashionTransferError("the point"))
    assert explain(caused(RuntimeError("longer story"), error)) == "the point"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "num_workers=0"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "num_workers=0"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "smaller batch_size",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "smaller batch_size"),
        (MemoryError(), "smaller batch_size"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
    ],
)
def test_explain_says_what_the_machine_has_too_little_of(error, message):
    for raised in (error, caused(RuntimeError("while training"), error)):
        line = explain(raised)
        assert message in line
        assert "\n" not in line


def test_explain_joins_lines():
    assert explain(FashionTransferError("first\n  second\n\nthird ")) == "first second third"


@pytest.mark.parametrize(
    "error",
    [
        ConfigCompositionException("no such key\nfull_key: x"),
        OmegaConfBaseException("no such key\nfull_key: x"),
        MisconfigurationException("no such key\nfull_key: x"),
    ],
)
def test_explain_returns_a_librarys_message_for_a_wrong_setting(error):
    message = explain(error)
    assert message.startswith("no such key full_key: x")
    assert "HYDRA_FULL_ERROR=1" in message


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError(), OSError()])
def test_explain_returns_none_for_a_defect(error):
    assert explain(error) is None


def test_explain_says_which_file_the_disk_has_no_room_for():
    error = OSError(errno.ENOSPC, "No space left on device", "/logs/run.json")
    # Python's logging wraps it, for one.
    assert explain(caused(ValueError("Unable to configure handler 'file'"), error)) == (
        "/logs/run.json cannot be written (No space left on device): free some space on that disk, "
        "or write elsewhere (paths.logs=DIR)"
    )


def test_run_folder_is_named_where_an_error_of_the_disk_names_no_file(monkeypatch):
    cfg = OmegaConf.create({"hydra": {"runtime": {"output_dir": "/logs/run"}}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)
    error = caused(RuntimeError("long story"), OSError(errno.EDQUOT, "Disk quota exceeded"))
    name_run_folder(error)
    assert explain(error).startswith("/logs/run cannot be written (Disk quota exceeded): make room")


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "x", "y")])
def test_of_the_disk_is_false_for_other_errors(error):
    assert not is_disk_error(error)


def test_of_the_disk_finds_the_error_among_the_causes():
    error = OSError(errno.ENOSPC, "No space left on device", "/store")
    assert is_disk_error(caused(FashionTransferError("cannot store features"), error))


def test_explain_puts_the_node_in_front_of_an_argument_that_instantiate_rejected():
    with pytest.raises(InstantiationException) as caught:
        instantiate(CONFIG.data)
    assert explain(caught.value) == "data.augmentation.zoom must be under 1, got 2"


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (TypeError("devices should be an int"), "trainer: devices should be an int (HYDRA_"),
        (KeyError("x"), "trainer: KeyError('x') (HYDRA_"),
        (AssertionError(), "Error in call to target 'Trainer': full_key: trainer (HYDRA_"),
    ],
)
def test_explain_puts_the_node_in_front_of_what_a_target_refuses(cause, message):
    error = InstantiationException("Error in call to target 'Trainer':\nfull_key: trainer")
    assert explain(caused(error, cause)).startswith(message)


def test_explain_leaves_an_argument_without_a_node_as_it_is():
    assert explain(ArgumentError("zoom", "must be under 1, got 2")) == "zoom must be under 1, got 2"


# ---- config_keys


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("mixup", "model.mixup"),
        ("head.name", "model.head.name"),
        ("threshold", "policy.threshold"),
        ("warned", "policy.threshold_target.warned"),
        ("images_per_class", "data.images_per_class"),
        ("trainer.max_epochs", "trainer.max_epochs"),
        ("unknown", "unknown"),
    ],
)
def test_config_keys_puts_the_node_in_front_that_has_the_argument(argument, key):
    nodes = ("model", "policy", "policy.threshold_target", "data", "absent")
    with pytest.raises(ArgumentError) as caught, config_keys(CONFIG, *nodes):
        raise ArgumentError(argument, "must be 1, got 2")
    assert explain(caught.value) == f"{key} must be 1, got 2"


def test_config_keys_takes_the_first_of_two_nodes():
    cfg = OmegaConf.create({"a": {"x": 1}, "b": {"x": 1}})
    with pytest.raises(ArgumentError, match=r"^b.x must"), config_keys(cfg, "b", "a"):
        raise ArgumentError("x", "must be 2, got 1")


def test_config_keys_leaves_other_errors_as_they_are():
    with pytest.raises(FashionTransferError) as caught, config_keys(CONFIG, "model"):
        raise FashionTransferError("mixup is broken")
    assert str(caught.value) == "mixup is broken"


# ---- hints


def test_with_hint_adds_the_keys_to_set():
    message = "cannot store features in /x (no space): choose another cache folder, for example"
    assert with_hint(message) == f"{message} (paths.cache=DIR)"


def test_with_hint_adds_no_key_that_the_message_names():
    message = "data.image_size must be a whole number from 32, got 16"
    assert with_hint(message) == message


def test_with_hint_leaves_other_messages_as_they_are():
    assert with_hint("no such file") == "no such file"


def literals() -> str:
    """All texts in the library's source, implicitly joined ones as one."""
    texts = []
    for path in SOURCE.rglob("*.py"):
        if path.is_relative_to(SOURCE / "commands"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
                texts.append("".join(str(getattr(part, "value", "")) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


@pytest.mark.parametrize("phrase", HINTS)
def test_every_hint_is_for_a_message_of_the_library(phrase):
    assert phrase in literals()


# ---- nearest

KEYS = [
    "seed",
    "data.batch_size",
    "data.dir",
    "model.mixup",
    "model.optimizer.lr",
    "trainer.max_epochs",
]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("data.batchsize", "data.batch_size"),
        ("model.lr", "model.optimizer.lr"),
        ("batch_sise", "data.batch_size"),
        ("epochs", "trainer.max_epochs"),
        ("model.no_such_entry", None),
        ("x", None),
    ],
)
def test_nearest_returns_the_key_that_was_meant(key, expected):
    assert nearest(key, KEYS) == expected


def test_unknown_key_lists_the_keys_of_its_node_where_none_is_near():
    message = unknown_key("data.x", KEYS)
    assert message == "there is no key data.x: use one of data.batch_size, data.dir"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("caf\udce9", r"'caf\udce9' is no UTF-8: give the file or folder another name"),
        ("jos\udcc3\udca9", r"'jos\xe9' is UTF-8: set PYTHONUTF8=1"),
    ],
)
def test_file_name_that_cannot_be_written_is_explained(name, message):
    with pytest.raises(UnicodeEncodeError) as caught:
        name.encode("utf-8")
    assert explain(caught.value).endswith(message)
