"""The table of out-of-distribution sets."""

from fashion_transfer.reporting.ood import is_in_ood_table, ood_markdown, print_ood

METRICS = {
    "test/accuracy": 0.9,
    "out_of_distribution/warned": 0.97,
    "out_of_distribution/noise/warned": 1.0,
    "out_of_distribution/noise/auroc": 0.99996,
    "out_of_distribution/noise/fpr95": 0.0,
    "out_of_distribution/shuffled_patches/warned": 0.945,
    "out_of_distribution/shuffled_patches/auroc": 0.93216,
    "out_of_distribution/shuffled_patches/fpr95": 0.125,
}


def cells(text: str) -> list[list[str]]:
    lines = text.splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table_has_a_row_per_set_and_a_column_per_metric_that_is_there():
    header, _, *rows = cells(ood_markdown(METRICS))
    assert header == ["images", "warned, %", "AUROC", "FPR95, %"]
    assert rows == [
        ["noise", "100.0", "1.0000", "0.0"],
        ["shuffled patches", "94.5", "0.9322", "12.5"],
    ]


def test_table_shows_what_one_set_lacks_as_missing():
    more = METRICS | {"reference/out_of_distribution/noise/auroc_by_confidence": 0.5}
    header, _, first, second = cells(ood_markdown(more))
    assert header[-1] == "ref.: AUROC"
    assert (first[-1], second[-1]) == ("0.5000", "–")


def test_without_sets_there_is_no_table(capsys):
    assert ood_markdown({"test/accuracy": 0.9}) == ""
    print_ood({"test/accuracy": 0.9})
    assert capsys.readouterr().out == ""


def test_printed_table_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    more = {f"out_of_distribution/noise/{n}_by_confidence": 0.5 for n in ("auroc", "fpr95")}
    more |= {f"reference/{name}": value for name, value in more.items()}
    print_ood(METRICS | more)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "1.0000" in out
    assert "0.9322" in out


def test_metrics_of_single_sets_are_in_the_table_and_means_are_not():
    assert is_in_ood_table("out_of_distribution/noise/auroc")
    assert is_in_ood_table("reference/out_of_distribution/noise/fpr95_by_confidence")
    assert not is_in_ood_table("out_of_distribution/warned")
    assert not is_in_ood_table("multi_item/stacked/warned")
