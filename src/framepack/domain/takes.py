"""Requests for takes: the same video with one section made again, or more of it.

They are made of the request and the plan of the first video, such that a run that has the first
sections of that video goes on to the very video that the request gives from nothing.
"""

from pathlib import Path
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.plan import Plan
from framepack.domain.request import SECTION_FIELDS, GenerationRequest
from framepack.domain.section_settings import pin_cues
from framepack.domain.timeline import SectionCue

__all__ = ["made_longer", "steered_anew", "with_section_again"]


def with_section_again(
    plan: Plan,
    request: GenerationRequest,
    *,
    section: int,
    prompt: str | None = None,
    image: Path | None = None,
    seed: int | None = None,
) -> tuple[GenerationRequest, int]:
    """The request of a video of which one section is another.

    Args:
        plan: of the first video.
        request: that it was made of.
        section: 0 is the first that was generated, -1 the last.
        prompt: what happens in it; None for what it was.
        image: picture that stands for the start picture in it.
        seed: of its noise.

    Returns:
        The request, and how many sections, in rendering order, stay as they are.

    Raises:
        InvalidRequest: there is no such section.
    """
    count = plan.num_sections - plan.num_given_sections
    if not -count <= section < count:
        raise InvalidRequest(
            f"section {section} is not in the video, which has sections 0 to {count - 1}"
        )
    index = section % count
    cues = _pinned_cues(plan, request)
    place = {"section": index, "until_section": index + 1}
    _add(cues, place, prompt=prompt, image=image, seed=seed)
    index += plan.num_given_sections
    num_kept = next(each.render_index for each in plan.sections if each.index == index)
    return request.updated(**cues), num_kept


def made_longer(plan: Plan, request: GenerationRequest, *, by_s: float) -> GenerationRequest:
    """The request of a video that is longer, whose first sections are those of another.

    Args:
        plan: of the first video, which is forward-only.
        request: that it was made of.
        by_s: seconds to add.
    """
    # The duration of a video that extended another is what it added.
    there_s = plan.duration_s if request.extend is None else request.duration_s
    cues = _pinned_cues(plan, request)
    return request.updated(duration_s=there_s + by_s, official_length=False, **cues)


def steered_anew(
    plan: Plan,
    longer: GenerationRequest,
    *,
    prompt: str | None = None,
    seed: int | None = None,
) -> GenerationRequest:
    """What :func:`made_longer` gave, with words and noise of their own for the new sections.

    Args:
        plan: of the first video.
        longer: the request; it must make at least one section more.
        prompt: what happens in the new sections, as a section prompt says it.
        seed: of the first one's noise; each further one has the next.
    """
    cues: dict[str, tuple[SectionCue, ...]] = {
        name: getattr(longer, name) for name in SECTION_FIELDS
    }
    first = plan.num_sections - plan.num_given_sections
    _add(cues, {"section": first}, prompt=prompt)
    _add(cues, {"section": first, "until_section": 0}, seed=seed)  # 0 is the end
    return longer.updated(**cues)


def _add(cues: dict[str, tuple[SectionCue, ...]], place: dict[str, Any], **said: Any) -> None:
    """Add what is said of a place to the cues of its kind."""
    for kind, value in said.items():
        if value is not None:
            name = f"section_{kind}s"
            cues[name] = (*cues[name], SectionCue.model_validate({**place, kind: value}))


def _pinned_cues(plan: Plan, request: GenerationRequest) -> dict[str, tuple[SectionCue, ...]]:
    """What a request says of sections, by the numbers that these have in its plan."""
    given = plan.num_given_sections
    made = sorted(plan.sections, key=lambda each: each.index)[given:]
    starts_s = [
        (section.start_frame - made[0].start_frame) / plan.generated_fps for section in made
    ]
    num_frames = plan.num_kept_frames - made[0].start_frame
    duration_s = num_frames / plan.generated_fps if given else plan.duration_s
    return {
        name: pin_cues(getattr(request, name), starts_s=starts_s, duration_s=duration_s)
        for name in SECTION_FIELDS
    }
