"""Serves the page of a checkpoint, until Ctrl-C."""

import logging
import signal

from omegaconf import DictConfig

from fashion_transfer.commands.inference import (
    checkpoint_path,
    choose_device,
    describe,
    load,
    move,
    use_packages,
)
from fashion_transfer.commands.schema import check_config
from fashion_transfer.page import build_page, launch
from fashion_transfer.page.environment import import_gradio
from fashion_transfer.page.guard import LOOPBACK

log = logging.getLogger(__name__)


def app(cfg: DictConfig) -> None:
    """Runs the page that `conf/app.yaml` describes.

    Args:
        cfg: the composed configuration.

    Raises:
        FashionTransferError: no checkpoint, no Gradio, or no such address.
    """
    check_config(cfg, "app")
    import_gradio()  # before the checkpoint is loaded, which takes longer
    device = choose_device(cfg.device)
    path = checkpoint_path(cfg)
    compile = cfg.model.backbone.compile
    classifier = load(cfg, path, compile=False if compile == "auto" else compile)
    move(classifier, device)
    if compile is not False:
        use_packages(cfg, classifier, single=True)
    if classifier.backbone.compiles(classifier.image_size):
        classifier.backbone.engine.try_compiling(classifier.image_size)
    log.info("predicting with %s", describe(path, classifier))
    page = build_page(
        classifier,
        checkpoint=path,
        flags=cfg.flags,
        max_pictures=cfg.max_pictures,
        max_megabytes=cfg.max_megabytes,
    )
    page.fashion_transfer.predictor.warm_up()
    # As Ctrl-C: what waits is deleted then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = launch(page, str(cfg.host), cfg.port)
    if str(cfg.host) not in LOOPBACK:
        log.warning(
            "everybody who can reach this machine can use the page: host=127.0.0.1 keeps it here"
        )
    print(f"open {server.url} in a browser; Ctrl-C ends it", flush=True)
    server.wait()
    print("closed")
