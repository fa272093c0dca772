import math

import pytest
import torch
from torch import Tensor

from framepack.domain.errors import FramePackError
from framepack.training.tiny import photographs
from framepack.training.tiny.figures import MAX_DB, detail, kept_sharpness, psnr, sharpness


def texture(size: int = 64) -> Tensor:
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(3))


def soften(frame: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(frame[None], 3, stride=1, padding=1)[0]


def test_psnr_of_a_known_error() -> None:
    black = torch.zeros(3, 8, 8)
    assert psnr(black + 0.1, black) == pytest.approx(20)
    assert psnr(black + 1, black) == pytest.approx(0)


def test_psnr_of_equal_pictures_is_bounded() -> None:
    assert psnr(texture(), texture()) == MAX_DB


def test_psnr_refuses_to_broadcast() -> None:
    with pytest.raises(ValueError, match="compare"):
        psnr(torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8))


def test_sharpness_of_a_ramp_is_its_slope() -> None:
    ramp = (torch.arange(32) / 100).expand(3, 32, 32)
    assert sharpness(ramp) == pytest.approx(0.01, rel=1e-4)
    assert sharpness(ramp.transpose(1, 2)) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("measure", [sharpness, detail])
def test_softening_lowers_sharpness_and_flatness_has_none(measure: type) -> None:
    assert measure(soften(texture())) < 0.6 * measure(texture())
    assert measure(torch.full((3, 16, 16), 0.4)) == pytest.approx(0, abs=1e-6)


def test_kept_sharpness_compares_last_with_first() -> None:
    clip = torch.stack([texture(), soften(texture())])
    kept = kept_sharpness(clip)
    assert kept == pytest.approx(sharpness(clip[1]) / sharpness(clip[0]))
    assert kept_sharpness(clip.flip(0)) == pytest.approx(1 / kept)


def test_what_the_true_clip_loses_is_not_held_against_a_clip() -> None:
    clip = torch.stack([texture(), soften(texture())])
    assert kept_sharpness(clip, truth=clip) == pytest.approx(1)


def test_a_flat_clip_has_a_finite_figure() -> None:
    flat = torch.full((2, 3, 8, 8), 0.5)
    assert math.isfinite(kept_sharpness(flat, truth=flat))


def test_photographs_are_found_without_importing_scikit_image() -> None:
    pytest.importorskip("skimage")
    pictures = dict(photographs.load_photographs(160, 96))
    assert {"astronaut", "chelsea", "coffee"} <= pictures.keys()
    assert {picture.size for picture in pictures.values()} == {(160, 96)}


def test_missing_photographs_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    with pytest.raises(FramePackError, match=r"framepack-studio\[test\]"):
        photographs.photograph_paths()
