"""Settings of this machine: one TOML file, the environment, and flags, in rising order.

This is the only place that reads settings from the environment. ``FRAMEPACK_<FIELD>`` sets any
field; ``OUTPUTS_DIR``, ``LOCAL_MODELS_DIR``, ``HF_HOME``, ``HF_HUB_CACHE`` and
``HF_HUB_OFFLINE`` are honoured as other programs do.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from platformdirs import user_config_path
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from framepack.domain.choices import Attention, Compile, Offload, Vae
from framepack.domain.errors import InvalidRequest
from framepack.domain.memory_size import memory_size_bytes
from framepack.domain.quantization import Part, QuantFormat, read_quantize

__all__ = ["DEFAULT_INSTRUCTION", "SHARED_VARIABLES", "Settings", "settings_path"]

SHARED_VARIABLES = {
    "outputs_dir": "OUTPUTS_DIR",
    "models_dir": "LOCAL_MODELS_DIR",
    "hf_home": "HF_HOME",
    "hf_hub_cache": "HF_HUB_CACHE",
    "offline": "HF_HUB_OFFLINE",
}
"""Fields that other programs' variables set too."""


DEFAULT_INSTRUCTION = (
    "You write prompts for a model that turns a picture into a short video. Answer with one "
    "sentence of at most 40 words and nothing else. Say what moves first: the subject, then its "
    "motion, then what else changes. Prefer large, clear motions, such as dancing, jumping or "
    "running, to small ones. Keep what the user asked for. If there is a picture, name its subject "
    "as it is seen there, and do not describe what does not move."
)
"""Motion first and short, as the published weights like it."""


def settings_path() -> Path:
    """The settings file: ``FRAMEPACK_SETTINGS``, else the user's configuration folder."""
    named = os.environ.get("FRAMEPACK_SETTINGS")
    if named:
        return Path(named).expanduser()
    return user_config_path("framepack", appauthor=False) / "settings.toml"


def _default_hf_home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "huggingface"


class _SharedVariables(PydanticBaseSettingsSource):
    """Variables that other programs read too, under their own names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = SHARED_VARIABLES.get(field_name)
        value = os.environ.get(variable) if variable else None
        return value or None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """What holds for every run on this machine. Build it with ``Settings.load()``."""

    model_config = SettingsConfigDict(
        env_prefix="FRAMEPACK_", env_ignore_empty=True, extra="forbid", frozen=True
    )

    outputs_dir: Path = Field(
        Path("outputs"),
        title="Outputs folder",
        description="Folder for videos without a name and for run directories.",
    )
    models_dir: Path | None = Field(
        None,
        title="Models folder",
        description="Folder with weights as <owner>/<repo>/..., searched before the hub cache.",
    )
    loras_dir: Path | None = Field(
        None,
        title="LoRA folder",
        description="Folder in which LoRAs are found by name.",
    )
    styles_file: Path = Field(
        default_factory=lambda: user_config_path("framepack", appauthor=False) / "styles.toml",
        title="Style file",
        description="TOML file with styles: words and values under a name.",
    )
    wildcards_dir: Path | None = Field(
        None,
        title="Wildcard folder",
        description="Folder in which NAME.txt holds the choices for __NAME__ in prompts.",
    )
    enhancer_url: str | None = Field(
        None,
        title="Enhancer's endpoint",
        description="Where an API that speaks the OpenAI protocol answers, such as "
        "http://127.0.0.1:11434/v1.",
    )
    enhancer_model: str | None = Field(
        None,
        title="Enhancer's model",
        description="Vision-language model: its name at the endpoint, or for transformers.",
    )
    enhancer_api_key: SecretStr | None = Field(
        None, title="Enhancer's key", description="Key of the endpoint, if it wants one."
    )
    enhancer_instruction: str = Field(
        DEFAULT_INSTRUCTION,
        title="Enhancer's instruction",
        description="What the model is told to write.",
    )
    enhancer_timeout_s: float = Field(
        120.0, gt=0, title="Enhancer's patience", description="Seconds to wait for an answer."
    )
    vae: Vae = Field(
        "full",
        title="VAE",
        description="Who turns latents into frames where a request does not say: full, tiny or "
        "remote.",
    )
    tiny_vae: Path | None = Field(
        None,
        title="Tiny VAE's weights",
        description="Weights of the tiny VAE in the TAEHV layout, .safetensors or .pth.",
    )
    rife_weights: Path | None = Field(
        None,
        title="RIFE's weights",
        description="Weights for interpolation by RIFE 4.5 to 4.18, .safetensors, .pkl or .pth, "
        "in place of the small ones in the package.",
    )
    upscaler_weights: Path | None = Field(
        None,
        title="Upscaler's weights",
        description="Weights of ESRGAN, Real-ESRGAN or what was trained from them, .safetensors or "
        ".pth, for `upscale` where none are named.",
    )
    remote_vae_url: str | None = Field(
        None,
        title="Remote VAE's endpoint",
        description="Where a VAE answers that speaks the protocol of diffusers' remote_decode; "
        "latents go nowhere else.",
    )
    remote_vae_api_key: SecretStr | None = Field(
        None, title="Remote VAE's key", description="Key of the endpoint, if it wants one."
    )
    remote_vae_timeout_s: float = Field(
        300.0, gt=0, title="Remote VAE's patience", description="Seconds to wait for an answer."
    )
    hf_home: Path = Field(
        default_factory=_default_hf_home,
        title="Hugging Face folder",
        description="Home of the Hugging Face libraries; its hub/ is the download cache.",
    )
    hf_hub_cache: Path | None = Field(
        None,
        title="Download cache",
        description="Download cache, where it is not the hub/ of the Hugging Face folder.",
    )
    device: str = Field(
        "auto",
        title="Device",
        description="auto, cpu, mps, cuda, xpu, or one of several such as cuda:1.",
        pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto",
        title="Number format",
        description="Number format of the weights; auto takes what the device is good at.",
    )
    attention: Attention = Field(
        "auto",
        title="Attention",
        description="Who computes attention: auto for the fastest exact one here, sdpa for torch's "
        "own choice, onednn, cudnn, flash3, flash, xformers, or sage, which is approximate.",
    )
    compile: Compile = Field(
        "off",
        title="Compiling",
        description="off, or blocks to compile the transformer's blocks for this machine when they "
        "first run, which takes a minute or more.",
    )
    offload: Offload = Field(
        "auto",
        title="Offloading",
        description="Where networks lie while they work: auto for what fits, none for all on the "
        "device, model for one network at a time, balanced for as many of the transformer's "
        "blocks as fit, group for two at a time, sequential for layer by layer, disk for blocks "
        "read from their file.",
    )
    vram_budget: str | None = Field(
        None,
        title="Memory budget",
        description="Memory of the device that networks and their work may take, such as 6GB; a "
        "plain number counts GB. All of it unless given.",
    )
    vram_reserve: str | None = Field(
        None,
        title="Memory reserve",
        description="Memory of the device, or of the budget, that is left alone, such as 2GB.",
    )
    quantize: Annotated[dict[Part, QuantFormat], NoDecode] = Field(
        {},
        title="Quantisation",
        description="Format that the weights of a part are kept in, as a table: fp8, fp8-dynamic, "
        "int8, int8-dynamic, nf4, sdnq-int8 or sdnq-uint4 for transformer, text, vision or all. "
        "None unless given.",
    )
    offline: bool = Field(
        False,
        title="Offline",
        description="Never use the network, not even for downloads that were asked for.",
    )
    accept_licence: bool = Field(
        False,
        title="Licences accepted",
        description="The licences of the published weights were read and accepted.",
    )
    keep_runs: bool = Field(
        False,
        title="Keep run directories",
        description="Keep a run's directory after its video is written.",
    )
    keep_embeddings: bool = Field(
        True,
        title="Keep embeddings",
        description="Keep what the encoders made of prompts and pictures in the user's cache "
        "folder, at most 256 MB, so that the same ones need no encoder again.",
    )
    url: str = Field(
        "http://127.0.0.1:7860",
        title="Server's address",
        description="Where the FramePack server is that `submit` and other clients talk to.",
    )
    api_key: SecretStr | None = Field(
        None, title="Server's key", description="Key that opens that server, if it wants one."
    )
    service: dict[str, Any] = Field(
        {},
        title="Service",
        description="Settings of `framepack serve` on this machine, as a table; see its page.",
    )

    @field_validator(
        "outputs_dir",
        "models_dir",
        "loras_dir",
        "styles_file",
        "wildcards_dir",
        "tiny_vae",
        "rife_weights",
        "upscaler_weights",
        "hf_home",
        "hf_hub_cache",
    )
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        """A shell expands ``~``; the settings file has none."""
        return path.expanduser() if path is not None else None

    @field_validator("vram_budget", "vram_reserve", mode="before")
    @classmethod
    def _read_size(cls, value: Any, info: ValidationInfo) -> Any:
        """A file may have a number; what cannot be read is said before anything is loaded."""
        if value is None or value == "":
            return None
        memory_size_bytes(value, str(info.field_name))
        return str(value)

    @field_validator("quantize", mode="before")
    @classmethod
    def _read_quantize(cls, value: Any) -> Any:
        return read_quantize(value)

    _flags: frozenset[str] = PrivateAttr(frozenset())

    @property
    def flags(self) -> frozenset[str]:
        """Fields that were given to :meth:`load`."""
        return self._flags

    @property
    def budget_bytes(self) -> int | None:
        """``vram_budget`` in bytes; None for all of the device."""
        return memory_size_bytes(self.vram_budget) if self.vram_budget is not None else None

    @property
    def reserve_bytes(self) -> int:
        """``vram_reserve`` in bytes."""
        return memory_size_bytes(self.vram_reserve) if self.vram_reserve is not None else 0

    @property
    def hub_cache(self) -> Path:
        """Folder that the Hugging Face hub downloads into."""
        return self.hf_hub_cache or self.hf_home / "hub"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, FRAMEPACK_ variables, shared variables, the file: the first that speaks wins."""
        return (
            init_settings,
            env_settings,
            _SharedVariables(settings_cls),
            TomlConfigSettingsSource(settings_cls, settings_path()),
        )

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """Read the settings.

        Args:
            flags: values that win over all others; None means that the flag was not given.

        Raises:
            InvalidRequest: the file is missing where FRAMEPACK_SETTINGS names it, is not TOML,
                or a value is unknown or wrong.
        """
        path = settings_path()
        if os.environ.get("FRAMEPACK_SETTINGS") and not path.is_file():
            raise InvalidRequest(f"FRAMEPACK_SETTINGS names {path}, but there is no such file")
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise InvalidRequest(f"settings (file {path}): {_explain(error)}") from error
        except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError, SettingsError) as error:
            raise InvalidRequest(f"settings file {path} cannot be read: {error}") from error
        settings._flags = frozenset(given)
        return settings

    @staticmethod
    def variable_of(name: str) -> str | None:
        """The variable of the environment that sets a field now, or None."""
        variables = (f"FRAMEPACK_{name.upper()}", SHARED_VARIABLES.get(name, ""))
        return next((each for each in variables if os.environ.get(each)), None)


def _explain(error: ValidationError) -> str:
    known = ", ".join(Settings.model_fields)
    parts = []
    for item in error.errors(include_url=False):
        name = ".".join(str(part) for part in item["loc"])
        field = Settings.model_fields.get(name)
        if field is None:
            parts.append(f"unknown setting {name!r}; known are {known}")
        else:
            # A pattern says less to people than the description that goes with it.
            by_pattern = item["type"] == "string_pattern_mismatch"
            needed = field.description if by_pattern else item["msg"]
            parts.append(f"{name} is {item['input']!r}; needed: {needed}")
    return "; ".join(parts)
