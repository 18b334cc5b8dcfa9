"""The generated parts of docs/."""

import pytest

from fashion_transfer.commands import docs_pages
from fashion_transfer.commands.docs_pages import Key, configuration_page, read_keys, results_page
from fashion_transfer.errors import FashionTransferError

TEXT = """\
defaults:
  - head: mlp                # of the classifier
  - backbone: resnet50
  - _self_

_target_: package.Class
lr: 0.1                      # above 0
name: ""                     # empty: none
reference: null              # a checkpoint to
                             # compare with

# Any of torch's.
# With its arguments.
scheduler:                   # null: none
  _target_: torch.Schedule
  inner:
    share: 0.3               # of the steps
  last: 1
pool: [layer2@2, layer3]     # nodes
"""


def test_read_keys_gives_names_values_and_comments_in_order():
    assert list(read_keys(TEXT, "model")) == [
        Key("head", "mlp", "of the classifier", is_choice=True),
        Key("backbone", "resnet50", "", is_choice=True),
        Key("model._target_", "package.Class", ""),
        Key("model.lr", "0.1", "above 0"),
        Key("model.name", '""', "empty: none"),
        Key("model.reference", "null", "a checkpoint to compare with"),
        Key("model.scheduler", "", "null: none. Any of torch's. With its arguments."),
        Key("model.scheduler._target_", "torch.Schedule", ""),
        Key("model.scheduler.inner", "", ""),
        Key("model.scheduler.inner.share", "0.3", "of the steps"),
        Key("model.scheduler.last", "1", ""),
        Key("model.pool", "[layer2@2, layer3]", "nodes"),
    ]


def test_read_keys_without_prefix_has_plain_names():
    assert [key.name for key in read_keys("a: 1\nb:\n  c: 2\n")] == ["a", "b", "b.c"]


@pytest.fixture
def conf(tmp_path):
    """A folder of configuration files, with one in every part of the page that differs."""
    conf = tmp_path / "conf"
    for command in docs_pages.COMMANDS:
        conf.mkdir(exist_ok=True)
        (conf / f"{command}.yaml").write_text(f"# python {command}.py.\n\nseed: 0  # of all\n")
    (conf / "model" / "head").mkdir(parents=True)
    (conf / "model" / "default.yaml").write_text(f"# A model.\n\n{TEXT}")
    (conf / "experiment").mkdir()
    (conf / "experiment" / "fast.yaml").write_text(
        "# @package _global_\n# A faster run:\n#   python train.py\n\ndata:\n  size: 1\n"
    )
    return conf


def test_configuration_page_has_a_table_per_file(conf):
    page = configuration_page(conf)
    assert "## train.py\n\npython train.py.\n\n| key | default | meaning |" in page
    assert "| `seed` | `0` | of all |" in page
    assert (
        "### conf/model/default.yaml\n\nA model.\n\nGives the arguments of `package.Class`." in page
    )
    assert "| `model/head` | `mlp` | of the classifier |" in page
    assert "| `model/backbone` | `resnet50` | a file of conf/model/backbone |" in page
    assert "(arguments of `torch.Schedule`) |" in page
    assert "| `model.scheduler.last` | `1` |  |" in page


def test_configuration_page_leaves_out_what_is_no_setting(conf):
    page = configuration_page(conf)
    assert "_target_" not in page
    assert "`model.scheduler.inner`" not in page


def test_configuration_page_shows_experiments_as_they_are(conf):
    page = configuration_page(conf)
    introduction = (
        "### conf/experiment/fast.yaml\n\nA faster run:\n\n```text\npython train.py\n```\n\n"
    )
    assert f"{introduction}```yaml\ndata:\n  size: 1\n```" in page
    assert "@package" not in page


def test_results_page_has_the_tables_between_its_markers(tmp_path):
    (tmp_path / "results.md").write_text("| a table |\n")
    page = results_page("before\n<!-- results:begin -->\n<!-- results:end -->\nafter\n", tmp_path)
    assert page == (
        "before\n<!-- results:begin -->\n\n| a table |\n\n<!-- results:end -->\nafter\n"
    )
    assert results_page(page, tmp_path) == page


def test_results_page_without_markers_is_an_error(tmp_path):
    (tmp_path / "results.md").write_text("")
    with pytest.raises(FashionTransferError, match="results:begin"):
        results_page("no markers", tmp_path)


def test_main_writes_pages_and_pictures(conf, tmp_path, monkeypatch):
    monkeypatch.setattr(docs_pages, "ROOT", tmp_path)
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "docs" / "results.md").write_text("<!-- results:begin --><!-- results:end -->")
    for source in docs_pages.PICTURES:
        (tmp_path / source).parent.mkdir(exist_ok=True)
        (tmp_path / source).write_bytes(source.encode())
    (tmp_path / "results" / "results.md").write_text("| a table |")
    docs_pages.main()
    assert (tmp_path / "docs" / "configuration.md").read_text() == configuration_page(conf)
    assert "| a table |" in (tmp_path / "docs" / "results.md").read_text()
    for source, name in docs_pages.PICTURES.items():
        assert (tmp_path / "docs" / "images" / name).read_bytes() == source.encode()
