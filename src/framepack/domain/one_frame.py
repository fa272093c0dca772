"""One picture instead of a video, made by the section machinery: fields of a request."""

from typing import Self

from pydantic import model_validator

from framepack.domain.fields import described
from framepack.domain.section_fields import SectionFields

__all__ = ["OneFrameFields"]

_MAX_INDEX = 100

_OF_VIDEOS = (
    "duration_s",
    "fps",
    "official_length",
    "loop",
    "extend",
    "video",
    "section_prompts",
    "section_images",
    "section_seeds",
    "section_loras",
    "blend_sections",
    "camera_motion",
    "reroll",
    "interpolate",
    "codec",
    "codec_options",
    "pixel_format",
    "crf",
    "preset",
)
"""Fields that mean nothing where one picture is made."""


class OneFrameFields(SectionFields):
    """One latent frame, and where it stands; see :class:`GenerationRequest`."""

    one_frame: bool = described(
        False,
        "Make one picture instead of a video: what stands at one place of the time axis.",
        title="One frame",
        option="--one-frame",
        rule="true or false",
    )
    target_index: int | None = described(
        None,
        "Place of that picture on the time axis, where the start picture stands at 0.",
        title="Target index",
        option="--target-index",
        unit="latent frames",
        rule=f"a whole number of latent frames from 1 to {_MAX_INDEX}",
        unset="the window, 9, where the first section of a video ends",
        ge=1,
        le=_MAX_INDEX,
    )
    control_index: int | None = described(
        None,
        "Place of the end picture on the time axis of that picture.",
        title="Control index",
        option="--control-index",
        unit="latent frames",
        rule=f"a whole number of latent frames from 1 to {_MAX_INDEX}, other than the target index",
        unset="the window and 1, 10, where the weights saw end pictures",
        ge=1,
        le=_MAX_INDEX,
    )

    @property
    def section_latents(self) -> int:
        """Latent frames that a section makes."""
        return 1 if self.one_frame else self.latent_window_size

    @property
    def one_frame_places(self) -> dict[str, int]:
        """The indices of one frame with defaults filled in; empty for a video."""
        if not self.one_frame:
            return {}
        places = {"target_index": self.target_index or self.latent_window_size}
        if self.end_image is not None:
            places["control_index"] = self.control_index or self.latent_window_size + 1
        return places

    @model_validator(mode="after")
    def _one_frame_is_no_video(self) -> Self:
        if not self.one_frame:
            self._refuse_places()
            return self
        fields = type(self).model_fields
        for name in _OF_VIDEOS:
            field = fields[name]
            if getattr(self, name) != field.default:
                extra = field.json_schema_extra
                assert isinstance(extra, dict)
                raise ValueError(
                    f"one frame (--one-frame) is a picture, for which {name} "
                    f"({extra['option']}) means nothing; leave one of the two out"
                )
        if self.control_index is not None and self.end_image is None:
            raise ValueError(
                "control_index (--control-index) places the end picture, and there is none; give "
                "--end-image or leave it out"
            )
        places = self.one_frame_places
        if places["target_index"] == places.get("control_index"):
            raise ValueError(
                f"the picture to make and the end picture both stand at index "
                f"{places['target_index']}; choose another --target-index or --control-index"
            )
        return self

    def _refuse_places(self) -> None:
        for name in ("target_index", "control_index"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} (--{name.replace('_', '-')}) places one frame, but a video was asked "
                    "for; add --one-frame or leave it out"
                )
