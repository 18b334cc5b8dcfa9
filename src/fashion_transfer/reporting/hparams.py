"""What TensorBoard's HPARAMS tab reads from a run: its columns, and the run's values in them.

TensorBoard takes the columns from one run, the first that it finds, so all runs must write the same
ones (its issue 3371). `torch.utils.tensorboard` has a function for all this, but it makes a number
of a bool, gives texts no filter, and can write nothing before the run has ended.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any

FILTERED_BY_EXPRESSION = 10
"""From so many listed values on, TensorBoard filters a text by a regular expression; under it, by
ticks at the listed values, which would hide a run with another one."""


def columns_summary(
    parameters: Mapping[str, Any], metrics: Mapping[str, str], first: Collection[str] = ()
) -> Any:
    """Returns the summary that names the columns: typed hyperparameters, and metrics.

    Args:
        parameters: bool, int, float or str, by name; their values do not matter.
        metrics: heading of each metric by its tag; the first five are shown at once.
        first: hyperparameters that come first; the first five columns are shown at once.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata

    columns = [_column(name, value, name in first) for name, value in parameters.items()]
    headings = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=heading)
        for tag, heading in metrics.items()
    ]
    experiment = api_pb2.Experiment(hparam_infos=columns, metric_infos=headings)
    return _summary(metadata.EXPERIMENT_TAG, experiment=experiment)


def start_summary(parameters: Mapping[str, Any]) -> Any:
    """Returns the summary with the hyperparameters of a run that starts now.

    Args:
        parameters: bool, int, float or str, by name.
    """
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in parameters.items():
        field = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(start.hparams[name], field, value)
    return _summary(metadata.SESSION_START_INFO_TAG, session_start_info=start)


def end_summary() -> Any:
    """Returns the summary that says that a run has finished.

    There is none for a failed run: TensorBoard reads the first one of a folder only, and such a run
    may be continued.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _column(name: str, value: Any, comes_first: bool) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    # TensorBoard's columns of a sweep that it has read whole: what differs comes first.
    column = api_pb2.HParamInfo(name=name, differs=comes_first)
    if isinstance(value, bool):
        column.type = api_pb2.DATA_TYPE_BOOL
        column.domain_discrete.extend([False, True])
    elif isinstance(value, str):
        column.type = api_pb2.DATA_TYPE_STRING
        column.domain_discrete.extend([""] * FILTERED_BY_EXPRESSION)
    else:
        column.type = api_pb2.DATA_TYPE_FLOAT64
    return column


def _summary(tag: str, **content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
    )
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))
    return Summary(value=[value])
