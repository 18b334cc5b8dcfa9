"""Labels image files: a table, an annotated gallery and a CSV file."""

import logging
from collections.abc import Sequence
from pathlib import Path

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from fashion_transfer.commands.runs import interruptible, newest_checkpoint
from fashion_transfer.data import PhotoDataset, find_images
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import load_classifier
from fashion_transfer.reporting import Answer, draw_gallery, print_answers, write_answers

log = logging.getLogger(__name__)


def predict(cfg: DictConfig, paths: Sequence[str] = ()) -> None:
    """One prediction run as `conf/predict.yaml` describes it.

    Args:
        cfg: the composed configuration.
        paths: files and folders, beside those in `cfg.input`.

    Raises:
        FashionTransferError: no image, no checkpoint, or no file could be read.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not isinstance(cfg.batch_size, int) or cfg.batch_size < 1:
        raise FashionTransferError(f"batch_size is {cfg.batch_size!r}: it must be at least 1")
    given = [cfg.input] if isinstance(cfg.input, str) else list(cfg.input or [])
    files = find_images([*paths, *map(str, given)])
    path = cfg.ckpt_path or newest_checkpoint(Path(cfg.paths.logs))
    log.info("predicting %d images with %s", len(files), path)
    classifier = load_classifier(path, **cfg.policy, **cfg.model.backbone)
    photos = PhotoDataset(files, classifier.image_size)
    loader = DataLoader(photos, batch_size=cfg.batch_size)
    trainer: L.Trainer = instantiate(cfg.trainer)
    with interruptible(trainer):
        batches = trainer.predict(classifier, loader)
    assert batches is not None
    predictions = [prediction for batch in batches for prediction in batch]
    answers = [
        Answer(file, prediction, photos.errors.get(position, ""))
        for position, (file, prediction) in enumerate(zip(files, predictions, strict=True))
    ]
    write_answers(answers, folder / "predictions.csv")
    draw_gallery(answers, folder / "gallery.png")
    print_answers(answers)
    print(f"written: {folder / 'predictions.csv'} and {folder / 'gallery.png'}")
    if all(answer.error for answer in answers):
        raise FashionTransferError(
            f"none of {len(answers)} files could be read, such as {answers[0].path}: "
            f"{answers[0].error}"
        )
