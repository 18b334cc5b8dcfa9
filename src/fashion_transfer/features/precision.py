"""In which precision the frozen backbone runs, chosen from what the processor has."""

import torch

from fashion_transfer.errors import FashionTransferError

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def choose_precision(precision: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The precision to run in on a device, and why.

    Args:
        precision: "auto" or one of `PRECISIONS`. "auto" is bfloat16 (float16 on older GPUs)
            where the hardware computes in it, else float32: emulated bfloat16 is slower.
        device: where the backbone runs.

    Returns:
        The dtype and the reason in a few words.

    Raises:
        FashionTransferError: the name is not one of these.
    """
    if precision != "auto":
        if precision not in PRECISIONS:
            raise FashionTransferError(
                f"model.backbone.precision is {precision!r}: it must be auto, "
                f"{', '.join(PRECISIONS)}"
            )
        return PRECISIONS[precision], "as asked"
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
