"""A denoising step of the transformer, ours and diffusers' with the same weights."""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import torch
from benchmarks.gpu_suite.networks import (
    build_ours,
    build_theirs,
    for_diffusers,
    pass_arguments,
)
from benchmarks.gpu_suite.runner import (
    GIB,
    Measured,
    Suite,
    error_of,
    in_turn,
    memory_fields,
    reset_peak,
    spent_s,
)
from diffusers.models.attention_dispatch import attention_backend
from torch import Tensor

from framepack.models.attention import use_backend
from framepack.models.reuse import Reuse


def weights(suite: Suite) -> Iterator[Measured]:
    """Build both networks on the same memory."""
    made: dict[str, Any] = {}

    def build() -> None:
        made["ours"] = build_ours(suite)
        made["theirs"] = build_theirs(suite, made["ours"])

    spent = spent_s(suite.device, build)
    suite.kept |= made
    parameters = list(made["ours"].parameters())
    yield Measured(
        "build",
        spent,
        more={
            "parameters": sum(each.numel() for each in parameters),
            "weights_gib": sum(each.nbytes for each in parameters) / GIB,
        },
    )


def ours_of(suite: Suite) -> Any:
    """Our transformer, built again if a stage before took it away."""
    if "ours" not in suite.kept:
        suite.kept["ours"] = build_ours(suite)
    return suite.kept["ours"]


def theirs_of(suite: Suite) -> Any:
    """diffusers' transformer on the memory of ours."""
    if "theirs" not in suite.kept:
        suite.kept["theirs"] = build_theirs(suite, ours_of(suite))
    return suite.kept["theirs"]


def step(suite: Suite) -> Iterator[Measured]:
    """The step each way, in turn; then each way's memory and distance from diffusers."""
    ways = _ways(suite)
    results = {name: run().clone() for name, run in ways.items()}
    suite.kept["result"] = results["diffusers"]
    sizes = suite.sizes
    spent = in_turn(suite.device, ways, warm=sizes.warm - 1, timed=sizes.timed)
    for name, run in ways.items():
        reset_peak(suite)
        run()
        yield Measured(
            name,
            spent[name],
            against=_compared_with(name),
            flops=sizes.step_flops,
            relative_error=None
            if name == "diffusers"
            else error_of(results[name], results["diffusers"]),
            more={"tokens": sizes.num_tokens, **memory_fields(suite)},
        )
    if suite.official is not None:
        yield _official(suite)


def _compared_with(name: str) -> str:
    if name == "diffusers":
        return ""
    return "step/diffusers-cudnn" if name == "ours-cudnn" else "step/diffusers"


def _ways(suite: Suite) -> dict[str, Callable[[], Tensor]]:
    ours, theirs = ours_of(suite), theirs_of(suite)
    arguments = pass_arguments(suite)
    to_theirs = for_diffusers(arguments, suite.device)
    reuse = Reuse()
    ways: dict[str, Callable[[], Tensor]] = {
        "diffusers": lambda: theirs(**to_theirs)[0],
        "ours-alone": lambda: ours(**arguments)[0],
        "ours": lambda: ours(**arguments, reuse=reuse)[0],
    }
    if suite.is_cuda:

        def theirs_by_cudnn() -> Tensor:
            with attention_backend("_native_cudnn"):
                return ways["diffusers"]()

        def ours_by_cudnn() -> Tensor:
            use_backend(ours, "cudnn")
            try:
                return ways["ours"]()
            finally:
                use_backend(ours, "sdpa")

        ways |= {"diffusers-cudnn": theirs_by_cudnn, "ours-cudnn": ours_by_cudnn}
    return ways


def _official(suite: Suite) -> Measured:
    """The official program's transformer from its own file, with the same weights."""
    path = suite.official
    assert path is not None
    # .../diffusers_helper/models/hunyuan_video_packed.py imports `diffusers_helper`.
    root = str(path.resolve().parents[2])
    sys.path.insert(0, root)
    try:
        module = import_module(f"diffusers_helper.models.{path.stem}")
    finally:
        sys.path.remove(root)
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            network = module.HunyuanVideoTransformer3DModelPacked(**suite.sizes.transformer)
        network.load_state_dict(ours_of(suite).state_dict(), assign=True)
        network.eval().requires_grad_(False)
    given = for_diffusers(pass_arguments(suite), suite.device)
    arguments = {
        "hidden_states": given["hidden_states"],
        "timestep": given["timestep"],
        "encoder_hidden_states": given["encoder_hidden_states"],
        "encoder_attention_mask": given["encoder_attention_mask"],
        "pooled_projections": given["pooled_projections"],
        "guidance": given["guidance"],
        "image_embeddings": given["image_embeds"],
        "latent_indices": given["indices_latents"].unsqueeze(0),
        "clean_latents": given["latents_clean"],
        "clean_latent_indices": given["indices_latents_clean"].unsqueeze(0),
        "clean_latents_2x": given["latents_history_2x"],
        "clean_latent_2x_indices": given["indices_latents_history_2x"].unsqueeze(0),
        "clean_latents_4x": given["latents_history_4x"],
        "clean_latent_4x_indices": given["indices_latents_history_4x"].unsqueeze(0),
        "return_dict": False,
    }
    result = network(**arguments)[0].clone()
    ways = {"official": lambda: network(**arguments)}
    sizes = suite.sizes
    spent = in_turn(suite.device, ways, warm=sizes.warm, timed=sizes.timed)["official"]
    return Measured(
        "official",
        spent,
        against="step/diffusers",
        flops=sizes.step_flops,
        relative_error=error_of(result, suite.kept["result"]),
        more={"ours_is_faster_by": spent / (suite.results["step/ours"].value or spent)},
    )
