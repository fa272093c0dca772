"""From noise to latents: noise levels, guidance, seeded noise and the solvers."""
