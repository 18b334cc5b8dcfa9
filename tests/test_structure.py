"""How the source is built: no circles, no upward imports, no private words, nothing too large."""

from pathlib import Path

from fashion_transfer.benchmarks import structure

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE_LINES = 300
MAX_CLASS_LINES = 200
MAX_TEST_LINES = 500


def test_there_are_no_import_circles():
    assert structure.import_circles() == []


def test_no_import_goes_against_the_layers():
    assert structure.upward_imports() == []


def test_every_package_has_its_layer():
    packages = {path.parent.name for path in structure.SOURCE.glob("*/__init__.py")}
    assert packages <= set(structure.MAY_IMPORT)


def test_no_name_in_the_source_is_a_private_word():
    assert structure.private_words() == []


def test_no_configuration_key_is_a_private_word():
    assert structure.private_keys(ROOT / "conf") == []


def test_no_source_file_is_too_long():
    assert [s for s in structure.file_sizes() if s.lines > MAX_FILE_LINES] == []


def test_no_class_is_too_long():
    assert [s for s in structure.class_sizes() if s.lines > MAX_CLASS_LINES] == []


def test_no_test_file_is_too_long():
    sizes = structure.file_sizes(ROOT / "tests")
    assert [s for s in sizes if s.lines > MAX_TEST_LINES] == []
