"""Writers of longer prompts that need no network of ours: a form of words, and an endpoint."""

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx2
from PIL import Image

from framepack.domain.errors import FramePackError
from framepack.domain.settings import Settings

__all__ = ["LONGEST_ERROR", "MOST_TOKENS", "Writer", "ask_endpoint", "by_template"]

Writer = Callable[[str, Image.Image | None], str]
"""From a text and the start picture, if there is one, to a longer text."""

MOST_TOKENS = 160
LONGEST_ERROR = 200
_TEMPLATE = "{}, with clear and natural movements"
_PICTURE_PX = 512


def by_template(text: str) -> str:
    """The text in a fixed form of words."""
    return _TEMPLATE.replace("{}", text.rstrip(" .,"))


def ask_endpoint(text: str, picture: Image.Image | None, settings: Settings) -> str:
    """The text as the model behind the endpoint of the settings expands it.

    Raises:
        FramePackError: it cannot be reached, refuses, or speaks another protocol.
    """
    url = f"{str(settings.enhancer_url).rstrip('/')}/chat/completions"
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if picture is not None:
        content.append({"type": "image_url", "image_url": {"url": _data_url(picture)}})
    key = settings.enhancer_api_key
    try:
        answer = httpx2.post(
            url,
            json={
                "model": settings.enhancer_model,
                "messages": [
                    {"role": "system", "content": settings.enhancer_instruction},
                    {"role": "user", "content": content},
                ],
                "max_tokens": MOST_TOKENS,
            },
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=settings.enhancer_timeout_s,
        )
        answer.raise_for_status()
        return str(answer.json()["choices"][0]["message"]["content"] or "")
    except httpx2.HTTPStatusError as error:
        said = " ".join(error.response.text.split())[:LONGEST_ERROR]
        raise FramePackError(
            f"the enhancer at {url} answered {error.response.status_code}: {said}; check "
            "enhancer_url, enhancer_model and enhancer_api_key, or leave --enhance out"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise FramePackError(
            f"the enhancer at {url} cannot be reached: {error or type(error).__name__}; start it, "
            "check enhancer_url, or leave --enhance out"
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise FramePackError(
            f"the enhancer at {url} gave an answer of another form; enhancer_url must lead to an "
            "API that speaks the OpenAI protocol, and usually ends in /v1"
        ) from error


def _data_url(picture: Image.Image) -> str:
    small = picture.convert("RGB")
    small.thumbnail((_PICTURE_PX, _PICTURE_PX))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
