"""The precision in which the frozen backbone runs, chosen by what the hardware computes in."""

import torch

from fashion_transfer.errors import ArgumentError

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

INT8 = "int8"
"""The precision that OpenVINO alone computes in (see `openvino_engine`)."""


def check_precision(precision: str) -> str:
    """Returns the name of a precision if it is "auto" or one of `PRECISIONS`.

    Raises:
        ArgumentError: it is not.
    """
    if precision == INT8:
        raise ArgumentError("precision", "int8 needs the engine openvino, or auto")
    if precision != "auto" and precision not in PRECISIONS:
        names = ", ".join((*PRECISIONS, INT8))
        raise ArgumentError("precision", f"must be one of auto, {names}, got {precision!r}")
    return precision


def choose_precision(precision: str, device: torch.device) -> tuple[torch.dtype, str]:
    """Returns the precision to run in on a device, and the reason in a few words.

    Args:
        precision: "auto" or one of `PRECISIONS`. "auto" is bfloat16 (float16 on older GPUs)
            where the hardware computes in it, else float32: emulated bfloat16 is slower.
        device: where the backbone runs.

    Raises:
        ArgumentError: the name is not one of these.
    """
    if check_precision(precision) != "auto":
        return PRECISIONS[precision], "as requested"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "the GPU has bfloat16"
        return torch.float16, "the GPU has no bfloat16"
    if device.type == "mps":
        return torch.float16, "the GPU has float16"
    if _cpu_has_bfloat16():
        return torch.bfloat16, "the processor has bfloat16 instructions"
    return torch.float32, "the processor has no bfloat16 instructions"


def _cpu_has_bfloat16() -> bool:
    # Absent in older releases of torch, which then run in float32.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16")
    return any(bool(capabilities.get(name)) for name in names)
