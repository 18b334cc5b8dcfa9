import pytest

from fashion_transfer.reporting.plotting import save_figure
from fashion_transfer.reporting.search import history_figure, importance_figure, slices_figure


def test_history_shows_every_trial_and_the_best_so_far():
    finished = [(0, 0.5), (3, 0.6), (1, 0.4)]
    [axes] = history_figure(finished, [(2, 0.9), (4, float("nan"))], "val/loss", True).axes
    pruned, points, best = axes.get_lines()
    assert list(pruned.get_xdata()) == [2]
    assert list(points.get_xdata()) == [0, 1, 3]
    assert list(best.get_ydata()) == [0.5, 0.4, 0.4]


def test_history_of_a_maximised_metric_rises():
    [axes] = history_figure([(0, 0.5), (1, 0.4)], [], "val/accuracy", False).axes
    assert list(axes.get_lines()[-1].get_ydata()) == [0.5, 0.5]


def test_history_is_logarithmic_where_one_trial_would_hide_the_others():
    [axes] = history_figure([(0, 0.5), (1, 50.0)], [], "val/loss", True).axes
    assert axes.get_yscale() == "log"


def test_importance_has_a_bar_per_parameter():
    [axes] = importance_figure({"lr": 0.7, "dropout": 0.3}).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["dropout", "lr"]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_slices_have_a_plot_per_parameter(count, tmp_path):
    columns = {f"p{i}": [0.1, 0.2] for i in range(count)}
    figure = slices_figure(columns, [0.5, 0.4], "val/loss", {"p0": (0.01, 1.0)})
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in shown] == list(columns)
    assert shown[0].get_xscale() == "log"
    save_figure(figure, tmp_path / "slices.png")


def test_slices_take_no_value_for_a_formula(tmp_path):
    values = ["$a_to_$b", "x^{$a$"]
    save_figure(slices_figure({"p": values}, [0.5, 0.4], "val/loss", {}), tmp_path / "slices.png")


def test_slices_take_texts_and_numbers_together():
    figure = slices_figure({"head": ["mlp", None, True]}, [0.5, 0.4, 0.3], "val/loss", {})
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["mlp", "None", "True"]
