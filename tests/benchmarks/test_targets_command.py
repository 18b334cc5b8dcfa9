"""`make targets`: what is asked for beside what was measured."""

import json
from pathlib import Path

import pytest

from fashion_transfer.benchmarks import structure, targets
from fashion_transfer.benchmarks.guide import code_of
from fashion_transfer.benchmarks.recipes import RECIPES
from fashion_transfer.benchmarks.run_keys import run_key
from fashion_transfer.benchmarks.targets import MEASURES, Measured, Results, Target, read_targets
from fashion_transfer.errors import FashionTransferError

MACHINE = {"processor": "AMD EPYC", "cores": 2}
CONDITIONS = {"commit": "0123456789abcdef", "date": "2026-01-02", "machine": MACHINE}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A `results/` in which default, plain and notebook were measured."""
    rows = [
        {
            "name": name,
            "test/accuracy": {"mean": mean},
            "key": run_key(RECIPES[name], "sha") if name in RECIPES else "of other source",
        }
        | CONDITIONS
        for name, mean in (("default", 0.917), ("plain", 0.91), ("notebook", 0.83))
    ]
    warnings = {"test/warned": {"mean": 0.149}}
    about = CONDITIONS | {"weights": {"sha256": "sha"}, "warnings": warnings}
    (tmp_path / "results.json").write_text(json.dumps({"about": about, "rows": rows}))
    bench = [{"name": "cold", "value": 40.0, "speedup": 15.0}, {"name": "warm", "value": 38.0}]
    bench = [row | CONDITIONS for row in bench]
    (tmp_path / "bench.json").write_text(json.dumps({"rows": bench}))
    uploads = {"metrics": {"reported/photos/accuracy": {"mean": 0.61}}} | CONDITIONS
    (tmp_path / "uploads.json").write_text(json.dumps({"default": uploads}))
    compared = [
        {"differing": 0, "reason": ""},
        {"differing": 1, "reason": "documented"},
        {"differing": 3, "reason": ""},
    ]
    comparison = {"rows": compared, "base": {"name": "v0.1.0"}, "head": {"commit": "fedcba987654"}}
    (tmp_path / "compare.json").write_text(json.dumps(CONDITIONS | comparison))
    return tmp_path


@pytest.fixture
def few_modules(monkeypatch):
    """Has the structure be that of one module; `test_structure.py` reads all of them."""
    few = {m: path for m, path in structure.modules().items() if "benchmarks.targets" in m}
    monkeypatch.setattr(structure, "modules", lambda source: few)


def measured(folder: Path, measure: str) -> Measured | None:
    target = Target(1, "x", "", "", (None, None), True, measure)
    return targets.measure(target, Results(folder))


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ("accuracy default", 0.917),
        ("gain default notebook", pytest.approx(0.087)),
        ("warning test/warned", 0.149),
        ("uploads reported/photos/accuracy", 0.61),
        ("bench cold", 40.0),
        ("bench cold speedup", 15.0),
        ("bench_gap cold warm", 2.0),
        ("differences", 1),
    ],
)
def test_results_are_read_with_commit_and_machine(folder, measure, value):
    measurement = measured(folder, measure)
    assert measurement is not None
    assert measurement.value == value
    assert "AMD EPYC" in measurement.source
    assert "2026-01-02" in measurement.source


def test_results_of_other_source_are_marked(folder):
    assert "measure again" not in measured(folder, "accuracy default").source
    assert "measure again" in measured(folder, "accuracy notebook").source


@pytest.mark.parametrize(
    "measure",
    [
        "",
        "accuracy mlp",
        "gain default mlp",
        "warning no/such",
        "uploads reported/pairs/warned",
        "bench sweep",
        "bench warm speedup",
        "guide_files No such section",
    ],
)
def test_missing_results_are_not_measured(folder, measure):
    assert measured(folder, measure) is None


@pytest.mark.parametrize(
    "measure", ["accuracy default", "bench cold", "differences", "warning test/warned"]
)
def test_empty_folder_has_no_results(tmp_path, measure):
    assert measured(tmp_path, measure) is None


@pytest.mark.parametrize(
    "measure", ["circles", "upward_imports", "private_words", "largest_class", "largest_file"]
)
def test_structure_is_counted_now(tmp_path, few_modules, measure):
    assert measured(tmp_path, measure).source == "now"


@pytest.mark.parametrize(
    ("bounds", "at_least", "value", "verdict"),
    [
        ((0.9, 0.92), True, 0.93, "aim"),
        ((0.9, 0.92), True, 0.9, "must"),
        ((0.9, 0.92), True, 0.89, "MISSED"),
        ((0.05, 0.01), False, 0.04, "must"),
        ((0.05, 0.01), False, 0.06, "MISSED"),
        ((0, None), False, 0, "holds"),
        ((0, None), False, 1, "MISSED"),
    ],
)
def test_value_reaches_aim_must_or_neither(bounds, at_least, value, verdict):
    assert Target(1, "x", "", "", bounds, at_least, "").holds(value) == verdict


def test_every_target_has_bounds_and_a_measure_that_exists():
    rows = read_targets()
    assert {row.issue for row in rows} >= {3, 4, 5, 11, 12, 13, 14, 15, 16, 17}
    for row in rows:
        assert row.must, row.what
        if row.measure:
            assert row.measure.split()[0] in MEASURES, row.what
            assert row.bounds[0] is not None, row.what


def test_table_is_printed_with_its_sources(folder, few_modules, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        targets.main(["--results", str(folder), "--issue", "4", "11"])
    assert ended.value.code == 1  # three undocumented differences
    out = capsys.readouterr().out
    assert "default: test accuracy" in out
    assert "≥ 0.9 " in out
    assert "0.917" in out
    assert "AMD EPYC" in out
    assert "MISSED: " in out
    assert "clothing" not in out


def test_guide_is_counted_by_file(tmp_path):
    guide = tmp_path / "CONTRIBUTING.md"
    guide.write_text(
        "### A head\n\n`src/a.py`:\n\n```python\nx = 1\n\ny = 2\n```\n\nIn `src/b.py`:\n\n"
        "```diff\n+z = 3\n```\n\n```\nmake test\n```\n\n### Other\n"
    )
    assert code_of("A head", guide) == {"src/a.py": 3, "src/b.py": 1}
    assert code_of("Other", guide) == {}
    with pytest.raises(FashionTransferError, match="no section ### A metric"):
        code_of("A metric", guide)
