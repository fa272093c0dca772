"""3-D convolutions by the faster of the exact ways that a machine has."""

import torch
from torch import Tensor, nn

__all__ = ["DirectConv3d", "convolve", "use_direct_convolutions"]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...] = (1, 1, 1)
) -> Tensor:
    """Convolve by oneDNN, without gradients and without padding.

    Args:
        x: [B, C, T, H, W] fp32 on the CPU; the result has its memory format.
        weight: [D, C, t, h, w].
        bias: [D].
        stride: along T, H and W.

    Returns:
        [B, D, T', H', W'].
    """
    result: Tensor = torch.ops.aten.mkldnn_convolution(
        x, weight, bias, (0, 0, 0), stride, (1, 1, 1), 1
    )
    return result


class DirectConv3d(nn.Conv3d):
    """A 3-D convolution that always takes oneDNN's kernel on the CPU in fp32.

    For one sample with few channels, frames and rows torch picks a kernel that is several times
    slower: the latents of small pictures. The result agrees to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] to [B, D, T', H', W']."""
        direct = (
            x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and not torch.is_grad_enabled()
            and self.padding_mode == "zeros"
            and torch.backends.mkldnn.is_available()
        )
        if not direct:
            return super().forward(x)
        result: Tensor = torch.ops.aten.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )
        return result


def use_direct_convolutions(network: nn.Module) -> None:
    """Give every plain 3-D convolution inside ``network`` the faster forward.

    Weights, keys and results stay; see ``DirectConv3d``.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv3d:
                setattr(parent, name, _direct(child))


def _direct(plain: nn.Conv3d) -> DirectConv3d:
    with torch.device("meta"):
        direct = DirectConv3d(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size,  # type: ignore[arg-type]
            plain.stride,  # type: ignore[arg-type]
            plain.padding,  # type: ignore[arg-type]
            plain.dilation,  # type: ignore[arg-type]
            plain.groups,
            bias=plain.bias is not None,
            padding_mode=plain.padding_mode,
        )
    direct.weight, direct.bias = plain.weight, plain.bias
    return direct.train(plain.training)
