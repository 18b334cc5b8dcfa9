"""The README's generated parts."""

import json

import pytest

from fashion_transfer.benchmarks import readme
from fashion_transfer.errors import FashionTransferError

MARKERS = "<!-- {0}:begin -->\n<!-- {0}:end -->\n"
METRIC = {"mean": 0.9, "spread": 0.01, "runs": [0.9]}


def results(**about) -> dict:
    row = {
        "name": "default",
        "title": "default",
        "seeds": 3,
        "command": "python train.py",
        "weights": "a.pth",
        "test/accuracy": METRIC,
        "test/macro_accuracy": METRIC,
        "test/accuracy/bag": METRIC,
        "test/ece": {"mean": 0.01, "spread": 0.0, "runs": [0.01]},
        "seconds": [100.0, 10.0, 12.0],
    }
    rows = [row, row | {"name": "mlp", "title": "not in the short table"}]
    weights = {"name": "a.pth", "sha256": "f" * 64, "licence": "MIT"}
    return {"rows": rows, "about": {"weights": weights} | about}


WARNINGS = {
    "warnings": {"test/warned": {"mean": 0.1, "reference": 0.2}},
    "descriptions": {"test/warned": "single test images: warned"},
}


def test_readme_gets_the_short_table_with_the_licence():
    text = readme.readme_text("top\n" + MARKERS.format("results") + "bottom\n", results())
    assert text.startswith("top\n")
    assert text.endswith("bottom\n")
    assert "| default | 90.00 ± 1.00 % |" in text
    assert "not in the short table" not in text
    assert "licence: MIT" in text


def test_readme_gets_the_table_of_warnings_if_it_was_measured():
    markers = MARKERS.format("results") + MARKERS.format("warnings")
    assert "| single" not in readme.readme_text(markers, results())
    text = readme.readme_text(markers, results(**WARNINGS))
    assert "| single test images: warned | 10.0 % | 20.0 % |" in text


def test_readme_text_does_not_change_when_it_is_generated_again():
    once = readme.readme_text(MARKERS.format("results"), results())
    assert readme.readme_text(once, results()) == once


def test_readme_without_markers_is_refused():
    with pytest.raises(FashionTransferError, match="results:begin"):
        readme.readme_text("no markers\n", results())


def test_readme_command_updates_the_file(tmp_path):
    path, source = tmp_path / "README.md", tmp_path / "results.json"
    path.write_text(MARKERS.format("results"))
    source.write_text(json.dumps(results()))
    readme.main(str(path), str(source))
    assert "| default |" in path.read_text()


def test_readme_command_names_a_missing_file(tmp_path):
    source = tmp_path / "results.json"
    source.write_text(json.dumps(results()))
    with pytest.raises(SystemExit, match="error: .*README.md cannot be read"):
        readme.main(str(tmp_path / "README.md"), str(source))
