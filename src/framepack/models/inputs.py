"""Checks and small conversions of what a caller hands to the transformer."""

# Shape letters are those of docs/notation.md:
#   B batch  M text tokens  E text embedding width

from torch import Tensor

from framepack.models.embeddings import FULL_RATE_KERNEL, TokenGrid

__all__ = ["check_geometry", "checked_grid", "token_grid", "trim_text"]


def trim_text(embeds: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Cut the padding that no sample of the batch needs.

    With one prompt, or prompts of one length, nothing is left to mask and attention runs its
    fastest kernels; only a batch of different lengths keeps a mask.

    Args:
        embeds: [B, M, E] prompt embeddings, padded at the end.
        mask: [B, M], nonzero for real tokens; None when all are.

    Returns:
        [B, m, E] with m the longest length, and a [B, m] bool mask on the embeddings' device,
        or None when every token that is left is real.
    """
    if mask is None:
        return embeds, None
    on_host = mask.detach().cpu() != 0
    used = on_host.any(dim=0).nonzero()
    longest = int(used[-1]) + 1 if len(used) else 1  # no token at all: one, masked
    on_host = on_host[:, :longest]
    return embeds[:, :longest], None if bool(on_host.all()) else on_host.to(embeds.device)


def token_grid(latents: Tensor, indices: Tensor | None, pool: int = 1) -> TokenGrid:
    """Where the tokens of one tier stand.

    Raises:
        ValueError: indices are missing or not one per latent frame.
    """
    frames, height, width = latents.shape[2:]
    if indices is None or indices.shape[-1] != frames:
        found = "no indices" if indices is None else f"{indices.shape[-1]} indices"
        raise ValueError(
            f"{frames} latent frames came with {found}; pass one index per latent frame"
        )
    _, kh, kw = FULL_RATE_KERNEL
    return TokenGrid(indices, height // kh, width // kw, (pool, pool, pool))


def checked_grid(grid: TokenGrid, tokens: Tensor) -> TokenGrid:
    """The grid, if it has a place for every token.

    Raises:
        ValueError: it has not.
    """
    if grid.num_tokens != tokens.shape[1]:
        raise ValueError(
            f"a tier of {tokens.shape[1]} tokens has {grid.num_tokens} positions, because its "
            "latents have an odd height or width; crop them to a multiple of the patch size 2"
        )
    return grid


def check_geometry(patch: tuple[int, int, int], head_dim: int, axes_dim: tuple[int, ...]) -> None:
    """Refuse sizes that no FramePack checkpoint has.

    Raises:
        ValueError: the patch size or the split of the head width is another.
    """
    if patch != FULL_RATE_KERNEL:
        raise ValueError(f"patch size is {patch}, the packed context needs {FULL_RATE_KERNEL}")
    if len(axes_dim) != 3 or sum(axes_dim) != head_dim or any(dim % 2 for dim in axes_dim):
        raise ValueError(
            f"rope_axes_dim is {tuple(axes_dim)}, needed are three even numbers that add up to "
            f"attention_head_dim {head_dim}"
        )
