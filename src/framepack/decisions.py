"""From a request to a plan: model, pictures, videos, encoder and LoRA files, all checked first.

Nothing here imports torch or loads a weight.
"""

from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import MAX_DURATION_S, GenerationRequest
from framepack.domain.settings import Settings
from framepack.domain.sources import VideoFacts
from framepack.models.parts import ModelSpec
from framepack.models.spec import PRESETS, checkpoint_for, choose_model, resolve_spec

__all__ = ["decide", "decide_with_outputs", "find_model", "plan_of"]


def find_model(
    request: GenerationRequest, settings: Settings, *, ask_torch: bool = False
) -> tuple[ModelSpec, str | None]:
    """Return the model a request means, and a line for people if it names none.

    Args:
        request: names a model, or leaves the choice to what this machine has.
        settings: of this machine.
        ask_torch: let torch confirm the accelerator where the choice hangs on it. Without it
            torch is not imported, and a card that torch cannot use may be believed in.

    Raises:
        InvalidRequest: unknown model or variant, or the two contradict each other.
    """
    if request.model is not None:
        return resolve_spec(request.model, request.variant), None
    from framepack.pipeline.hardware import may_run_published
    from framepack.weights.locate import are_weights_present

    weights_present = are_weights_present(PRESETS[checkpoint_for(request.variant)], settings)
    has_accelerator = may_run_published(settings)
    if ask_torch and has_accelerator and weights_present:
        from framepack.pipeline.device import choose_device

        has_accelerator = choose_device(settings.device).type != "cpu"
    choice = choose_model(
        request.variant, has_accelerator=has_accelerator, weights_present=weights_present
    )
    return resolve_spec(choice.model, request.variant), choice.line


def plan_of(
    request: GenerationRequest,
    settings: Settings,
    *,
    ask_torch: bool = False,
    allow_empty: bool = False,
) -> tuple[Plan, ModelSpec]:
    """The plan of a request and the model it is made with; see :func:`decide_with_outputs`."""
    request = request.model_copy(update={"vae": request.vae or settings.vae})
    spec, line = find_model(request, settings, ask_torch=ask_torch)
    decided = decide(request, spec, allow_empty=allow_empty)
    return _with_notes(decided, line), spec


def decide_with_outputs(
    request: GenerationRequest, settings: Settings, video: Path, **options: bool
) -> tuple[Plan, ModelSpec]:
    """Decide everything about a video, its encoder and its LoRA files included. No torch.

    Args:
        request: what is asked; if it names no model, a note says which one is taken.
        settings: of this machine.
        video: the video file, whose suffix says what it can hold.
        options: ``ask_torch`` of :func:`find_model` and ``allow_empty`` of :func:`decide`.

    Raises:
        InvalidRequest: request, pictures, LoRAs, encoder, file and model do not fit together.
    """
    from framepack.media.outputs import check_encoding, settle_codec
    from framepack.media.worded import check_enhancer, worded
    from framepack.weights.lora_paths import find_loras
    from framepack.weights.vae_request import settle_vae

    said, prompt_line = worded(request, settings)
    check_enhancer(said.enhance, settings)
    settled, line = settle_codec(said, video)
    settled = settled.model_copy(update={"loras": find_loras(settled.loras, settings)})
    settled, vae_line = settle_vae(settled, settings)
    weights = settled.rife_weights or settings.rife_weights
    if settled.uses_rife and weights is not None:
        settled = settled.model_copy(update={"rife_weights": weights.absolute()})
    decided, spec = plan_of(settled, settings, **options)
    width, height = _filtered_size(decided)
    check_encoding(decided.request, video, width=width, height=height, fps=decided.fps)
    filter_line = None
    if (width, height) != (decided.width, decided.height):
        filter_line = f"Filters make {width}x{height} px of {decided.width}x{decided.height}."
    for note in (prompt_line, vae_line, filter_line, line):
        decided = _with_notes(decided, note, at_end=True)
    return decided, spec


def _filtered_size(decided: Plan) -> tuple[int, int]:
    """The size of the frames that are written, which filters may change."""
    from framepack.media.filters import check_filters
    from framepack.media.writer import frame_rate

    filters, fps = decided.request.filters, frame_rate(decided.fps)
    width, height = check_filters(filters, width=decided.width, height=decided.height, fps=fps)
    if width % 2 or height % 2 or min(width, height) < 16:
        raise InvalidRequest(
            f"filter {', '.join(filters)} makes {width}x{height} px, and videos need even numbers "
            "of 16 or more; add a filter such as scale=W:H"
        )
    return width, height


def _with_notes(decided: Plan, line: str | None, *, at_end: bool = False) -> Plan:
    if line is None:
        return decided
    notes = (*decided.notes, line) if at_end else (line, *decided.notes)
    return decided.model_copy(update={"notes": notes})


def decide(request: GenerationRequest, spec: ModelSpec, *, allow_empty: bool = False) -> Plan:
    """Decide everything about a video by a model; a damaged picture is found here.

    Args:
        request: what is asked.
        spec: the model.
        allow_empty: let prompt and picture be missing.

    Raises:
        InvalidRequest: request, pictures and model do not fit together.
    """
    if request.system_text is not None and not spec.prompt_template.takes_system:
        raise InvalidRequest(
            f"model {spec.key} reads prompts without a system prompt; leave --system-prompt out, "
            "or choose another --model"
        )
    for path in request.section_pictures:
        _image_size(path)
    video = _source_facts(request)
    if request.video is not None and video is not None:
        request = _as_long_as(request, video)
    decided = make_plan(
        request,
        model=spec.key,
        geometry=spec.geometry,
        defaults=spec.defaults,
        variants=spec.variants,
        image_size=_image_size(request.image),
        end_image_size=_image_size(request.end_image),
        video=video,
        allow_empty=allow_empty,
    )
    for line in _animation_lines(request):
        decided = _with_notes(decided, line, at_end=True)
    return decided


def _animation_lines(request: GenerationRequest) -> list[str]:
    """Lines about pictures that move, without their names, because they go into the file."""
    from framepack.media.stills import num_pictures

    pictures = [("The start picture", request.image), ("The end picture", request.end_image)]
    pictures += [("A section's picture", path) for path in request.section_pictures]
    moving = [name for name, path in pictures if path is not None and num_pictures(path) > 1]
    return [f"{name} is an animation: its first frame is used." for name in dict.fromkeys(moving)]


def _image_size(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    from framepack.media.images import image_size

    return image_size(path)


def _source_facts(request: GenerationRequest) -> VideoFacts | None:
    path = request.extend or request.video
    if path is None:
        return None
    from framepack.media.source_video import source_facts

    return source_facts(path)


def _as_long_as(request: GenerationRequest, video: VideoFacts) -> GenerationRequest:
    """The request with the duration of the video to draw anew, unless it asks for less."""
    if "duration_s" not in request.model_fields_set:
        return request.updated(duration_s=min(video.duration_s, MAX_DURATION_S))
    if round(request.duration_s * request.fps) > video.num_frames(request.fps):
        raise InvalidRequest(
            f"{request.video} has {video.duration_s:.2f} s, but a duration of "
            f"{request.duration_s:g} s was asked; ask for less, or make it longer first with "
            "--extend"
        )
    return request
