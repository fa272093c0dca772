"""What changes from section to section shows in the video, where and when it was asked for."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.io import imsave
from skimage.registration import phase_cross_correlation
from tests.helpers.runs import SECTION_FRAMES, SMALL, frames_of, make_video

import framepack
from framepack.domain.events import StepDone
from framepack.domain.request import VARIANTS
from framepack.media.images import fit_image, load_image
from framepack.pipeline.components import Components

TWO_SECTIONS: dict[str, Any] = {
    "prompt": "",
    "width": 128,
    "height": 128,
    "latent_window_size": 9,
    "num_inference_steps": 10,
    "fps": 30,
    "duration_s": 73 / 30,
}
SECTION = 36
"""Frames of a section; frame 0 is the start picture."""


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "astronaut.png"
    imsave(path, data.astronaut(), check_contrast=False)
    return path


def shift(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far the content moved from one frame to the other: (down, right) in px."""
    grey = [frame.astype(float).mean(axis=2) for frame in (first, second)]
    window = np.outer(np.hanning(grey[0].shape[0]), np.hanning(grey[0].shape[1]))
    one, other = ((each - each.mean()) * window for each in grey)
    found: NDArray[np.float64] = -phase_cross_correlation(one, other, upsample_factor=10)[0]
    return found


def speed_x(frames: NDArray[np.uint8], first: int, last: int) -> float:
    """Median speed of the content to the right, px per frame, between two frames."""
    step = 6
    return float(
        np.median(
            [shift(frames[i], frames[i + step])[1] / step for i in range(first, last - step, 2)]
        )
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_section_prompts_turn_the_motion_at_their_section(
    tmp_path: Path, components: Components, photograph: Path, variant: str
) -> None:
    prompts = tmp_path / "sections.txt"
    prompts.write_text("the camera pans left\nthe camera pans right\n", encoding="utf-8")
    made = make_video(
        tmp_path,
        components,
        image=photograph,
        variant=variant,
        section_prompts=prompts.read_text(encoding="utf-8"),
        **TWO_SECTIONS,
    )
    frames = frames_of(made.path)
    assert len(frames) == 1 + 2 * SECTION
    # Panning left moves the content to the right; frames near the seam belong to both.
    before = speed_x(frames, 0, SECTION - 3)
    after = speed_x(frames, SECTION + 6, 2 * SECTION)
    assert before > 0.25
    assert after < -0.25


def test_a_section_picture_shows_in_its_section(
    tmp_path: Path, components: Components, photograph: Path
) -> None:
    other = tmp_path / "cat.png"
    imsave(other, data.chelsea(), check_contrast=False)
    asked = {**TWO_SECTIONS, "prompt": "a static shot", "variant": "bi-directional"}
    plain = make_video(tmp_path / "plain", components, image=photograph, **asked)
    made = make_video(
        tmp_path / "made", components, image=photograph, section_images=f"1: {other}", **asked
    )

    def distance(frame: NDArray[np.uint8], picture: Path) -> float:
        wanted = np.asarray(fit_image(load_image(picture), 128, 128), dtype=float)
        return float(np.square(frame.astype(float) - wanted).mean())

    before, after = frames_of(plain.path), frames_of(made.path)
    assert distance(after[-1], other) < 0.3 * distance(before[-1], other)
    assert distance(after[-1], other) < 0.3 * distance(after[-1], photograph)
    assert distance(after[0], photograph) < 0.3 * distance(after[0], other)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_section_seed_changes_nothing_rendered_before_it(
    tmp_path: Path, components: Components, picture: Path, variant: str
) -> None:
    asked: dict[str, Any] = {"variant": variant, "image": picture, "duration_s": 37 / 24}
    plain = make_video(tmp_path / "plain", components, **asked)
    last = plain.plan.sections[-1]
    made = make_video(tmp_path / "made", components, section_seeds=f"{last.index}: 99", **asked)
    before, after = frames_of(plain.path), frames_of(made.path)
    same = np.array([np.array_equal(*pair) for pair in zip(before, after, strict=True)])
    own = np.arange(len(same))
    # The seam lies in the neighbour, and the segment it ends in is encoded as a whole.
    near = (own >= last.start_frame - SECTION_FRAMES) & (own < last.end_frame + SECTION_FRAMES)
    assert same[~near].all()
    assert not same[(own > last.start_frame) & (own < last.end_frame)].any()


def test_blending_lies_between_the_prompts(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    asked: dict[str, Any] = {
        "image": picture,
        "prompt": "",
        "variant": "forward-only",
        "duration_s": 25 / 24,
    }
    texts = "0: the camera pans left\n1: the camera pans right"
    sudden = make_video(tmp_path / "sudden", components, section_prompts=texts, **asked)
    smooth = make_video(
        tmp_path / "smooth", components, section_prompts=texts, blend_sections=1, **asked
    )
    section = smooth.plan.sections[1]
    assert section.mixture == (("the camera pans left", 0.5), ("the camera pans right", 0.5))
    # Where the last frame stands on the way from one prompt to the other: 0 to 1.
    held = make_video(tmp_path / "held", components, section_prompts=texts.split("\n")[0], **asked)
    last = [frames_of(made.path)[-1].astype(float) for made in (sudden, smooth, held)]
    whole, part = last[2] - last[0], last[1] - last[0]
    assert 0.1 < (part * whole).sum() / (whole * whole).sum() < 0.9
    assert np.array_equal(frames_of(sudden.path)[0], frames_of(smooth.path)[0])


def test_a_video_with_section_pictures_is_repeated_from_its_file(
    tmp_path: Path, components: Components, picture: Path, end_picture: Path
) -> None:
    asked: dict[str, Any] = {"image": picture, "duration_s": 25 / 24, "section_seeds": "0: 5"}
    made = make_video(tmp_path, components, section_images=f"1: {end_picture}", **asked)
    found = framepack.inspect(made.path)
    assert str(tmp_path) not in str(found.document)
    again = found.restore(tmp_path / "pictures")
    picture.unlink()
    end_picture.unlink()
    repeated = framepack.generate(again, output=tmp_path / "again.mp4", components=components)
    assert np.array_equal(frames_of(made.path), frames_of(repeated.path))


def test_a_stopped_run_keeps_the_pictures_of_its_sections(
    tmp_path: Path, components: Components, picture: Path, end_picture: Path
) -> None:
    asked: dict[str, Any] = {
        "image": picture,
        "section_images": f"1: {end_picture}",
        "section_prompts": "0: the camera pans left\n1: a static shot",
        "duration_s": 25 / 24,
    }
    whole = frames_of(make_video(tmp_path, components, **asked).path)
    events = framepack.stream(
        output=tmp_path / "stopped.mp4",
        run_dir=tmp_path / "run",
        components=components,
        **{**SMALL, **asked},
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, StepDone))
    end_picture.unlink()
    resumed = framepack.resume(tmp_path / "run", components=components)
    assert np.array_equal(whole, frames_of(resumed.path))
