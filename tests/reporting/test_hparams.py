"""TensorBoard reads from a run what was written into it."""

from tensorboard.plugins.hparams import api_pb2, metadata

from fashion_transfer.reporting.hparams import columns_summary, end_summary, start_summary

PARAMETERS = {"data": "toy", "seed": 3, "rate": 0.5, "frozen": True}


def content(summary) -> bytes:
    [value] = summary.value
    assert value.metadata.plugin_data.plugin_name == "hparams"
    return value.metadata.plugin_data.content


def test_columns_are_typed_and_the_chosen_ones_come_first():
    summary = columns_summary(PARAMETERS, {"summary/val/loss": "val/loss"}, ["seed"])
    experiment = metadata.parse_experiment_plugin_data(content(summary))
    columns = {column.name: column for column in experiment.hparam_infos}
    assert {name: column.type for name, column in columns.items()} == {
        "data": api_pb2.DATA_TYPE_STRING,
        "seed": api_pb2.DATA_TYPE_FLOAT64,
        "rate": api_pb2.DATA_TYPE_FLOAT64,
        "frozen": api_pb2.DATA_TYPE_BOOL,
    }
    assert [name for name, column in columns.items() if column.differs] == ["seed"]
    [metric] = experiment.metric_infos
    assert (metric.name.tag, metric.display_name) == ("summary/val/loss", "val/loss")


def test_start_has_the_values():
    start = metadata.parse_session_start_info_plugin_data(content(start_summary(PARAMETERS)))
    values = start.hparams
    assert values["data"].string_value == "toy"
    assert values["seed"].number_value == 3
    assert values["frozen"].bool_value is True
    assert start.start_time_secs > 0


def test_end_is_a_success():
    end = metadata.parse_session_end_info_plugin_data(content(end_summary()))
    assert end.status == api_pb2.STATUS_SUCCESS
