"""Results of many recipes: tables, the section of the README, and the figure."""

import pytest

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting import (
    CostPoint,
    print_results,
    readme_section,
    replace_between_markers,
    results_figure,
    results_markdown,
    save_figure,
    warning_summary,
)

ABOUT = {
    "commit": "0123456789abcdef" * 2 + "01234567+",
    "weights": {
        "name": "resnet50-mine.pth",
        "sha256": "fedcba9876543210" * 4,
        "licence": "CC BY-NC 4.0",
    },
    "machine": {"processor": "", "cores": 2},
    "torch": "2.9.0",
}


def metric(mean: float, spread: float = 0.0) -> dict:
    return {"mean": mean, "spread": spread, "runs": [mean]}


def row(name: str = "default", title: str = "default", **changes) -> dict:
    values = {
        "name": name,
        "title": title,
        "seeds": 3,
        "command": f"python train.py experiment={name}",
        "weights": "resnet50-mine.pth",
        "test/accuracy": metric(0.8642, 0.0012),
        "test/macro_accuracy": metric(0.8631),
        "test/accuracy/t_shirt_top": metric(0.604),
        "test/accuracy/bag": metric(0.98),
        "test/accuracy/coat": metric(0.81),
        "test/ece": metric(0.0312),
        "seconds": [458.4, 5.0, 9.0],
    }
    return values | changes


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# ---- Markdown


def test_results_markdown_has_a_row_per_recipe_with_its_command():
    rows = [row(), row("few_10", "10 images per class")]
    heading, rule, *body = cells(results_markdown(rows, ABOUT))
    assert heading == [
        "recipe",
        "accuracy",
        "macro",
        "worst class",
        "ECE",
        "first run, s",
        "next, s",
        "command",
    ]
    assert set("".join(rule)) <= set("-: ")
    assert [line[0] for line in body] == ["default", "10 images per class"]
    assert [line[-1] for line in body] == [f"`{r['command']}`" for r in rows]
    assert {len(line) for line in (heading, rule, *body)} == {8}


def test_a_row_shows_mean_and_spread_worst_class_calibration_and_seconds():
    _, _, line = cells(results_markdown([row()], ABOUT))
    numbers = ["86.42 ± 0.12 %", "86.3 %", "t shirt top 60.4 %", "0.031", "458", "7"]
    assert line[1:-1] == numbers


def test_every_row_has_its_own_worst_class():
    other = row("b", "b", **{"test/accuracy/bag": metric(0.5)})
    _, _, first, second = cells(results_markdown([row(), other], ABOUT))
    assert (first[3], second[3]) == ("t shirt top 60.4 %", "bag 50.0 %")


def test_a_row_without_accuracies_per_class_has_no_worst_class():
    plain = {name: value for name, value in row().items() if not name.startswith("test/accuracy/")}
    _, _, line = cells(results_markdown([plain], ABOUT))
    assert line[3] == "–"


def test_one_seed_is_marked_and_has_no_spread_and_no_later_run():
    text = results_markdown([row(seeds=1, seconds=[458.4])], ABOUT)
    _, _, line = cells(text)
    assert line[0] == "default (1 seed)"
    assert line[1] == "86.42 %"
    assert line[-2] == ""
    assert "over 1 seed, if" in text


def test_results_markdown_names_weights_licence_commit_and_machine():
    text = results_markdown([row()], ABOUT)
    for words in (
        "`resnet50-mine.pth`",
        "fedcba9876543210",
        "licence: CC BY-NC 4.0.",
        "`0123456789ab`",
        "over 3 seeds",
        "torch 2.9.0",
        "2 cores",
    ):
        assert words in text
    assert "Other weights" not in text
    assert text.endswith("\n")


def test_an_unknown_licence_is_left_out():
    weights = {name: value for name, value in ABOUT["weights"].items() if name != "licence"}
    assert "licence" not in results_markdown([row()], ABOUT | {"weights": weights})


def test_rows_with_other_weights_are_named():
    rows = [row(), row("offline", "offline", weights="lite0.pth")]
    for text in (results_markdown(rows, ABOUT), readme_section(rows, ABOUT)):
        assert "Other weights: `lite0.pth` in the row offline." in text


def test_near_duplicates_are_reported_only_if_they_are_given():
    assert "nearly equal" not in results_markdown([row()], ABOUT)
    duplicates = {
        "correlation": 0.995,
        "test_images": 7,
        "accuracy": 0.8642,
        "accuracy_without": 0.8639,
    }
    text = results_markdown([row()], ABOUT | {"near_duplicates": duplicates})
    assert "at least 0.995): 7." in text
    assert "86.42% with them and 86.39% without" in text


def test_warnings_are_in_the_markdown_as_a_table_of_their_own():
    warnings = {"test/warned": {"mean": 0.1487, "reference": 0.1658}, "test/ece": {"mean": 0.0073}}
    descriptions = {"test/warned": "test images: warned", "test/ece": "test images: ECE"}
    summary = warning_summary(warnings, descriptions)
    assert cells(summary)[2:] == [
        ["test images: warned", "14.9 %", "16.6 %"],
        ["test images: ECE", "0.0073", ""],
    ]
    about = ABOUT | {"warnings": warnings, "descriptions": descriptions}
    assert results_markdown([row()], about).endswith("\n\n" + summary)


def test_warnings_of_the_best_experiment_have_a_column_where_they_were_measured():
    warnings = {"test/ece": {"mean": 0.0073, "best": 0.0061, "reference": 0.01}}
    header, _, line = cells(warning_summary(warnings, {"test/ece": "ECE"}))
    assert header == ["warnings", "default", "experiment=best", "reference rule"]
    assert line == ["ECE", "0.0073", "0.0061", "0.0100"]


def test_warning_summary_shows_only_rates_in_per_cent():
    names = ("multi_item/auroc", "test/ece_uncalibrated", "control/warned_over_single")
    text = warning_summary({name: {"mean": 0.25} for name in names}, dict.fromkeys(names, "x"))
    assert [line[1] for line in cells(text)[2:]] == ["0.2500", "0.2500", "25.0 %"]


def test_numbers_of_seeds_are_named_where_they_are_unusual():
    others = row("few", "few", seeds=5), row("knn", "k-NN", seeds=1, deterministic=True)
    text = results_markdown([row(), row("b", "b"), *others], ABOUT)
    assert [line[0] for line in cells(text)[2:]] == [
        "default",
        "b",
        "few (5 seeds)",
        "k-NN (deterministic)",
    ]
    assert "over 3 seeds, if" in text


def test_a_row_without_probabilities_has_no_calibration_error():
    svm = {name: value for name, value in row().items() if name != "test/ece"}
    assert cells(results_markdown([svm], ABOUT))[2][4] == "–"


def test_curves_and_ood_sets_have_tables_of_their_own_where_there_are_any():
    ood = {"out_of_distribution/noise/auroc": 0.98, "out_of_distribution/noise/fpr95": 0.05}
    text = results_markdown([row()], ABOUT | {"ood": ood}, {"ours": {10: row(), 500: row()}})
    lines = cells(text)
    assert ["images per class", "10", "500"] in lines
    assert ["ours", "86.4 ± 0.1", "86.4 ± 0.1"] in lines
    assert ["noise", "0.9800", "5.0"] in lines
    assert "images per class" not in results_markdown([row()], ABOUT)


def test_without_rows_there_is_a_heading():
    assert len(cells(results_markdown([], ABOUT))) == 2


# ---- README


def test_readme_section_is_a_short_table_with_weights_and_licence():
    rows = [row(), row("b", "b", seeds=1, seconds=[300.0])]
    text = readme_section(rows, ABOUT)
    heading, _, first, second = cells(text)
    assert heading == ["recipe", "accuracy", "ECE", "seconds, first / next run", "command"]
    assert first[:-1] == ["default", "86.42 ± 0.12 %", "0.031", "458 / 7"]
    assert second[:-1] == ["b (1 seed)", "86.42 %", "0.031", "300"]
    assert second[-1] == "`python train.py experiment=b`"
    assert "over 3 seeds" in text
    assert "CC BY-NC 4.0" in text


README = "# Title\n<!-- results:begin -->\nold\n<!-- results:end -->\nrest\n"


def test_replace_between_markers_changes_nothing_else():
    text = replace_between_markers(README, "results", "| new \\1 |\n")
    assert text == (
        "# Title\n<!-- results:begin -->\n\n| new \\1 |\n\n<!-- results:end -->\nrest\n"
    )
    assert replace_between_markers(text, "results", "| new \\1 |\n") == text


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("no markers", "results:begin"),
        ("<!-- results:begin -->", "results:end"),
        ("<!-- results:end --> <!-- results:begin -->", "results:end"),
        (README.replace("results", "costs"), "results:begin"),
    ],
)
def test_replace_between_markers_names_a_missing_marker(text, missing):
    with pytest.raises(FashionTransferError, match=f"no marker <!-- {missing} -->"):
        replace_between_markers(text, "results", "new")


# ---- the terminal


def test_results_are_printed_with_a_line_per_recipe(capsys):
    print_results([row(), row("few_10", "10 images per class")])
    out = capsys.readouterr().out
    for text in ("default", "10 images per class", "86.42 ± 0.12 %", "t shirt top 60.4 %", "458"):
        assert text in out


def test_printed_numbers_are_not_cut_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_results([row(title="experiment=a_name_that_needs_several_lines")])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "86.42 ± 0.12 %" in out
    assert "…" not in out


# ---- the figure


COSTS = [
    CostPoint(series, cost, row(f"{series}_{cost}", seeds=1, seconds=[9.0]))
    for series in ("last stage", "grids")
    for cost in (24_500, 400)
]


@pytest.mark.parametrize(
    ("rows", "costs", "panels"),
    [([row(), row("mlp", "512-unit head")], COSTS, 2), ([row()], [], 1), ([], [], 1)],
    ids=["both panels", "no costs", "nothing"],
)
def test_results_figure_has_the_panels_it_has_rows_for(
    rows, costs, panels, assert_texts_fit, tmp_path
):
    figure = results_figure(rows, costs)
    assert len(figure.axes) == panels
    assert_texts_fit(figure)
    save_figure(figure, tmp_path / "results.png")


def test_results_figure_shows_accuracy_in_per_cent_in_order():
    recipes, cost = results_figure([row()], COSTS).axes
    assert [label.get_text() for label in recipes.get_yticklabels()] == ["default"]
    assert recipes.lines[0].get_xdata().tolist() == pytest.approx([86.42])
    legend = [text.get_text() for text in cost.get_legend().get_texts()]
    assert legend == ["last stage", "grids"]
    assert cost.lines[0].get_xdata().tolist() == [400, 24_500]


def test_rows_of_another_commit_are_named_with_theirs():
    rows = [row(commit=ABOUT["commit"]), row("fast", "64 px", commit="f" * 40)]
    text = results_markdown(rows, ABOUT)
    assert f"Measured at another commit: 64 px (`{'f' * 12}`)." in text
    assert "another commit" not in results_markdown(rows[:1], ABOUT)
