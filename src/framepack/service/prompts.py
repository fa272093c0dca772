"""Longer prompts from short ones, before anything is queued, so that people can edit them."""

from pathlib import Path
from typing import Literal

from framepack.domain.errors import FramePackError, InvalidRequest
from framepack.domain.settings import Settings
from framepack.media.images import load_image
from framepack.pipeline.writers import ask_endpoint, by_template
from framepack.service.requests import without_options

__all__ = ["EnhancerFailed", "How", "longer_prompt"]

How = Literal["template", "endpoint"]


class EnhancerFailed(FramePackError):  # noqa: N818 - the name says what is wrong
    """The language model cannot be reached, refused, or wrote nothing."""


def longer_prompt(
    prompt: str, settings: Settings, *, picture: Path | None = None, how: How | None = None
) -> tuple[str, How]:
    """Expand a prompt.

    Args:
        prompt: the text.
        settings: name the endpoint.
        picture: the start picture, which the model is shown.
        how: by a form of words or by the endpoint; None for the endpoint if there is one.

    Returns:
        The longer prompt, and who wrote it.

    Raises:
        InvalidRequest: there is nothing to expand, or no endpoint.
        EnhancerFailed: the endpoint gave no prompt.
    """
    if not prompt.strip():
        raise InvalidRequest("prompt is empty; write a few words, and they are expanded")
    has_endpoint = bool(settings.enhancer_url and settings.enhancer_model)
    if how is None:
        how = "endpoint" if has_endpoint else "template"
    if how == "template":
        return _on_one_line(by_template(prompt)), how
    if not has_endpoint:
        raise InvalidRequest(
            "how is endpoint, but the server's settings name none; set enhancer_url and "
            "enhancer_model there, or take template"
        )
    image = load_image(picture) if picture is not None else None
    try:
        found = _on_one_line(ask_endpoint(prompt, image, settings)).strip("\"' ")
    except FramePackError as error:
        raise EnhancerFailed(without_options(str(error))) from error
    if not found:
        raise EnhancerFailed("the enhancer wrote nothing; try another enhancer_model")
    return found, how


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
