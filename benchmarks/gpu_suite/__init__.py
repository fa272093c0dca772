"""The GPU suite: what one accelerator does with a network of the published size.

READ IN THIS ORDER: ``catalogue`` (which rows there are, and their targets), ``sizes`` (what is
built), ``runner`` (how stages become rows), then the stages. Weights are random, so nothing is
downloaded and no picture is made; times, memory and the distance to diffusers are real.
"""
