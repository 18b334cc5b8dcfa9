"""The backbone through OpenVINO (extra `[openvino]`): on a CPU, in float32, bfloat16 or int8."""

import hashlib
import importlib
import logging
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.features.engine import Engine, check_image_size
from fashion_transfer.features.precision import INT8, choose_precision
from fashion_transfer.features.quantisation import Network, calibrated, read_quantised

log = logging.getLogger(__name__)

PASS_PIXELS = 2 * 224 * 224
"""Pixels of a pass. Larger ones are hardly faster, and one image pays for a whole one: in int8, a
pass of another size rounds other values to another of the 256 levels, so all have one size."""

HINTS = {"float32": "f32", "bfloat16": "bf16", INT8: "f32"}
"""What OpenVINO computes in, by precision. What int8 leaves in floats is float32 on every
processor, so that a head sees the features that it was trained on."""

_LOCK = threading.Lock()  # a compiled network takes one call at a time


class OpenVinoEngine(Engine):
    """Runs the stages of a backbone by OpenVINO, in passes of one size (see `Engine`).

    In int8 it runs a network that `calibrate` has quantised, or that `load_quantised` reads.

    Args:
        stages: see `Engine`.
        name: likewise.
        precision: "auto", "float32", "bfloat16" or "int8".
        compile: "auto" or False: torch compiles nothing here.
        image_size: see `Engine`.

    Raises:
        ArgumentError: an impossible value.
        FashionTransferError: OpenVINO is not installed.
    """

    runtime = "openvino"
    pass_pixels = PASS_PIXELS

    def __init__(
        self,
        stages: nn.Module,
        name: str,
        precision: str = "auto",
        compile: Literal["auto"] | bool = "auto",
        image_size: int | None = None,
    ) -> None:
        if compile is True:
            raise ArgumentError(
                "compile", "is for the engine torch, and this is openvino: leave it at auto"
            )
        if precision == "float16":
            raise ArgumentError(
                "precision",
                "must be auto, float32, bfloat16 or int8 for the engine openvino, got 'float16'",
            )
        openvino = import_openvino()
        in_floats = "auto" if precision == INT8 else precision
        super().__init__(stages, name, in_floats, compile, image_size)
        self.compile = False
        self.precision = precision
        self.versions = {"openvino": openvino.__version__.partition("-")[0]}
        self._folder = Path()  # of the quantised network
        self._compiled_networks: dict[tuple[int, ...], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_compiled_networks": {}}  # they cannot be pickled

    def to_device(self, device: torch.device | str) -> str:
        """Chooses the precision, whose name it returns. It is logged once, with the reason.

        Raises:
            FashionTransferError: the device is no CPU.
        """
        device = torch.device(device)
        if device.type != "cpu":
            raise FashionTransferError(
                f"the engine openvino runs on a CPU alone, got the device {device}: choose the CPU"
            )
        precision, reason = self._choose_precision()
        if self.device != device:
            self.device = device
            log.info("backbone %s by OpenVINO in %s: %s", self.name, precision, reason)
            if precision == INT8 and not _has_vnni():
                log.warning("this processor has no VNNI, so int8 may be slower than floats")
        return precision

    def runs_in(self) -> str:
        """Returns the name of the precision it computes in."""
        return self._choose_precision()[0]

    def compiles(self, image_size: int) -> bool:
        """Returns False: torch compiles nothing."""
        return False

    def calibrate(self, images: Tensor, key: Mapping[str, Any], folder: Path) -> None:
        """Quantises the network, unless one of this key and these images is cached.

        NNCF's post-training quantisation by its defaults: scales per channel of the weights and per
        tensor of the activations, whose ranges are those on the images.

        Args:
            images: float32, (N, 1 or 3, H, W), in [0, 1]: clean training images.
            key: all that determines the network in floats, JSON types.
            folder: for the network (see `quantised_dir`).

        Raises:
            FashionTransferError: NNCF is not installed, or the folder cannot be written.
        """
        nncf = import_nncf()
        check_image_size(images, self.image_size, self.name)
        rows = _three_channels(images)
        full_key = {
            "network": dict(key),
            "images": hashlib.sha256(rows.tobytes()).hexdigest(),
            "shape": rows.shape,
            "versions": self.versions | {"nncf": nncf.__version__, "torch": torch.__version__},
        }

        def quantise() -> Network:
            log.info("calibrating the int8 backbone on %d images (up to a minute)", len(rows))
            dataset = nncf.Dataset([row[None] for row in rows])
            return _serialise(
                nncf.quantize(self._convert(rows[:1].shape), dataset, subset_size=len(rows))
            )

        self.quantised, self._folder = calibrated(full_key, quantise, folder), folder
        self._compiled_networks.clear()

    def load_quantised(self, sha256: str, folder: Path) -> None:
        """Has int8 use a network that was calibrated before.

        Raises:
            FashionTransferError: it is not in the folder, or is damaged.
        """
        read_quantised(sha256, folder)
        self.quantised, self._folder = sha256, folder
        self._compiled_networks.clear()

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Computes all nodes of a batch, as `extract` does."""
        return self.extract(images)

    def _forward(self, images: Tensor) -> dict[str, Tensor]:
        rows = _three_channels(images)
        with _LOCK:
            if rows.shape not in self._compiled_networks:
                self._compiled_networks[rows.shape] = self._compile(rows.shape)
            outputs = self._compiled_networks[rows.shape](rows)
            nodes = [torch.from_numpy(np.array(outputs[i])) for i in range(len(outputs))]
        return dict(zip(self._nodes, nodes, strict=True))

    def _choose_precision(self) -> tuple[str, str]:
        if self.precision == INT8:
            return INT8, "as requested"
        dtype, reason = choose_precision(self.precision, torch.device("cpu"))
        return str(dtype).removeprefix("torch."), reason

    def _compile(self, shape: tuple[int, ...]) -> Any:
        """The network for inputs of one shape, on as many threads as torch has."""
        openvino, precision = import_openvino(), self.runs_in()
        if precision == INT8:
            if self.quantised is None:
                raise FashionTransferError(
                    "the int8 backbone is not calibrated: call Backbone.calibrate with training "
                    "images first"
                )
            xml, weights = read_quantised(self.quantised, self._folder)
            network = openvino.Core().read_model(xml, weights)
        else:
            network = self._convert(shape)
        network.reshape(shape)
        self._nodes = tuple(self.node_widths(shape[-1]))
        hint = HINTS[precision]
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
            "NUM_STREAMS": "1",  # one pass at a time
            "ENABLE_CPU_PINNING": "NO",  # two processes would share the first cores
        }
        compiled = openvino.Core().compile_model(network, "CPU", options)
        given = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if given != hint:
            raise FashionTransferError(
                f"OpenVINO does not compute in {precision} on this processor, but in {given}: use "
                "the precision float32"
            )
        return compiled

    def _convert(self, shape: tuple[int, ...]) -> Any:
        """The network in OpenVINO's format, for any number of images."""
        openvino = import_openvino()
        example, size = torch.zeros(1, *shape[1:]), openvino.PartialShape([-1, *shape[1:]])
        with warnings.catch_warnings():  # it traces, which torch has outdated
            warnings.simplefilter("ignore", FutureWarning)
            return openvino.convert_model(_Values(self.stages), example_input=example, input=size)


class _Values(nn.Module):
    """Stages whose nodes come as a tuple, in their order: OpenVINO loses names."""

    def __init__(self, stages: nn.Module) -> None:
        super().__init__()
        self.stages = stages
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.stages(images).values())


def import_openvino() -> Any:
    """Returns the package, which sends nothing to anybody.

    Raises:
        FashionTransferError: it is not installed.
    """
    return _imported("openvino")


def import_nncf() -> Any:
    """Returns the package, likewise.

    Raises:
        FashionTransferError: it is not installed.
    """
    nncf = _imported("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _imported(name: str) -> Any:
    # Both report each use to Google Analytics, unasked, by this package, and do without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FashionTransferError(
            f'the engine openvino needs {name}: pip install -e ".[openvino]", '
            "or use torch, in floats"
        ) from error


def _serialise(network: Any) -> Network:
    """The two files of a network."""
    with tempfile.TemporaryDirectory(prefix="fashion-transfer-") as folder:
        xml, weights = Path(folder, "network.xml"), Path(folder, "network.bin")
        import_openvino().serialize(network, str(xml), str(weights))
        return xml.read_bytes(), weights.read_bytes()


def _three_channels(images: Tensor) -> np.ndarray:
    rows: np.ndarray = images.expand(-1, 3, -1, -1).contiguous().numpy()
    return rows


def _has_vnni() -> bool:
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities.get("architecture") != "x86_64":
        return True  # others have products of int8 under other names, or are not known
    return any(capabilities.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
