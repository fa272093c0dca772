"""The embedded model: its world, its components, its training and its measurements.

Read in this order: ``pictures`` and ``world`` (what it sees), ``captions`` (what it is
told), ``latent_space`` (the fixed code that the VAE learns), ``components`` (the networks),
``train_vae`` and ``train_transformer`` (how they learn), ``motion`` and ``evaluate`` (how
they are judged).
"""
