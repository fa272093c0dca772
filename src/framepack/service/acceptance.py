"""Whether a request is accepted: its files are stored and all of it is checked before it waits."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framepack.decisions import decide_with_outputs
from framepack.domain.errors import InvalidRequest
from framepack.domain.plan import Plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.models.parts import ModelSpec
from framepack.service.allowed import check_ffmpeg
from framepack.service.inputs import Input, named_files, store_inputs
from framepack.service.intake import check_inputs
from framepack.service.options import JobOptions, ServiceConfig
from framepack.service.requests import check_limits, in_words, served
from framepack.service.settled import check_something_is_left, for_one_frame, with_sound

__all__ = ["Acceptance", "Accepted"]

_AT_ONCE = 2
"""Requests that are checked at the same time; each may decode a large picture."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that can be made.

    Attributes:
        request: with the paths of its stored files.
        plan: what is made of it.
        spec: the model that makes it.
    """

    request: GenerationRequest
    plan: Plan
    spec: ModelSpec


class Acceptance:
    """Checks requests, a few at a time.

    Args:
        config: limits.
        settings: of this machine, asked for each request.
        recipes: kept ones by their names, asked for each request.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        settings: Callable[[], Settings],
        recipes: Callable[[], Mapping[str, Path]],
    ) -> None:
        self._config = config
        self._settings = settings
        self._recipes = recipes
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def of(
        self,
        fields: Mapping[str, Any],
        files: Mapping[str, Input],
        options: JobOptions,
        folder: Path,
        inputs: Path,
        *,
        is_dry: bool = False,
    ) -> tuple[Accepted, JobOptions]:
        """Store the files of a request and check all of it.

        Args:
            fields: of ``GenerationRequest``; those that name files name one of ``files``.
            files: by word.
            options: what is to be left besides the video.
            folder: where outputs would go.
            inputs: where the files go.
            is_dry: only the plan is wanted, so that a prompt may be missing.

        Returns:
            The request with its plan, and the options that suit it.

        Raises:
            InvalidRequest: bad input, in the words of whoever sent it.
            StoreFull: a file cannot be kept.
        """
        settings, names = self._settings(), dict[Path, str]()
        with self._turns:
            try:
                stored = store_inputs(files, inputs)
                names = {path: files[word].name for word, path in stored.items()}
                check_inputs(stored, max_pixels=self._config.max_pixels)
                request = GenerationRequest.parse(**named_files(fields, stored))
                request = served(request, settings, self._recipes())
                check_limits(request, self._config)
                check_ffmpeg(request)
                check_something_is_left(options, request)
                options = with_sound(for_one_frame(options, request), stored)
                video = folder / f"video.{options.container}"
                plan, spec = decide_with_outputs(request, settings, video, allow_empty=is_dry)
                if plan.duration_s > self._config.max_duration_s:
                    check_limits(request.updated(duration_s=plan.duration_s), self._config)
            except InvalidRequest as error:
                raise in_words(error, {**names, inputs: "input"}, settings) from error
        return Accepted(request, plan, spec), options
