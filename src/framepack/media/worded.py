"""A request with its styles, wildcards and LoRA tags turned into plain text and values."""

import random
import secrets

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.domain.wording import (
    apply_styles,
    fill_wildcards,
    has_wildcards,
    take_lora_tags,
)
from framepack.media.wording_files import read_styles, wildcard_lines

__all__ = ["check_enhancer", "worded"]


def worded(request: GenerationRequest, settings: Settings) -> tuple[GenerationRequest, str | None]:
    """Settle what the prompt is; a request without any of these comes back as it is.

    Args:
        request: as asked.
        settings: name the style file and the wildcard folder.

    Returns:
        The request with plain texts, and a line that says the prompt if it has changed.

    Raises:
        InvalidRequest: an unknown style or wildcard, a tag that is no LoRA, or a LoRA tag in the
            text of a section.
    """
    styled = request
    if request.styles:
        given = {name: getattr(request, name) for name in request.model_fields_set}
        styles = read_styles(settings.styles_file, request.styles)
        styled = GenerationRequest.parse(**{**apply_styles(given, styles), "styles": ()})
    texts = [styled.prompt, styled.negative_prompt]
    texts += [cue.prompt or "" for cue in styled.section_prompts]
    if any(map(has_wildcards, texts)):
        styled = _with_wildcards(styled, settings)
    prompt, loras = take_lora_tags(styled.prompt)
    _refuse_tags(styled)
    if loras:
        styled = styled.updated(prompt=prompt, loras=(*styled.loras, *loras))
    changed = styled.prompt != request.prompt
    return styled, f"Prompt: {styled.prompt}" if changed else None


def _with_wildcards(request: GenerationRequest, settings: Settings) -> GenerationRequest:
    folder = settings.wildcards_dir
    if folder is None:
        raise InvalidRequest(
            "the prompt has a wildcard such as __name__, but no folder of wildcards is set; set "
            "wildcards_dir, or write the prompt without double underscores"
        )
    seed = request.seed if request.seed is not None else secrets.randbelow(2**32)
    rng = random.Random(f"{seed}/wildcards")

    def filled(text: str) -> str:
        return fill_wildcards(text, lambda name: wildcard_lines(folder, name), rng)

    cues = tuple(
        cue.model_copy(update={"prompt": filled(cue.prompt)}) if cue.prompt else cue
        for cue in request.section_prompts
    )
    return request.updated(
        prompt=filled(request.prompt),
        negative_prompt=filled(request.negative_prompt),
        section_prompts=cues,
        seed=seed,
    )


def _refuse_tags(request: GenerationRequest) -> None:
    others = [cue.prompt or "" for cue in request.section_prompts]
    for text in (request.negative_prompt, *others):
        if take_lora_tags(text)[1]:
            raise InvalidRequest(
                f"a LoRA tag in {text!r}: a LoRA acts in the whole video; put the tag in the "
                "prompt, or use --lora"
            )


def check_enhancer(enhancer: str, settings: Settings) -> None:
    """Check that the settings say what a writer needs.

    Raises:
        InvalidRequest: names the setting that is missing.
    """
    if enhancer == "endpoint" and settings.enhancer_url is None:
        raise InvalidRequest(
            "--enhance endpoint needs an endpoint; set enhancer_url, such as "
            "http://127.0.0.1:11434/v1 for Ollama"
        )
    if enhancer in ("endpoint", "local") and settings.enhancer_model is None:
        raise InvalidRequest(
            f"--enhance {enhancer} needs a vision-language model; set enhancer_model"
        )
