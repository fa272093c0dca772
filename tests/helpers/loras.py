"""LoRA files in every layout, and what they mean when worked out by hand."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WIDTH, HIDDEN, RANK, ALPHA = 64, 256, 4, 2.0
Tensors = dict[str, Tensor]
Save = Callable[..., Path]

ONE = {"transformer_blocks.0.attn.to_q": (WIDTH, WIDTH)}
[ONE_NAME] = ONE


def lora_pair(rows: int, columns: int, rank: int = RANK) -> tuple[Tensor, Tensor]:
    return torch.randn(rank, columns), torch.randn(rows, rank) * 0.1


def peft_lora(modules: Mapping[str, tuple[int, int]], prefix: str = "transformer.") -> Tensors:
    tensors = {}
    for module, (rows, columns) in modules.items():
        down, up = lora_pair(rows, columns)
        tensors |= {f"{prefix}{module}.lora_A.weight": down, f"{prefix}{module}.lora_B.weight": up}
    return tensors


def kohya_lora(modules: Mapping[str, tuple[int, int]]) -> Tensors:
    tensors = {}
    for module, (rows, columns) in modules.items():
        name = f"lora_unet_{module.replace('.', '_')}"
        down, up = lora_pair(rows, columns)
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return tensors


OURS = {
    "transformer_blocks.0.attn.to_q": (WIDTH, WIDTH),
    "transformer_blocks.1.attn.add_v_proj": (WIDTH, WIDTH),
    "transformer_blocks.1.attn.to_out.0": (WIDTH, WIDTH),
    "transformer_blocks.1.attn.to_add_out": (WIDTH, WIDTH),
    "transformer_blocks.0.ff.net.0.proj": (HIDDEN, WIDTH),
    "transformer_blocks.0.ff_context.net.2": (WIDTH, HIDDEN),
    "single_transformer_blocks.1.attn.to_k": (WIDTH, WIDTH),
    "single_transformer_blocks.1.proj_mlp": (HIDDEN, WIDTH),
    "single_transformer_blocks.0.proj_out": (WIDTH, WIDTH + HIDDEN),
    "context_embedder.token_refiner.refiner_blocks.0.attn.to_q": (WIDTH, WIDTH),
}
ORIGINAL = {
    "double_blocks.0.img_attn_qkv": (3 * WIDTH, WIDTH),
    "double_blocks.1.txt_attn_qkv": (3 * WIDTH, WIDTH),
    "double_blocks.0.txt_mod.linear": (6 * WIDTH, WIDTH),
    "double_blocks.0.img_mlp.fc1": (HIDDEN, WIDTH),
    "single_blocks.1.linear1": (3 * WIDTH + HIDDEN, WIDTH),
    "single_blocks.1.linear2": (WIDTH, WIDTH + HIDDEN),
    "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
}


def by_hand(module: str, delta: Tensor) -> Tensors:
    """What a change of an original HunyuanVideo layer is to our layers."""
    number = module.split(".")[1]
    double, single = f"transformer_blocks.{number}", f"single_transformer_blocks.{number}"
    q, k, v = delta[:WIDTH], delta[WIDTH : 2 * WIDTH], delta[2 * WIDTH : 3 * WIDTH]
    if "img_attn_qkv" in module:
        return {f"{double}.attn.to_q": q, f"{double}.attn.to_k": k, f"{double}.attn.to_v": v}
    if "txt_attn_qkv" in module:
        names = (f"{double}.attn.add_{letter}_proj" for letter in "qkv")
        return dict(zip(names, (q, k, v), strict=True))
    if "linear1" in module:
        parts = {
            f"{single}.attn.to_{letter}": part
            for letter, part in zip("qkv", (q, k, v), strict=True)
        }
        return parts | {f"{single}.proj_mlp": delta[3 * WIDTH :]}
    if module.startswith("final_layer"):
        return {"norm_out.linear": torch.cat([delta[WIDTH:], delta[:WIDTH]])}
    names = {
        "txt_mod.linear": f"{double}.norm1_context.linear",
        "img_mlp.fc1": f"{double}.ff.net.0.proj",
        "linear2": f"{single}.proj_out",
    }
    return {names[module.split(".", 2)[2]]: delta}


def deltas_by_hand(tensors: Tensors, modules: Mapping[str, Any], kohya: bool) -> Tensors:
    deltas: Tensors = {}
    for module in modules:
        name = f"lora_unet_{module.replace('.', '_')}" if kohya else f"transformer.{module}"
        down, up = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
        delta = tensors[f"{name}.{up}.weight"] @ tensors[f"{name}.{down}.weight"]
        delta = delta * (ALPHA / RANK if kohya else 1.0)
        deltas |= {module: delta} if module in OURS else by_hand(module, delta)
    return deltas


def fingerprint(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
