"""What a job is to leave besides its video, and the service's own limits."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from framepack.domain.fields import described

__all__ = ["JobOptions", "ServiceConfig"]


class JobOptions(BaseModel):
    """Not part of the request: the same request with other options is the same video."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    container: Literal["mp4", "mkv", "mov", "webm", "gif", "webp", "png", "jpg"] = described(
        "mp4",
        "Kind of the file.",
        title="File",
        option="--output",
        rule="mp4, mkv, mov, webm, gif or webp, for one frame png, jpg or webp",
    )
    video: bool = described(
        True,
        "Leave a video at all.",
        title="Video",
        option="--output",
        rule="true or false",
    )
    thumbnail: bool = described(
        True,
        "Leave a small picture of the video beside it.",
        title="Thumbnail",
        option="--no-thumbnail",
        rule="true or false",
    )
    frames: Literal["", "png", "jpg"] = described(
        "",
        "Leave every frame as a picture: png is exact, jpg smaller.",
        title="Frames",
        option="--frames",
        rule="png, jpg or nothing",
    )
    raw: bool = described(
        False,
        "Leave the raw frames as a safetensors file.",
        title="Raw frames",
        option="--raw",
        rule="true or false",
    )
    audio: str = described(
        "",
        "Sound of the video, cut to its length.",
        title="Sound",
        option="--audio",
        rule="a file with sound; in the job the name of one in its inputs",
        max_length=255,
    )
    group: str = described(
        "",
        "Videos that belong together, such as those of a batch or a grid, have the same.",
        title="Group",
        option="",
        rule="a word or a sentence of at most 200 characters",
        max_length=200,
    )
    label: str = described(
        "",
        "Which one of its group a video is.",
        title="Label",
        option="",
        rule="a word or a sentence of at most 200 characters",
        max_length=200,
    )


class ServiceConfig(BaseModel):
    """Settings of a server: the table ``[service]`` of the settings file, then flags."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on; another than this machine's own needs an API key."""
    port: int = Field(7860, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    data_dir: Path | None = None
    """Jobs, their files and the keys; a folder in the user's data folder unless set."""
    upload_mb: float = Field(256.0, gt=0)
    """Largest request body, MB of 10**6 bytes."""
    uploads_gb: float = Field(10.0, gt=0)
    """Files sent ahead of their requests, all together, GB of 10**9 bytes."""
    upload_hours: float = Field(24.0, gt=0)
    """They are removed after so long; jobs keep what they use."""
    max_waiting: int = Field(1000, ge=1)
    """Jobs that may wait, and likewise tasks of tools."""
    max_waiting_per_key: int | None = Field(None, ge=1)
    """Jobs of one key that may wait or run, and likewise its tasks."""
    max_megapixels: float = Field(64.0, gt=0)
    """Largest picture, and largest frame of a video, that is read, millions of pixels."""
    max_duration_s: float = Field(600.0, gt=0)
    """Longest video that may be asked for, seconds."""
    max_prompt_chars: int = Field(20_000, ge=1)
    """Longest prompt, with everything that its sections say."""
    requests_per_minute: float = Field(1200.0, gt=0)
    """Requests of one key, or of one address without keys."""
    max_attempts: int = Field(3, ge=1)
    """How often a job whose worker dies is tried."""
    keep_days: float | None = Field(None, gt=0)
    """Files of finished jobs and tasks are removed after so long; kept unless set."""
    idle_s: float = Field(600.0, ge=0)
    """The worker ends, and its memory is free, after so long without a job."""
    api_key_file: Path | None = None
    """Keys of operators, one on a line, alone or after its name."""
    hosts: tuple[str, ...] = ()
    """Names besides this machine's own under which it is asked for, as behind a proxy."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of other servers that may call this one, such as https://studio.example."""
    link_hours: float = Field(24.0, gt=0)
    """A signed link works for so long."""
    stop_s: float = Field(30.0, ge=0)
    """How long a stopping server waits for the step at work."""

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture that is read."""
        return int(self.max_megapixels * 10**6)
