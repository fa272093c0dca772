"""Sections that drift are made again with other noise; the attempt that drifts least stays."""

import numpy as np
import torch
from torch import Tensor

from framepack.domain.plan import Plan, Section
from framepack.media import images
from framepack.media.drift import SectionMeasures, drift_of, measure_section
from framepack.pipeline.conditions import seeded_generator
from framepack.pipeline.decode import SettledFrames

__all__ = ["drift_score", "measured", "other_noise"]


def measured(settled: SettledFrames) -> SectionMeasures:
    """What a section looks like: what became final with it, and what is still to be blended."""
    clips = [settled.pixels] if settled.seam is None else [settled.pixels, settled.seam.pixels]
    frames = np.concatenate([images.to_frames(clip) for clip in clips if clip.shape[2]])
    return measure_section(frames)


def drift_score(measures: SectionMeasures, reference: SectionMeasures | None) -> float:
    """How far a section has drifted from the first-rendered one, which has none (0)."""
    return drift_of(measures, reference).score if reference is not None else 0.0


def other_noise(plan: Plan, section: Section, attempt: int, shape: torch.Size) -> Tensor:
    """The noise of another attempt at a section, [1, C, T, h, w] fp32; the request fixes it.

    Args:
        plan: gives the seed.
        section: gives its own seed, if it has one.
        attempt: 1 for the first after the regular one.
        shape: of the noise.
    """
    seed = section.seed if section.seed is not None else plan.seed
    generator = seeded_generator(seed, f"section {section.index} attempt {attempt}")
    return torch.randn(shape, generator=generator, dtype=torch.float32)
