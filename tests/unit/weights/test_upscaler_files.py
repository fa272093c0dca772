"""Weights of networks that enlarge pictures: every layout gives the same network, or none."""

import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers.upscalers import first_layout, random_compact, random_rrdb, second_layout

from framepack.domain.errors import CheckpointError, InvalidRequest
from framepack.models.upscaler import CompactConfig
from framepack.weights.upscaler_files import load_upscaler

PICTURE = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Converted files stay in the test's folder."""
    monkeypatch.setattr(
        "framepack.weights.pickled.user_cache_path", lambda *_, **__: tmp_path / "cache"
    )


def saved(tmp_path, tensors, name="net.safetensors"):
    path = tmp_path / name
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(contiguous, path)
    else:
        torch.save(contiguous, path)
    return path


@pytest.mark.parametrize(
    "layout", [lambda network: network.state_dict(), first_layout, second_layout]
)
def test_all_layouts_give_the_same_pictures(tmp_path, layout):
    network = random_rrdb()
    loaded = load_upscaler(saved(tmp_path, layout(network)))
    assert loaded.scale == 4
    assert torch.equal(loaded(PICTURE), network(PICTURE))


def test_the_compact_network_is_loaded(tmp_path):
    network = random_compact(CompactConfig(6, 2, 3))
    loaded = load_upscaler(saved(tmp_path, network.state_dict()))
    assert torch.equal(loaded(PICTURE), network(PICTURE))


@pytest.mark.parametrize("wrapper", [None, "params", "params_ema", "state_dict"])
def test_pickles_are_read_with_and_without_their_wrapper(tmp_path, wrapper):
    network = random_rrdb()
    path = tmp_path / "net.pth"
    torch.save(network.state_dict() if wrapper is None else {wrapper: network.state_dict()}, path)
    assert torch.equal(load_upscaler(path)(PICTURE), network(PICTURE))


def test_averaged_weights_come_before_the_others(tmp_path):
    plain, averaged = random_rrdb(seed=0), random_rrdb(seed=1)
    path = tmp_path / "net.pth"
    torch.save({"params": plain.state_dict(), "params_ema": averaged.state_dict()}, path)
    assert torch.equal(load_upscaler(path)(PICTURE), averaged(PICTURE))


def test_half_precision_files_are_computed_in_full(tmp_path):
    halves = {name: tensor.half() for name, tensor in random_rrdb().state_dict().items()}
    made = load_upscaler(saved(tmp_path, halves))(PICTURE)
    assert made.dtype == torch.float32


def test_tensors_that_do_not_fit_are_named(tmp_path):
    tensors = dict(random_rrdb().state_dict())
    del tensors["conv_hr.bias"]
    tensors["conv_more.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"missing conv_hr.bias; unexpected conv_more.weight"):
        load_upscaler(saved(tmp_path, tensors))


def test_files_that_cannot_be_are_refused(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no weights", encoding="utf-8")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    for path, error, message in (
        (tmp_path / "missing.pth", InvalidRequest, "does not exist"),
        (tmp_path, InvalidRequest, "is a folder"),
        (text, InvalidRequest, "end in .txt"),
        (broken, CheckpointError, "broken.safetensors"),
    ):
        with pytest.raises(error, match=message):
            load_upscaler(path)


def test_another_network_is_one_line_that_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)  # not installed
    path = saved(tmp_path, {"layers.0.attn.qkv.weight": torch.zeros(3, 3)})
    with pytest.raises(
        CheckpointError, match=r"it has layers.0.attn.qkv.weight.*install .*spandrel"
    ):
        load_upscaler(path)


class _Unsupported(Exception):  # noqa: N818 - stands for spandrel's
    pass


class _Descriptor:
    scale, input_channels = 2, 3

    def eval(self):
        return self

    def __call__(self, pictures):
        return pictures.repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.mark.parametrize("is_known", [True, False])
def test_other_networks_are_left_to_spandrel_where_it_is(tmp_path, monkeypatch, is_known):
    seen = []

    def load(path):
        seen.append(path)
        if not is_known:
            raise _Unsupported("no such network")
        return _Descriptor()

    spandrel = SimpleNamespace(
        ModelLoader=lambda device: SimpleNamespace(load_from_file=load),
        ImageModelDescriptor=_Descriptor,
        UnsupportedModelError=_Unsupported,
    )
    monkeypatch.setitem(sys.modules, "spandrel", spandrel)
    path = saved(tmp_path, {"layers.0.weight": torch.zeros(3, 3)})
    if is_known:
        loaded = load_upscaler(path)
        assert loaded.scale == 2
        assert loaded(PICTURE).shape == (1, 3, 12, 16)
    else:
        with pytest.raises(CheckpointError, match=r"by spandrel either .no such network"):
            load_upscaler(path)
    assert seen == [path]
