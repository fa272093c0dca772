"""Keep off the log what libraries say about themselves when they are imported."""

import logging

__all__ = ["hush_libraries"]

# diffusers imports torchao where it is installed, whether it is used or not; torchao then warns of
# kernels for other devices, and of changes in torch that only its makers can follow.
_CHATTY = ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer")


def hush_libraries() -> None:
    """Have those loggers report errors alone; what was set to be quieter stays so."""
    for name in _CHATTY:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.ERROR))
