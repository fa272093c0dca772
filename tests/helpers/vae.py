"""A small video autoencoder with random weights."""

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo


def small_vae(seed: int = 0) -> AutoencoderKLHunyuanVideo:
    """Four latent channels, some ten thousand parameters, attention in the middle."""
    torch.manual_seed(seed)
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=True,
    )
    torch.nn.Module.eval(vae).requires_grad_(False)
    return vae
