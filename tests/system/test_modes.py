"""What pictures, words and strengths do to a video: effects, measured on the embedded model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.runs import frames_of, make_video, write_picture

from framepack.pipeline.components import Components
from framepack.training.tiny.sprite_judge import judge_sprite

PICTURES = 2
ONE_SECTION: dict[str, Any] = {
    "width": 64,
    "height": 64,
    "latent_window_size": 9,
    "num_inference_steps": 8,
    "fps": 30,
    "duration_s": 37 / 30,
}


def distance(frame: Any, picture: Any) -> float:
    return float(np.square(frame.astype(float) - picture).mean())


def test_an_end_picture_is_reached_and_more_so_with_more_strength(
    tmp_path: Path, components: Components
) -> None:
    """Distance of the last frame to the end picture, over several pairs of pictures."""
    away: dict[str, list[float]] = {"none": [], "0.2": [], "0.6": [], "1": []}
    for number in range(PICTURES):
        start = write_picture(tmp_path / f"{number}.png", seed=number, size=(64, 64))
        end = write_picture(tmp_path / f"{number}-end.png", seed=50 + number, size=(64, 64))
        shared = {**ONE_SECTION, "image": start, "prompt": "a slow dissolve", "seed": number}
        still = make_video(tmp_path / "end", components, **{**shared, "image": end})
        wanted = frames_of(still.path)[0]
        for name, values in away.items():
            asked = {} if name == "none" else {"end_image": end, "end_strength": float(name)}
            made = make_video(tmp_path / name, components, **{**shared, **asked})
            values.append(distance(frames_of(made.path)[-1], wanted))
    nearer = [one < none / 2 for one, none in zip(away["1"], away["none"], strict=True)]
    assert all(nearer), away
    means = [float(np.mean(values)) for values in away.values()]
    assert means == sorted(means, reverse=True), away


@pytest.mark.parametrize(
    "variant", [pytest.param("bi-directional", marks=pytest.mark.full), "forward-only"]
)
def test_words_alone_say_what_is_seen(tmp_path: Path, components: Components, variant: str) -> None:
    asked = {"a red circle stays still": "red", "a green square stays still": "green"}
    read = []
    for number, prompt in enumerate(asked):
        made = make_video(
            tmp_path / str(number),
            components,
            **{**ONE_SECTION, "width": 128, "height": 128, "num_inference_steps": 16},
            prompt=prompt,
            variant=variant,
        )
        frames = torch.from_numpy(frames_of(made.path)).permute(0, 3, 1, 2).float() / 255
        read.append(judge_sprite(frames).colour)
    assert read == list(asked.values())


def test_less_start_strength_moves_away_from_the_picture(
    tmp_path: Path, components: Components
) -> None:
    """The later frames leave the start picture the more, the weaker it is."""
    means = []
    for strength in (1.0, 0.6, 0.2):
        away = []
        for number in range(PICTURES):
            picture = write_picture(tmp_path / f"{number}.png", seed=number, size=(64, 64))
            made = make_video(
                tmp_path / "made",
                components,
                **ONE_SECTION,
                image=picture,
                prompt="",
                start_strength=strength,
                variant="forward-only",
            )
            frames = frames_of(made.path)
            away.append(distance(frames[20], frames[0]))
        means.append(float(np.mean(away)))
    assert means == sorted(means), means


def test_less_vision_strength_changes_the_video_the_more(
    tmp_path: Path, components: Components
) -> None:
    picture = write_picture(tmp_path / "picture.png", size=(64, 64))
    made = [
        frames_of(
            make_video(
                tmp_path / str(strength),
                components,
                **ONE_SECTION,
                image=picture,
                prompt="the camera pans left",
                vision_strength=strength,
            ).path
        )
        for strength in (1.0, 0.7, 0.3, 0.0)
    ]
    apart = [distance(frames, made[0]) for frames in made]
    assert apart == sorted(apart), apart
    assert apart[-1] > 0
