"""Limits of what users may ask of a server, its LoRAs by name, and errors in their words."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.domain.wording import take_lora_tags
from framepack.models.spec import PRESETS
from framepack.service.allowed import check_ffmpeg
from framepack.service.options import ServiceConfig
from framepack.service.recipes import model_name

__all__ = ["check_limits", "in_words", "lora_names", "served", "without_options"]

_LORA_SUFFIX = ".safetensors"
_IN_BRACKETS = re.compile(r" \(--[a-z0-9-]+(?:, --[a-z0-9-]+)*\)")
_OPTION = re.compile(r"--[a-z][a-z0-9-]*")


def served(
    request: GenerationRequest, settings: Settings, recipes: Mapping[str, Path] | None = None
) -> GenerationRequest:
    """The request with the paths of the files that it names, so that nothing else is looked up.

    Args:
        request: as it was sent.
        settings: name the LoRA folder.
        recipes: kept by the server's operators, by name; each is a model.

    Raises:
        InvalidRequest: it names weights that the server does not offer, or a filter, an encoder
            or an option of one that could reach a file.
    """
    for name in ("vae_weights", "rife_weights"):
        if getattr(request, name) is not None:
            raise InvalidRequest(
                f"{name} names a file of the server, whose settings choose these weights; leave "
                "it out"
            )
    model = _model_file(request.model, recipes or {})
    if model != request.model:
        request = request.updated(model=model)
    check_ffmpeg(request)
    for tag in take_lora_tags(request.prompt)[1]:
        _lora_file(tag.path, settings)
    if not request.loras:
        return request
    loras = [
        {"path": _lora_file(lora.path, settings), "weight": lora.weight} for lora in request.loras
    ]
    return request.updated(loras=loras)


def _model_file(asked: str | None, recipes: Mapping[str, Path]) -> str | None:
    """What stands for a model: a preset, or the path of a recipe."""
    if asked is None or asked in PRESETS:
        return asked
    kept = {**recipes, **{str(path): path for path in recipes.values()}}  # of a video made before
    if asked not in kept:
        raise InvalidRequest(
            f"model is {_short(model_name(asked))}; this server has "
            f"{', '.join([*PRESETS, *recipes])}, and chooses by itself where none is named"
        )
    return str(kept[asked].absolute())


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
    error: InvalidRequest,
    names: Mapping[Path, str],
    settings: Settings,
    options: Mapping[str, str] | None = None,
) -> InvalidRequest:
    """The same error for people who see neither the command line nor the server's folders.

    Args:
        error: of the engine.
        names: what the sender calls the files at some paths.
        settings: name folders that are nobody's business.
        options: fields by the options of the command line; those of a request unless given.
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
    return InvalidRequest(without_options(text, options))


def without_options(text: str, options: Mapping[str, str] | None = None) -> str:
    """A text with names of fields in the place of options of the command line.

    Args:
        text: the text.
        options: fields by option; those of a request unless given.
    """
    fields = _fields() if options is None else options
    text = _IN_BRACKETS.sub("", text)
    return _OPTION.sub(lambda found: fields.get(found[0], found[0]), text)


@cache
def _fields() -> dict[str, str]:
    """Names of fields by the options of the command line, which the engine's messages name."""
    names = {}
    for name, field in GenerationRequest.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        names[str(extra["option"])] = name
    return names


def _lora_file(asked: Path, settings: Settings) -> Path:
    known = lora_names(settings)
    name = str(asked).removesuffix(_LORA_SUFFIX)
    if name in known:
        return known[name]
    offered = f"it has {', '.join(known)}" if known else "it has none"
    raise InvalidRequest(f"there is no LoRA {_short(str(asked))} on this server; {offered}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:40]}...")
