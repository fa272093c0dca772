"""Other VAEs decode: the choice shows in the frames, travels with the run, and is checked first."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.helpers.remote_vae import Endpoint, serving
from tests.helpers.runs import SEAM_FRAMES, SMALL, frames_of, seconds
from tests.helpers.tiny_vae import random_tiny_vae, save_tiny_vae

import framepack
from framepack.cli.main import main
from framepack.domain.errors import FramePackError, InvalidRequest, WorkspaceError
from framepack.domain.events import Event, SectionDone, StepDone
from framepack.media.exports import open_raw_frames
from framepack.media.images import to_frames
from framepack.models.tiny_vae import TinyVaeDecoder, TinyVaeLayout
from framepack.pipeline import remote_vae
from framepack.pipeline.components import Components
from framepack.pipeline.workspace import Workspace

VARIANTS = ("bi-directional", "forward-only")
OF_THE_MODEL = TinyVaeLayout(32, (16, 12, 8, 8), (1, 2, 2), 1)
"""For the embedded model's latents: 32 channels, 8 px and 4 frames."""
LONG = {**SMALL, "latent_window_size": 9, "duration_s": 4, "num_inference_steps": 1}
"""Three sections as long as the published weights make them."""


@pytest.fixture(scope="module")
def network() -> TinyVaeDecoder:
    return random_tiny_vae(OF_THE_MODEL)


@pytest.fixture
def weights(tmp_path: Path, network: TinyVaeDecoder) -> Path:
    return save_tiny_vae(network, tmp_path / "taehv.safetensors")


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_vae, "_WAITS_S", (0.0, 0.0))


@pytest.fixture
def endpoint(components: Components) -> Iterator[Endpoint]:
    def decode(latents: torch.Tensor) -> torch.Tensor:
        frames: torch.Tensor = components.vae.decode(latents, return_dict=False)[0]
        return frames

    with serving(Endpoint(decode)) as serves:
        yield serves


def _settings(**more: Any) -> framepack.Settings:
    return framepack.Settings(device="cpu", dtype="float32", **more)


def _raw(folder: Path, components: Components, **fields: Any) -> NDArray[np.uint8]:
    """The frames as they were decoded, [T, H, W, 3]."""
    path = folder / "raw.safetensors"
    framepack.generate(
        output=folder / "out.mp4", components=components, raw=path, **{**SMALL, **fields}
    )
    return np.stack(list(open_raw_frames(path).frames()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_tiny_frames_are_those_of_the_whole_video_decoded_at_once(
    tmp_path: Path,
    components: Components,
    picture: Path,
    weights: Path,
    network: TinyVaeDecoder,
    variant: str,
) -> None:
    asked: dict[str, Any] = {**LONG, "variant": variant, "image": picture, "keep_run": True}
    found = _raw(
        tmp_path, components, **asked, vae="tiny", vae_weights=weights, run_dir=tmp_path / "run"
    )
    run = Workspace.open(tmp_path / "run")
    conditions = run.load_conditions()
    assert conditions is not None
    sections = sorted(run.plan.sections, key=lambda section: section.index)
    assert len(sections) == 3
    latents = [conditions.start_latent, *(run.load_latents(each) for each in sections)]
    whole = to_frames(network.decode(torch.cat(latents, dim=2)))
    assert np.array_equal(found, whole[: run.plan.num_frames])
    full = _raw(tmp_path / "full", components, **{**asked, "keep_run": False})
    assert np.abs(full.astype(int) - found).mean() > 5, "random weights paint another video"


def test_the_choice_travels_in_the_file_without_folders(
    tmp_path: Path, components: Components, weights: Path
) -> None:
    asked: dict[str, Any] = {**SMALL, "duration_s": seconds(21), "components": components}
    made = framepack.generate(output=tmp_path / "out.mp4", vae="tiny", vae_weights=weights, **asked)
    found = framepack.inspect(made.path)
    assert found.document["request"]["vae"] == "tiny"
    assert found.document["request"]["vae_weights"] == "taehv.safetensors"
    assert len(found.document["components"]["tiny vae taehv.safetensors"]) == 64
    assert str(tmp_path) not in json.dumps(found.document)
    assert "VAE: tiny, taehv.safetensors." in made.plan.notes
    with pytest.raises(InvalidRequest, match=r"taehv\.safetensors does not exist"):
        framepack.generate(
            found.restore(tmp_path / "in"), output=tmp_path / "no.mp4", components=components
        )
    again = framepack.generate(
        found.restore(tmp_path / "in"),
        output=tmp_path / "again.mp4",
        components=components,
        settings=_settings(tiny_vae=weights),
    )
    assert np.array_equal(frames_of(again.path), frames_of(made.path))
    full = framepack.generate(
        found.restore(tmp_path / "in"),
        output=tmp_path / "full.mp4",
        components=components,
        vae="full",
    )
    assert full.plan.request.vae_weights is None
    assert not np.array_equal(frames_of(full.path), frames_of(made.path))


def test_the_settings_choose_where_a_request_does_not(
    tmp_path: Path, components: Components, weights: Path
) -> None:
    settings = _settings(vae="tiny", tiny_vae=weights)
    asked: dict[str, Any] = {**SMALL, "duration_s": 0.5, "settings": settings}
    assert framepack.plan(**asked).request.vae == "tiny"
    tiny = framepack.generate(output=tmp_path / "tiny.mp4", components=components, **asked)
    assert tiny.plan.request.vae == "tiny"
    own = framepack.generate(
        output=tmp_path / "own.mp4", components=components, **{**asked, "vae": "full"}
    )
    assert own.plan.request.vae == "full"
    assert not np.array_equal(frames_of(tiny.path), frames_of(own.path))


def test_what_goes_on_from_a_video_is_blended_with_it(
    tmp_path: Path, components: Components, weights: Path
) -> None:
    asked: dict[str, Any] = {**SMALL, "variant": "forward-only", "components": components}
    source = framepack.generate(output=tmp_path / "source.mp4", duration_s=seconds(48), **asked)
    longer = framepack.generate(
        output=tmp_path / "longer.mp4",
        extend=source.path,
        duration_s=seconds(24),
        vae="tiny",
        vae_weights=weights,
        **asked,
    )
    there, made = frames_of(source.path).astype(int), frames_of(longer.path).astype(int)
    # The tiny VAE of random weights paints another world; a hard cut would leave the seam.
    change = np.abs(made[48:].mean(axis=0) - there[-1]).mean()
    before, middle = (
        np.abs(made[frame] - there[frame]).mean() / change
        for frame in (48 - SEAM_FRAMES - 1, 48 - SEAM_FRAMES // 2 - 1)
    )
    assert before < 0.05
    assert middle > 0.2


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_decodes_as_it_began(
    tmp_path: Path, components: Components, weights: Path, variant: str
) -> None:
    asked: dict[str, Any] = {**LONG, "variant": variant, "vae": "tiny", "vae_weights": weights}
    whole = framepack.generate(output=tmp_path / "whole.mp4", components=components, **asked)
    events = framepack.stream(
        output=tmp_path / "out.mp4", run_dir=tmp_path / "run", components=components, **asked
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
    # What the settings say by now makes no difference to a run that has begun.
    resumed = framepack.resume(
        tmp_path / "run", components=components, settings=_settings(vae="full")
    )
    assert np.array_equal(frames_of(resumed.path), frames_of(whole.path))


def test_a_run_refuses_other_weights_than_it_began_with(
    tmp_path: Path, components: Components, weights: Path
) -> None:
    asked: dict[str, Any] = {**SMALL, "duration_s": 1.5, "vae": "tiny", "vae_weights": weights}
    events = framepack.stream(
        output=tmp_path / "out.mp4", run_dir=tmp_path / "run", components=components, **asked
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    save_tiny_vae(random_tiny_vae(OF_THE_MODEL, seed=1), weights)
    with pytest.raises(WorkspaceError, match=r"other weights: tiny vae taehv\.safetensors"):
        framepack.resume(tmp_path / "run", components=components)
    weights.unlink()
    with pytest.raises(InvalidRequest, match=r"taehv\.safetensors does not exist"):
        framepack.resume(tmp_path / "copy", components=components)


BAD = {
    "no weights": ([], "--vae tiny needs weights in the TAEHV layout; give a file with"),
    "no such file": (["none.pth"], "none.pth does not exist; give a file with --vae-weights"),
    "a folder": (["folder.pth"], "folder.pth is a folder"),
    "another kind": (["notes.txt"], "notes.txt ends in .txt; needed: .safetensors, .pth, .pt"),
    "other channels": (
        ["hunyuan.safetensors"],
        "made for latents of 16 channels at 8 px and 4 frames each, but those of this model have "
        "32 channels at 8 px and 4 frames each",
    ),
    "other sizes": (["half.safetensors"], "32 channels at 16 px and 4 frames each, but those of"),
    "damaged": (["damaged.safetensors"], "damaged.safetensors is damaged or not a safetensors"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_weights_are_one_line_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    folder = tmp_path / "here"
    (folder / "folder.pth").mkdir(parents=True)
    (folder / "notes.txt").write_text("no weights")
    (folder / "damaged.safetensors").write_bytes(b"\0" * 100)
    layouts = {"hunyuan": replace(OF_THE_MODEL, latent_channels=16)}
    layouts["half"] = replace(OF_THE_MODEL, patch_px=2)
    for stem, layout in layouts.items():
        save_tiny_vae(random_tiny_vae(layout), folder / f"{stem}.safetensors")
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    given, message = BAD[name]
    weights = ["--vae-weights", *given] if given else []
    code = main(["generate", "--prompt", "x", "--vae", "tiny", *weights, "-o", "out.mp4"])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    error = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(error) == 1
    assert message in error[0]
    if name in ("no weights", "no such file", "a folder"):
        assert "https://github.com/madebyollin/taehv" in error[0]
    assert sorted(folder.rglob("*")) == before
    assert not list((tmp_path / "outputs").rglob("*"))


def test_weights_without_the_tiny_vae_are_refused(tmp_path: Path, components: Components) -> None:
    with pytest.raises(InvalidRequest, match="but the VAE is full; add --vae tiny"):
        framepack.generate(
            output=tmp_path / "out.mp4", components=components, prompt="x", vae_weights="a.pth"
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_remote_frames_are_those_of_the_full_vae(
    tmp_path: Path, components: Components, picture: Path, endpoint: Endpoint, variant: str
) -> None:
    asked: dict[str, Any] = {**LONG, "variant": variant, "image": picture}
    settings = _settings(remote_vae_url=endpoint.url, remote_vae_api_key="secret-key")
    found = _raw(tmp_path / "far", components, **asked, vae="remote", settings=settings)
    full = _raw(tmp_path / "near", components, **asked)
    difference = np.abs(full.astype(int) - found)
    assert difference.max() <= 1, "half precision and rounding, no more"
    assert difference.mean() < 0.05
    # A trial, and each section once, with the one it touches and the picture.
    shapes = [[int(size) for size in each.query["shape"]] for each in endpoint.asked]
    windows = (9, 18, 19) if variant == "bi-directional" else (10, 18, 18)
    assert shapes == [[1, 32, 1, 8, 8], *([1, 32, length, 8, 8] for length in windows)]
    assert {each.headers["Authorization"] for each in endpoint.asked} == {"Bearer secret-key"}
    said = json.dumps(framepack.inspect(tmp_path / "far" / "out.mp4").document["request"])
    assert '"vae": "remote"' in said


def test_a_section_is_decoded_far_away_while_the_next_one_is_denoised(
    tmp_path: Path, components: Components, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_denoised, decode = threading.Event(), remote_vae.RemoteVae.decode

    def slow(vae: remote_vae.RemoteVae, latents: torch.Tensor) -> torch.Tensor:
        assert is_denoised.wait(60), "the second section waited for the first"
        return decode(vae, latents)

    monkeypatch.setattr(remote_vae.RemoteVae, "decode", slow)
    asked: dict[str, Any] = {**SMALL, "duration_s": seconds(33), "vae": "remote"}
    settings = _settings(remote_vae_url=endpoint.url)
    found = _raw(
        tmp_path / "far", components, settings=settings, **asked,
        on_event=lambda event: _is_in_section_two(event) and is_denoised.set(),
    )  # fmt: skip
    assert len(found) == 33


def _is_in_section_two(event: Event) -> bool:
    return isinstance(event, StepDone) and event.render_index == 1


def test_key_and_address_stay_out_of_the_file(
    tmp_path: Path, components: Components, endpoint: Endpoint
) -> None:
    settings = _settings(remote_vae_url=endpoint.url, remote_vae_api_key="secret-key")
    asked: dict[str, Any] = {**SMALL, "duration_s": 0.5, "vae": "remote", "settings": settings}
    made = framepack.generate(
        output=tmp_path / "out.mp4", run_dir=tmp_path / "run", components=components,
        keep_run=True, **asked,
    )  # fmt: skip
    assert "VAE: remote, latents are sent to the endpoint of the settings." in made.plan.notes
    assert b"secret-key" not in made.path.read_bytes()
    assert b"127.0.0.1" not in made.path.read_bytes()
    assert "127.0.0.1" not in (tmp_path / "run" / "run.json").read_text()
    assert "secret-key" not in (tmp_path / "run" / "run.json").read_text()


def test_an_endpoint_that_fails_midway_costs_one_section(
    tmp_path: Path, components: Components, endpoint: Endpoint
) -> None:
    asked: dict[str, Any] = {**SMALL, "duration_s": seconds(33)}
    settings = _settings(remote_vae_url=endpoint.url)
    events = framepack.stream(
        output=tmp_path / "out.mp4", run_dir=tmp_path / "run", components=components,
        vae="remote", settings=settings, **asked,
    )  # fmt: skip
    done: list[int] = []

    def pull() -> None:
        for event in events:
            if isinstance(event, SectionDone):
                done.append(event.section)
                endpoint.statuses = [503, 500] if len(done) == 2 else [503]

    with pytest.raises(FramePackError, match="answered 500"):
        pull()
    assert len(done) == 2
    endpoint.statuses = [503]
    resumed = framepack.resume(tmp_path / "run", components=components, settings=settings)
    full = framepack.generate(output=tmp_path / "full.mp4", components=components, **asked)
    difference = np.abs(frames_of(resumed.path).astype(int) - frames_of(full.path))
    assert difference.mean() < 0.5


def test_a_remote_vae_that_cannot_be_used_stops_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = {
        "": "--vae remote needs an endpoint",
        "https://host.example/": "would send latents to host.example, but offline is set",
        "http://127.0.0.1:9/": "cannot be reached",
    }
    for url, message in cases.items():
        monkeypatch.setenv("FRAMEPACK_REMOTE_VAE_URL", url)
        assert main(["generate", "--prompt", "x", "--vae", "remote", "-o", "out.mp4"]) != 0
        out, err = capsys.readouterr()
        assert out == ""
        assert [message in line for line in err.splitlines() if "Error" in line] == [True]
        assert not (tmp_path / "out.mp4").exists()
        assert not list((tmp_path / "outputs").rglob("*"))


def test_a_plan_says_who_decodes(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRAMEPACK_TINY_VAE", str(weights))
    assert main(["plan", "--prompt", "x", "--vae", "tiny"]) == 0
    assert "VAE: tiny, taehv.safetensors." in capsys.readouterr().err
    assert main(["plan", "--prompt", "x", "--vae", "small"]) == 2
    assert "vae (--vae) is 'small'; it must be full," in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variant", "decoded", "reused"), [(VARIANTS[0], 12, 3), (VARIANTS[1], 13, 2)]
)
def test_tiles_that_sections_share_are_decoded_once_and_counted(
    tmp_path: Path, components: Components, picture: Path, variant: str, decoded: int, reused: int
) -> None:
    asked: dict[str, Any] = {**LONG, "variant": variant, "image": picture}
    made = framepack.generate(output=tmp_path / "out.mp4", components=components, **asked)
    counts = made.statistics["num_decoded_tiles"], made.statistics["num_reused_tiles"]
    assert counts == (decoded, reused)
    assert components.tile_counts == (0, 0), "nothing is kept after the last section"


def test_spatial_tiles_of_the_full_vae_change_little(
    components: Components, tmp_path: Path
) -> None:
    from framepack.models.autoencoder import decode_latents, encode_image

    clip = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    smooth = torch.nn.functional.interpolate(clip, (192, 256), mode="bicubic").clamp(-1, 1)
    latent = encode_image(components.vae, smooth, torch.Generator().manual_seed(0))
    latents = latent.expand(-1, -1, 3, -1, -1)
    whole = decode_latents(components.vae, latents)
    tiled = decode_latents(components.vae, latents, spatial_tile_px=128)
    difference = (tiled.clamp(-1, 1) - whole.clamp(-1, 1)).abs() * 127.5
    assert 0 < difference.mean() < 1, "of 255 levels"
    assert difference.max() < 8
