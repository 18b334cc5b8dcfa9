import pytest

from fashion_transfer.reporting import draw_results, print_table, results_markdown

ABOUT = {
    "commit": "0123456789abcdef" * 2 + "01234567+",
    "weights": {"name": "resnet50-mine.pth", "sha256": "fedcba9876543210" * 4},
    "machine": {"processor": "", "cores": 2},
    "torch": "2.9.0",
}


def told(mean: float, spread: float = 0.0) -> dict:
    return {"mean": mean, "spread": spread, "runs": [mean]}


def row(name: str = "default", title: str = "default", **changes) -> dict:
    made = {
        "name": name,
        "title": title,
        "seeds": 3,
        "command": f"python train.py experiment={name}",
        "weights": "resnet50-mine.pth",
        "test/accuracy": told(0.8642, 0.0012),
        "test/macro_accuracy": told(0.8631),
        "test/accuracy/shirt": told(0.604),
        "test/ece": told(0.0312),
        "seconds": [458.4, 5.0, 9.0],
    }
    return made | changes


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def is_png(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 5000


# ---- Markdown


def test_markdown_has_a_row_a_recipe_with_its_command(wide_terminal):
    rows = [row(), row("few_10", "10 images a class")]
    heading, rule, *body = cells(results_markdown(rows, ABOUT))
    assert heading[0] == "recipe"
    assert heading[-1] == "command"
    assert set("".join(rule)) <= set("-: ")
    assert [line[0] for line in body] == ["default", "10 images a class"]
    assert [line[-1] for line in body] == [f"`{r['command']}`" for r in rows]
    assert {len(line) for line in (heading, rule, *body)} == {8}


def test_a_row_says_mean_and_spread_worst_class_calibration_and_seconds():
    _, _, line = cells(results_markdown([row()], ABOUT))
    assert line[1:-1] == ["86.42 ± 0.12 %", "86.3 %", "60.4 %", "0.031", "458", "7"]


def test_one_seed_has_no_spread_and_no_later_run_and_says_so():
    _, _, line = cells(results_markdown([row(seeds=1, seconds=[458.4])], ABOUT))
    assert line[0] == "default (1 seed)"
    assert line[1] == "86.42 %"
    assert line[-2] == ""


def test_markdown_names_weights_commit_and_machine():
    text = results_markdown([row()], ABOUT)
    assert "`resnet50-mine.pth`" in text
    assert "fedcba9876543210" in text
    assert "`0123456789ab`" in text
    assert "over 3 seeds" in text
    assert "torch 2.9.0" in text
    assert "2 cores" in text
    assert text.endswith("\n")


def test_near_duplicates_are_told_only_where_they_were_looked_for():
    assert "Near-duplicates" not in results_markdown([row()], ABOUT)
    found = {
        "correlation": 0.995,
        "test_images": 7,
        "accuracy": 0.8642,
        "accuracy_without": 0.8639,
    }
    text = results_markdown([row()], ABOUT | {"near_duplicates": found})
    assert "7 nearly equal one of the 5,000" in text
    assert "0.995" in text
    assert "86.42% with them and 86.39% without" in text


def test_without_rows_there_is_a_heading():
    assert len(cells(results_markdown([], ABOUT))) == 2


# ---- the terminal


def test_the_printed_table_has_a_line_a_recipe(capsys):
    print_table([row(), row("few_10", "10 images a class")])
    out = capsys.readouterr().out
    for text in ("default", "10 images a class", "86.42 ± 0.12 %", "60.4 %", "458"):
        assert text in out


# ---- the figure


COSTS = [
    row(f"cost_{size}_{name}_{views}", title=f"{size} px", seeds=1, seconds=[9.0])
    for size in (32, 64)
    for name in ("last stage", "grids")
    for views in (1, 2)
]


@pytest.mark.parametrize(
    "rows",
    [
        [row(), row("few_10", "10 images a class"), row("mlp", "512-unit head")],
        [row("mlp", "512-unit head")],
        [row(), *COSTS],
        [],
    ],
    ids=["quick rows", "no row of a curve", "with costs", "nothing"],
)
def test_the_figure_is_drawn_of_whatever_rows_there_are(rows, tmp_path):
    draw_results(rows, tmp_path / "results.png")
    assert is_png(tmp_path / "results.png")
    assert [file.name for file in tmp_path.iterdir()] == ["results.png"]


def test_a_figure_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "results.png"
    draw_results([row()], path)
    before = path.read_bytes()

    def fail(figure, target, **options):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_results([row()], path)
    assert path.read_bytes() == before
