"""The schema behind `conf/`: what it covers, and what it says."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import pytest
from composed import CONF, CONFIGS, composed
from pydantic import Field

from fashion_transfer.commands.schema.check import check_node, field_type
from fashion_transfer.commands.schema.configs import CONFIGS as SCHEMAS
from fashion_transfer.commands.schema.nodes import MAX_ROWS
from fashion_transfer.commands.schema.rules import TARGETS, check_training, remarks
from fashion_transfer.commands.schema.targets import arguments_of
from fashion_transfer.commands.schema.types import Fraction, PathName, Positive, Whole, words
from fashion_transfer.data import ClothingDataModule
from fashion_transfer.models.checkpoint import FROM_CHECKPOINT
from fashion_transfer.synthetic import images as synthetic_images


@pytest.fixture(autouse=True)
def run_name(monkeypatch):
    monkeypatch.setenv("FASHION_TRANSFER_RUN", "now")


# ---- the schema


POSSIBLE = [c for c in CONFIGS if c[1] != "policy=from_checkpoint"]  # it is for other commands


@pytest.mark.parametrize(("command", "override"), POSSIBLE)
def test_schema_has_a_field_for_every_key_and_accepts_its_value(command, override):
    config = composed(command, override)
    if command == "evaluate":
        assert config["data"].pop("image_size") == FROM_CHECKPOINT
    check_node(config, SCHEMAS[command], lambda group: [])
    if override not in NEEDS_ANOTHER_KEY and command == "train":
        check_training(config)
    assert list(keys_without_field(config, SCHEMAS[command])) == []


NEEDS_ANOTHER_KEY = {"model/optimizer=lbfgs": "model.mixup=0"}


def keys_without_field(config: Any, annotation: Any, key: str = "") -> Iterator[str]:
    for name, value in config.items():
        own = field_type(annotation, config, name)
        # Arguments of callbacks and loggers are checked against their signatures alone.
        if own is None and not key.startswith(("callbacks.", "logger.")):
            yield f"{key}{name}"
        elif isinstance(value, Mapping) and own is not None:
            yield from keys_without_field(value, own, f"{key}{name}.")


@pytest.mark.parametrize(("override", "needed"), NEEDS_ANOTHER_KEY.items())
def test_choice_that_needs_another_key_is_possible_with_it(override, needed):
    check_training(composed("train", override, needed))


@pytest.mark.parametrize("group", TARGETS)
def test_schema_knows_the_target_of_every_file_of_a_group(group):
    files = {file.stem for file in (CONF / group).glob("*.yaml")} - {"none"}
    assert files == set(TARGETS[group])
    for file, target in TARGETS[group].items():
        node = group.partition("/")[2]
        assert composed("train", f"{group}={file}")["model"][node]["_target_"] == target


def test_schema_has_the_limits_of_the_code():
    assert MAX_ROWS == synthetic_images.MAX_ROWS


# ---- words


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Whole, "a whole number from 0"),
        (Positive | None, "a whole number from 1, or null"),
        (Literal["all"] | Positive, "a whole number from 1, or all"),
        (Fraction, "a number from 0 to 1"),
        (Annotated[float, Field(gt=0, lt=1)], "a number above 0 to under 1"),
        (bool, "true or false"),
        (Literal["min", "max"], "one of min, max"),
        (PathName, "a path"),
        (Annotated[list[Whole], Field(min_length=2, max_length=2)], "a list, each of it a whole"),
    ],
)
def test_words_say_what_a_type_takes(annotation, expected):
    assert words(annotation).startswith(expected)


# ---- arguments of targets


def test_arguments_of_a_class_include_those_of_the_base_class_it_passes_options_to():
    names, is_open = arguments_of(ClothingDataModule)
    assert {"dir", "strict", "batch_size", "synthetic"} <= set(names)
    assert not is_open


def test_arguments_of_a_function_with_any_options_are_open():
    def target(a, *, b=1, **options):
        return a, b, options

    assert arguments_of(target) == (["a", "b"], True)


# ---- what has no effect


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["data.augmentation.zoom=0.1"], "data.augmentation.zoom=0.1"),
        (["model.trainable_stage_lr=0.1"], "model.trainable_stage_lr"),
    ],
)
def test_remarks_name_a_key_without_effect(overrides, key):
    [remark] = remarks(composed("train", *overrides))
    assert remark.startswith(f"{key} has no effect")


@pytest.mark.parametrize("overrides", [[], ["experiment=notebook"], ["experiment=finetune"]])
def test_remarks_are_none_for_what_has_an_effect(overrides):
    assert remarks(composed("train", *overrides)) == []
