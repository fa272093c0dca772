"""What the keys of LoRA files mean: which of our Linear layers, and which rows of them. No torch.

Three families of names are in use. diffusers and PEFT write the names of our own network; the
original HunyuanVideo network fuses queries, keys and values; kohya's trainers write either with
``_`` for ``.``. Underscores stand in the names themselves too, so a kohya name is looked up in a
table of real names and never taken apart.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

__all__ = [
    "ORIGINAL_NAMES",
    "KeyParts",
    "NameTable",
    "Role",
    "Rows",
    "Target",
    "is_text_encoder_key",
    "split_key",
    "without_prefix",
]

Role = Literal["down", "up", "alpha"]
Rows = Literal["whole", "qkv", "qkv+mlp", "halves swapped"]

_ROLES: Mapping[str, Role] = {
    "lora_A": "down",
    "lora_down": "down",
    "lora.down": "down",
    "lora_B": "up",
    "lora_up": "up",
    "lora.up": "up",
}
# PEFT names the adapter; a number there is another thing (musubi's split layers).
_PAIR_KEY = re.compile(
    r"(?P<module>.+)\.(?:(?P<peft>lora_[AB])(?:\.[A-Za-z_]\w*)?"
    r"|(?P<other>lora_down|lora_up|lora\.down|lora\.up))\.weight"
)
_BLOCK_NUMBER = re.compile(r"(?<=blocks[._])\d+(?=[._])")
_DOTTED_PREFIXES = ("base_model.model.", "model.", "transformer.", "diffusion_model.")
_KOHYA_PREFIXES = ("lora_unet_", "lora_transformer_")
_TEXT_ENCODER_PREFIXES = ("lora_te", "text_encoder")


class KeyParts(NamedTuple):
    """A key of a file: the module as the file names it, and what the tensor is to it."""

    module: str
    role: Role


@dataclass(frozen=True, slots=True)
class Target:
    """Where one LoRA pair of a file goes.

    Attributes:
        layout: whose names the file uses.
        modules: our Linear layers, in the order of the pair's output rows.
        rows: how the rows of the up matrix are shared out among them.
    """

    layout: str
    modules: tuple[str, ...]
    rows: Rows = "whole"


def split_key(key: str) -> KeyParts | None:
    """The module and the role in a key such as ``MODULE.lora_A.default.weight``; None if neither.

    Scales of DoRA, factors of LoKr and LoHa, biases and plain differences are not LoRA pairs.
    """
    if key.endswith(".alpha"):
        return KeyParts(key.removesuffix(".alpha"), "alpha")
    found = _PAIR_KEY.fullmatch(key)
    if found is None:
        return None
    return KeyParts(found["module"], _ROLES[found["peft"] or found["other"]])


def is_text_encoder_key(key: str) -> bool:
    """Whether a key belongs to a text encoder rather than to the transformer."""
    return key.startswith(_TEXT_ENCODER_PREFIXES)


class NameTable:
    """Finds our Linear layers by the names that files give them.

    Args:
        linear_names: the Linear layers of a network that has at least one block of each kind.
    """

    def __init__(self, linear_names: Iterable[str]) -> None:
        own = {_template(name)[0] for name in linear_names}
        self._dotted = {name: Target("diffusers", (name,)) for name in own} | dict(ORIGINAL_NAMES)
        self._kohya = {
            name.replace(".", "_"): replace(target, layout=_KOHYA_LAYOUTS[target.layout])
            for name, target in self._dotted.items()
        }

    def find(self, module: str) -> Target | None:
        """The layers that a file means by ``module``; None for a name no network here has."""
        for prefix in _KOHYA_PREFIXES:
            if module.startswith(prefix):
                return _lookup(self._kohya, module.removeprefix(prefix))
        return _lookup(self._dotted, without_prefix(module))


def without_prefix(module: str) -> str:
    """A dotted module name without the name of the network it stands in."""
    for prefix in _DOTTED_PREFIXES:
        module = module.removeprefix(prefix)
    return module


def _lookup(table: Mapping[str, Target], name: str) -> Target | None:
    template, number = _template(name)
    target = table.get(template)
    if target is None:
        return None
    return replace(target, modules=tuple(part.replace("{}", number) for part in target.modules))


def _template(name: str) -> tuple[str, str]:
    """The name with ``{}`` for the number of its block, and that number."""
    found = _BLOCK_NUMBER.search(name)
    if found is None:
        return name, ""
    return f"{name[: found.start()]}{{}}{name[found.end() :]}", str(int(found[0]))


_HUNYUAN = "HunyuanVideo"
_KOHYA_LAYOUTS = {"diffusers": "kohya, FramePack names", _HUNYUAN: "kohya, HunyuanVideo names"}


def _original_names() -> dict[str, Target]:
    double, single = "transformer_blocks.{}", "single_transformer_blocks.{}"
    refiner = "context_embedder.token_refiner.refiner_blocks.{}"
    table = _whole(
        {
            "time_in.mlp.0": "time_text_embed.timestep_embedder.linear_1",
            "time_in.mlp.2": "time_text_embed.timestep_embedder.linear_2",
            "guidance_in.mlp.0": "time_text_embed.guidance_embedder.linear_1",
            "guidance_in.mlp.2": "time_text_embed.guidance_embedder.linear_2",
            "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
            "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
            "final_layer.linear": "proj_out",
        }
    )
    # The original chunks this layer into shift and scale, ours into scale and shift.
    table["final_layer.adaLN_modulation.1"] = Target(
        _HUNYUAN, ("norm_out.linear",), "halves swapped"
    )
    table |= _double_stream("img", double, "norm1", "ff", ("to_q", "to_k", "to_v"), "to_out.0")
    added = ("add_q_proj", "add_k_proj", "add_v_proj")
    table |= _double_stream("txt", double, "norm1_context", "ff_context", added, "to_add_out")
    table |= _whole(
        {
            "single_blocks.{}.linear2": f"{single}.proj_out",
            "single_blocks.{}.modulation.linear": f"{single}.norm.linear",
        }
    )
    parts = tuple(f"{single}.{part}" for part in ("attn.to_q", "attn.to_k", "attn.to_v"))
    table["single_blocks.{}.linear1"] = Target(_HUNYUAN, (*parts, f"{single}.proj_mlp"), "qkv+mlp")
    return table | _refiner_names(refiner)


def _whole(names: Mapping[str, str]) -> dict[str, Target]:
    return {theirs: Target(_HUNYUAN, (ours,)) for theirs, ours in names.items()}


def _double_stream(
    stream: str, block: str, norm: str, feed_forward: str, qkv: tuple[str, ...], out: str
) -> dict[str, Target]:
    """Names of one stream of the double-stream blocks."""
    theirs = f"double_blocks.{{}}.{stream}"
    table = _whole(
        {
            f"{theirs}_mod.linear": f"{block}.{norm}.linear",
            f"{theirs}_mlp.fc1": f"{block}.{feed_forward}.net.0.proj",
            f"{theirs}_mlp.fc2": f"{block}.{feed_forward}.net.2",
        }
    )
    for dot in ("_", "."):
        table[f"{theirs}_attn{dot}proj"] = Target(_HUNYUAN, (f"{block}.attn.{out}",))
        parts = tuple(f"{block}.attn.{part}" for part in qkv)
        table[f"{theirs}_attn{dot}qkv"] = Target(_HUNYUAN, parts, "qkv")
    return table


def _refiner_names(block: str) -> dict[str, Target]:
    """Names of the text refiner."""
    theirs, embed = "txt_in.individual_token_refiner.blocks.{}", "context_embedder.time_text_embed"
    table = _whole(
        {
            "txt_in.input_embedder": "context_embedder.proj_in",
            "txt_in.t_embedder.mlp.0": f"{embed}.timestep_embedder.linear_1",
            "txt_in.t_embedder.mlp.2": f"{embed}.timestep_embedder.linear_2",
            "txt_in.c_embedder.linear_1": f"{embed}.text_embedder.linear_1",
            "txt_in.c_embedder.linear_2": f"{embed}.text_embedder.linear_2",
            f"{theirs}.self_attn_proj": f"{block}.attn.to_out.0",
            f"{theirs}.mlp.fc1": f"{block}.ff.net.0.proj",
            f"{theirs}.mlp.fc2": f"{block}.ff.net.2",
            f"{theirs}.adaLN_modulation.1": f"{block}.norm_out.linear",
        }
    )
    parts = tuple(f"{block}.attn.{part}" for part in ("to_q", "to_k", "to_v"))
    table[f"{theirs}.self_attn_qkv"] = Target(_HUNYUAN, parts, "qkv")
    return table


ORIGINAL_NAMES: Mapping[str, Target] = _original_names()
"""Linear layers of the original HunyuanVideo network, ``{}`` for the block's number, and ours.

Names that only FLUX has (``img_mlp.0``, ``img_mod.lin``) are left out on purpose: its blocks have
the same widths, so a FLUX file would fit without being meant for this network.

Source: HunyuanVideo, arXiv 2412.03603, and its published weights' keys.
"""
