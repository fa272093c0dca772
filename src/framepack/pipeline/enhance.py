"""Longer prompts from short ones: what FramePack likes is a sentence that says what moves.

Every distinct text of a plan is expanded once, before anything is generated, by one of three
writers: a language model behind an endpoint that speaks the OpenAI protocol (Ollama, vLLM and
others), one that transformers runs here, or a fixed form of words that needs no model. What was
written is part of the plan and of the video file, so a video is repeated without asking again.
"""

import hashlib
from typing import Any

from PIL import Image
from torch import nn

from framepack.domain.errors import FramePackError
from framepack.domain.plan import Plan
from framepack.domain.settings import Settings
from framepack.pipeline.conditions import Pictures
from framepack.pipeline.writers import (
    LONGEST_ERROR,
    MOST_TOKENS,
    Writer,
    ask_endpoint,
    by_template,
)

__all__ = ["Writer", "enhance"]

_cache: dict[tuple[str, ...], str] = {}


def enhance(
    plan: Plan, pictures: Pictures, settings: Settings, writer: Writer | None = None
) -> Plan:
    """The plan with longer texts, in which every distinct text was expanded once.

    Texts in ``enhanced_prompts`` of the request are taken from there and nobody is asked.

    Args:
        plan: with ``enhance`` and ``enhanced_prompts`` in its request.
        pictures: the start picture is shown to the writer.
        settings: endpoint, model and instruction.
        writer: who writes, in place of the one that the request names.

    Raises:
        FramePackError: the writer cannot be reached or wrote nothing.
    """
    request = plan.request
    known = dict(request.enhanced_prompts)
    texts = dict.fromkeys(
        text for section in plan.sections for text, _ in section.texts if text.strip()
    )
    if request.enhance != "off":
        written_by = writer or _writer(request.enhance, settings)
        for text in texts:
            if text not in known:
                known[text] = _once(request.enhance, settings, written_by, text, pictures.start)
    new = {text: known[text] for text in texts if text in known}
    if not new:
        return plan
    notes = tuple(f"Enhanced: {text!r} became {longer!r}" for text, longer in new.items())
    return plan.with_texts(new).model_copy(
        update={
            "request": request.model_copy(update={"enhanced_prompts": known}),
            "notes": (*plan.notes, *notes),
        }
    )


def _once(
    enhancer: str, settings: Settings, writer: Writer, text: str, picture: Image.Image | None
) -> str:
    seen = hashlib.sha256(picture.tobytes()).hexdigest() if picture is not None else ""
    key = (
        enhancer,
        settings.enhancer_url or "",
        settings.enhancer_model or "",
        settings.enhancer_instruction,
        text,
        seen,
    )
    if key not in _cache:
        longer = " ".join(writer(text, picture).split()).strip("\"' ")
        if not longer:
            raise FramePackError(
                f"the enhancer wrote nothing for {text!r}; try another enhancer_model, or leave "
                "--enhance out"
            )
        _cache[key] = longer
    return _cache[key]


def _writer(enhancer: str, settings: Settings) -> Writer:
    if enhancer == "template":
        return lambda text, _: by_template(text)
    if enhancer == "endpoint":
        return lambda text, picture: ask_endpoint(text, picture, settings)
    return _local_writer(settings)


def _local_writer(settings: Settings) -> Writer:
    """A vision-language model of transformers, loaded for this one job."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from framepack.pipeline.device import choose_device, choose_dtype

    name, instruction = str(settings.enhancer_model), settings.enhancer_instruction
    device = choose_device(settings.device)
    try:
        processor: Any = AutoProcessor.from_pretrained(name, local_files_only=settings.offline)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            name, dtype=choose_dtype(device), local_files_only=settings.offline
        )
        nn.Module.to(model, device)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:LONGEST_ERROR]
        raise FramePackError(
            f"the enhancer {name} cannot be loaded: {reason}; set enhancer_model to a "
            "vision-language model that transformers knows"
        ) from error

    def write(text: str, picture: Image.Image | None) -> str:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if picture is not None:
            content.insert(0, {"type": "image", "image": picture})
        messages = [
            {
                "role": "system",
                "content": [{"type": "text", "text": instruction}],
            },
            {"role": "user", "content": content},
        ]
        inputs = processor.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(device)
        tokens = model.generate(**inputs, max_new_tokens=MOST_TOKENS, do_sample=False)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        return str(processor.decode(new, skip_special_tokens=True))

    return write
