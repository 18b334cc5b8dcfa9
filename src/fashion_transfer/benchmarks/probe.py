"""Measures one revision of this project from within: run as a script, by `compare`.

    python probe.py TASK.json

It imports the revision that PYTHONPATH names, version 0.1.0 or a later one, and nothing of the
package it lies in. The task is a JSON object; the result is a file of NumPy arrays by name:

    pixels       digests of the backbone's inputs at a small size, whole inputs of some images,
                 rows and labels
    features     of some images, freshly computed
    trained      tensors of checkpoints, logits of the test images
"""

import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are no top-level ones

import numpy as np
import torch

CHUNK = 256
CPU = torch.device("cpu")
UNLABELLED = ("multi_item/", "out_of_distribution/")
"""Beginnings of the names of sets whose labels are no class, and are not read."""

Arrays = dict[str, np.ndarray]


class ImageSet(NamedTuple):
    """The images of one data set or evaluation set.

    Attributes:
        rows: int64, (N,), in the source.
        source_size: images in the source.
        labels: int64, (N,).
        inputs: the backbone's input for (view, rows, device): float32, (B, C, S, S).
    """

    rows: np.ndarray
    source_size: int
    labels: np.ndarray
    inputs: Callable[[int, np.ndarray, torch.device], torch.Tensor]


class CurrentApi:
    """The API after version 0.1.0."""

    def image_sets(self, datamodule: Any, images_per_set: int) -> dict[str, ImageSet]:
        """The sets of a datamodule after `setup`, by name."""
        evaluation = importlib.import_module("fashion_transfer.evaluation")
        datasets = {"training": datamodule.train_set, "validation": datamodule.val_set}
        datasets |= {dataset.split.name: dataset for dataset in datamodule.synthetic_sets}
        datasets |= evaluation.evaluation_sets(datamodule, images_per_set)
        return {
            name: ImageSet(d.split.rows, len(d.split.images), d.split.labels, d.inputs)
            for name, d in datasets.items()
            if d is not None
        }

    def test_logits(self, classifier: Any, datamodule: Any) -> torch.Tensor:
        """Logits of the test images, (N, C) or (N, C + 1)."""
        batches = [classifier.outputs(batch)[0] for batch in datamodule.test_dataloader()]
        return torch.cat(batches)

    def tensor_name(self, name: str) -> str:
        """Today's name of a checkpoint's tensor."""
        return name.removeprefix("classifier.")


class ApiOfV010:
    """The API of version 0.1.0; names are given in today's terms."""

    GROUPS = {"multi": "multi_item", "unfamiliar": "out_of_distribution"}
    TENSORS = {"calibrator.familiar": "calibrator.ood_limit"}

    def image_sets(self, datamodule: Any, images_per_set: int) -> dict[str, ImageSet]:
        """As of `CurrentApi`."""
        real = {"training": datamodule.train_set, "validation": datamodule.val_set}
        real["test"] = datamodule.test_set
        sets = {
            name: ImageSet(
                dataset.indices,
                len(dataset.split.labels),
                dataset.split.labels[dataset.indices],
                partial(self._inputs, dataset, datamodule.image_size),
            )
            for name, dataset in real.items()
            if dataset is not None and len(dataset)
        }
        synthetic = {dataset.key["view"]: dataset for dataset in datamodule.made_sets}
        for name, dataset in datamodule.kinds(images_per_set).items():
            group, _, rest = name.partition("/")
            synthetic[f"{self.GROUPS.get(group, group)}/{rest}"] = dataset
        source_size = importlib.import_module("fashion_transfer.data.made").MOST
        for name, dataset in synthetic.items():
            inputs = partial(self._synthetic_inputs, dataset)
            sets[name] = ImageSet(np.arange(len(dataset)), source_size, dataset.labels, inputs)
        return sets

    def test_logits(self, classifier: Any, datamodule: Any) -> torch.Tensor:
        """As of `CurrentApi`."""
        return torch.cat([classifier.logits(batch) for batch in datamodule.test_dataloader()])

    def tensor_name(self, name: str) -> str:
        """As of `CurrentApi`."""
        return self.TENSORS.get(name, name).replace("tail.stage.", "stages.stages.network.layer4.")

    @staticmethod
    def _inputs(
        dataset: Any, size: int, view: int, rows: np.ndarray, device: torch.device
    ) -> torch.Tensor:
        views = importlib.import_module("fashion_transfer.data.views")
        pixels = torch.from_numpy(dataset.split.images[rows]).to(device)
        matrices = None
        if view:
            numbers = np.full(len(rows), view)
            seed = dataset.view_seed
            matrices = views.view_matrices(rows, numbers, dataset.augmentation, seed)
        rendered: torch.Tensor = views.render(pixels, size, matrices)
        return rendered

    @staticmethod
    def _synthetic_inputs(
        dataset: Any, view: int, rows: np.ndarray, device: torch.device
    ) -> torch.Tensor:
        rendered: torch.Tensor = dataset.render(rows, device)
        return rendered


Api = CurrentApi | ApiOfV010


def pixels(api: Api, config: Any, task: Mapping[str, Any]) -> Arrays:
    """Rows and labels, digests of all images at a small size, and whole inputs of some."""
    arrays: Arrays = {}
    views = [0] if config.data.views == 1 else [0, 1]
    for name, images in _image_sets(api, config, task, image_size=task["small_size"]).items():
        arrays[f"rows/{name}"] = images.rows
        if not name.startswith(UNLABELLED):
            arrays[f"labels/{name}"] = images.labels
        if task["all_images"]:
            chunks = np.split(images.rows, range(CHUNK, len(images.rows), CHUNK))
            digests = [_digests(images.inputs(0, rows, CPU)) for rows in chunks]
            arrays[f"small/{name}"] = np.concatenate(digests)
    for name, images in _image_sets(api, config, task).items():
        for view in views if name == "training" else [0]:
            inputs = images.inputs(view, images.rows[: task["count"]], CPU)
            arrays[f"whole/{name}{f', view {view}' * bool(view)}"] = inputs.numpy()
    return arrays


def features(api: Api, config: Any, task: Mapping[str, Any]) -> Arrays:
    """Features of the first images of each set, computed in a store of their own."""
    instantiate = importlib.import_module("hydra.utils").instantiate
    package = importlib.import_module("fashion_transfer.features")
    backbone = instantiate(config.model.backbone)
    extractor = package.Extractor(backbone, package.FeatureStore(task["scratch"]), CPU)
    arrays: Arrays = {}
    for name, images in _image_sets(api, config, task).items():
        rows = images.rows[: task["count"]]
        key = {"compared": name, "image_size": config.data.image_size}
        table = extractor(key, images.source_size, rows, partial(images.inputs, 0), name)
        arrays[name] = table.gather(rows).numpy()
    return arrays


def trained(api: Api, config: Any, task: Mapping[str, Any]) -> Arrays:
    """Tensors of a run's checkpoints, and logits of the test images of the first of these."""
    instantiate = importlib.import_module("hydra.utils").instantiate
    package = importlib.import_module("fashion_transfer.features")
    models = importlib.import_module("fashion_transfer.models")
    arrays: Arrays = {}
    for path in map(Path, task["checkpoints"]):
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        for name, tensor in state.items():
            arrays[f"{path.stem}/{api.tensor_name(name)}"] = tensor.numpy()
    classifier = models.load_classifier(task["checkpoints"][0], compile="auto")
    extractor = package.Extractor(classifier.backbone, package.FeatureStore(), CPU)
    datamodule = instantiate(config.data, extractor=extractor)
    datamodule.setup("test")
    with torch.no_grad():
        arrays["test logits"] = api.test_logits(classifier, datamodule).numpy()
    return arrays


TASKS: dict[str, Callable[[Api, Any, Mapping[str, Any]], Arrays]] = {
    task.__name__: task for task in (pixels, features, trained)
}


def main(path: str) -> None:
    """Runs the task that a JSON file describes.

    Its entries are `task`, `root` (of the checkout), `overrides` (of `train.py`, with the keys
    of this revision), `output`, and those of the task.
    """
    task = json.loads(Path(path).read_text())
    root = Path(task["root"])
    package = importlib.import_module("fashion_transfer")
    if package.__file__ is None or not Path(package.__file__).is_relative_to(root):
        sys.exit(f"error: imported {package.__file__}, not the package in {root}")
    hydra = importlib.import_module("hydra")
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = hydra.compose("train", task["overrides"])
    first = not (root / "src" / "fashion_transfer" / "evaluation").is_dir()
    api: Api = ApiOfV010() if first else CurrentApi()
    np.savez(task["output"], **TASKS[task["task"]](api, config, task))  # type: ignore[arg-type]


def _image_sets(
    api: Api, config: Any, task: Mapping[str, Any], **options: Any
) -> dict[str, ImageSet]:
    datamodule = importlib.import_module("hydra.utils").instantiate(config.data, **options)
    datamodule.setup()
    return api.image_sets(datamodule, task["images_per_set"])


def _digests(inputs: torch.Tensor) -> np.ndarray:
    digests = [hashlib.blake2b(one.numpy().tobytes(), digest_size=8).digest() for one in inputs]
    return np.frombuffer(b"".join(digests), np.uint64)


if __name__ == "__main__":
    main(sys.argv[1])
