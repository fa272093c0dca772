"""What users may ask of a server: nothing that names a file which they did not send."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.domain.wording import take_lora_tags
from framepack.models.spec import PRESETS
from framepack.service.options import ServiceConfig

__all__ = ["NO_FIELDS", "check_limits", "in_words", "lora_names", "served"]

NO_FIELDS = ("vae_weights", "rife_weights", "enhanced_prompts")
"""Fields of a request that name files of this machine, or what only a command line has."""

_LORA_SUFFIX = ".safetensors"
_IN_BRACKETS = re.compile(r" \(--[a-z0-9-]+\)")
_OPTION = re.compile(r"--[a-z][a-z0-9-]*")


def served(request: GenerationRequest, settings: Settings) -> GenerationRequest:
    """The request with the files of this machine that it may use.

    Raises:
        InvalidRequest: it names a model, a LoRA or weights that the server does not offer.
    """
    for name in NO_FIELDS:
        if name in request.model_fields_set and getattr(request, name):
            raise InvalidRequest(
                f"{name} names a file of the server, which only its operator can do; leave it out"
            )
    if request.model is not None and request.model not in PRESETS:
        raise InvalidRequest(
            f"there is no model {_short(request.model)}; choose {' or '.join(PRESETS)}, or leave "
            "it out for the server's choice"
        )
    for tag in take_lora_tags(request.prompt)[1]:
        _find_lora(tag.path, settings)
    if not request.loras:
        return request
    loras = [
        {"path": _find_lora(lora.path, settings), "weight": lora.weight} for lora in request.loras
    ]
    return request.updated(loras=loras)


def lora_names(settings: Settings) -> dict[str, Path]:
    """The LoRAs that the server offers, by name."""
    if settings.loras_dir is None or not settings.loras_dir.is_dir():
        return {}
    files = sorted(settings.loras_dir.glob(f"*{_LORA_SUFFIX}"))
    return {path.stem: path.absolute() for path in files if path.is_file()}


def check_limits(request: GenerationRequest, config: ServiceConfig) -> None:
    """Refuse what is longer than the server allows.

    Raises:
        InvalidRequest: names the limit.
    """
    if request.duration_s > config.max_duration_s:
        raise InvalidRequest(
            f"{request.duration_s:g} s were asked for; this server makes videos of at most "
            f"{config.max_duration_s:g} s, so ask for less"
        )
    texts = [request.prompt, request.negative_prompt, request.system_prompt]
    texts += [cue.prompt or "" for cue in request.section_cues]
    length = sum(map(len, texts))
    if length > config.max_prompt_chars:
        raise InvalidRequest(
            f"prompt and section prompts have {length} characters; this server reads at most "
            f"{config.max_prompt_chars}, so shorten them"
        )


def in_words(
    error: InvalidRequest, names: Mapping[Path, str], settings: Settings
) -> InvalidRequest:
    """The same error for people who see neither the command line nor the server's folders.

    Args:
        error: of the engine.
        names: what the sender calls the files at some paths.
        settings: name folders that are nobody's business.
    """
    text = str(error)
    ours = {
        settings.styles_file: "the server's style file",
        settings.wildcards_dir: "the server's wildcards",
        settings.loras_dir: "the server's LoRAs",
    }
    known = {path: name for path, name in ours.items() if path is not None}
    for path, name in {**names, **known}.items():
        text = text.replace(str(path), name)
    text = _IN_BRACKETS.sub("", text)
    return InvalidRequest(_OPTION.sub(lambda found: _fields().get(found[0], found[0]), text))


@cache
def _fields() -> dict[str, str]:
    """Names of fields by the options of the command line, which the engine's messages name."""
    names = {}
    for name, field in GenerationRequest.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        names[str(extra["option"])] = name
    return names


def _find_lora(asked: Path, settings: Settings) -> Path:
    known = lora_names(settings)
    for name, path in known.items():
        if str(asked) in (name, path.name, str(path)):
            return path
    offered = f"choose one of {', '.join(known)}" if known else "it offers none"
    raise InvalidRequest(f"the server has no LoRA {_short(str(asked))}; {offered}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:40]}...")
