"""What a model is made of: the values that a ModelSpec holds. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelDefaults, ModelGeometry
from framepack.domain.request import Variant

__all__ = [
    "COMPONENTS",
    "ComponentSource",
    "Licence",
    "ModelSpec",
    "PromptTemplate",
]

_SYSTEM = "<|start_header_id|>system<|end_header_id|>\n\n"
_USER = "<|start_header_id|>user<|end_header_id|>"
_END = "<|eot_id|>"
_ASSETS = Path(__file__).resolve().parent.parent / "assets"

COMPONENTS = (
    "transformer",
    "vae",
    "text_encoder",
    "tokenizer",
    "text_encoder_2",
    "tokenizer_2",
    "image_encoder",
    "feature_extractor",
)
"""Names of the parts of every model, and of their folders in a model folder."""


@dataclass(frozen=True, slots=True)
class ComponentSource:
    """Where one component's files are: a hub repository or a local folder.

    Attributes:
        repo: ``owner/name`` on the Hugging Face hub, or None for a local folder.
        subfolder: folder inside the repository, ``/`` between levels, "" for its root.
        path: local folder that holds the component, or None for a repository.
    """

    repo: str | None = None
    subfolder: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        if (self.repo is None) == (self.path is None):
            raise InvalidRequest(
                f"component source has repository {self.repo} and folder {self.path}; "
                "exactly one of them is needed"
            )

    @classmethod
    def parse(cls, text: str, *, relative_to: Path | None = None) -> "ComponentSource":
        """Read ``owner/repo[/subfolder]`` or a local folder.

        Args:
            text: a folder when it starts with ``.``, ``~`` or ``/`` or names a drive, else a
                repository.
            relative_to: folder that relative folders start from; the working folder when None.

        Raises:
            InvalidRequest: neither form, or a repository path that climbs out of itself.
        """
        value = text.strip()
        if value.startswith((".", "~", "/", "\\")) or Path(value).is_absolute():
            return cls(path=(relative_to or Path()) / Path(value).expanduser())
        owner, *rest = value.split("/")
        if not owner or not rest or not all(rest) or {".", ".."} & set(rest) or " " in value:
            raise InvalidRequest(
                f"component source {text!r} is neither a repository nor a folder; write "
                "owner/repo, owner/repo/subfolder, or a folder that starts with ./ or /"
            )
        return cls(repo=f"{owner}/{rest[0]}", subfolder="/".join(rest[1:]))

    def child(self, name: str) -> "ComponentSource":
        """The folder ``name`` inside this one."""
        if self.path is not None:
            return ComponentSource(path=self.path / name)
        return ComponentSource(self.repo, str(PurePosixPath(self.subfolder) / name))

    def __str__(self) -> str:
        if self.path is not None:
            return self.path.as_posix()
        return f"{self.repo}/{self.subfolder}" if self.subfolder else str(self.repo)


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms that must be accepted before the weights are downloaded.

    Attributes:
        name: the licence's own title.
        url: where its text is.
        facts: what one agrees to, one sentence each; a summary, not the text.
    """

    name: str
    url: str
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """How a prompt is wrapped for the large text encoder.

    Attributes:
        template: text with one ``{}`` where the prompt goes.
        crop_start: leading tokens of the template that are dropped after encoding.
        max_length: most tokens encoded, template included.
        pad_to: tokens after zero padding, crop_start not counted.
        head: text in front of the template.
    """

    template: str
    crop_start: int
    max_length: int
    pad_to: int
    head: str = ""

    def __post_init__(self) -> None:
        if self.template.count("{}") != 1:
            raise InvalidRequest(
                f"prompt template has {self.template.count('{}')} places for the prompt; "
                "it needs exactly one {}"
            )
        if not 0 <= self.crop_start < self.max_length <= self.crop_start + self.pad_to:
            raise InvalidRequest(
                f"prompt template has crop_start {self.crop_start}, max_length {self.max_length} "
                f"and pad_to {self.pad_to}; needed: 0 <= crop_start < max_length <= "
                "crop_start + pad_to"
            )

    @property
    def takes_system(self) -> bool:
        """Whether it is a chat, in which a system prompt has a place."""
        return _USER in self.template

    def with_system(self, text: str, num_tokens: Callable[[str], int]) -> "PromptTemplate":
        """The same with another system prompt; as many tokens of the prompt are encoded.

        Args:
            text: the system prompt; braces in it are kept as they are.
            num_tokens: counts the tokens of a text that begins one, to cut off exactly those in
                front of the prompt.
        """
        user = self.template[self.template.index(_USER) :]
        head = f"{_SYSTEM}{text}{_END}"
        crop = num_tokens(head + user.partition("{}")[0])
        length = crop + self.max_length - self.crop_start
        return replace(self, template=user, head=head, crop_start=crop, max_length=length)

    def apply(self, prompt: str) -> str:
        """The text to encode; braces in the prompt are kept as they are."""
        return self.head + self.template.replace("{}", prompt, 1)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: where its components are, what it can do, how it is used by default.

    Attributes:
        key: preset name, or the path that gives this spec again.
        base: preset that supplied what a recipe or folder left out.
        title: one line for people.
        variants: rendering orders its transformer was trained for.
        sources: component name to source; every name of COMPONENTS is present.
        geometry: sizes of pictures, latents and history.
        defaults: what a request gets where it says nothing.
        prompt_template: wrapping of the prompt for the large text encoder.
        licence: terms to accept before download; None for weights without such terms.
    """

    key: str
    base: str
    title: str
    variants: tuple[Variant, ...]
    sources: Mapping[str, ComponentSource]
    geometry: ModelGeometry
    defaults: ModelDefaults
    prompt_template: PromptTemplate
    licence: Licence | None = None

    def __post_init__(self) -> None:
        missing = [name for name in COMPONENTS if name not in self.sources]
        if missing:
            raise InvalidRequest(
                f"model {self.key} has no source for {', '.join(missing)}; "
                f"needed: {', '.join(COMPONENTS)}"
            )
        if self.defaults.variant not in self.variants:
            raise InvalidRequest(
                f"model {self.key} serves {' and '.join(self.variants) or 'no variant'}, but its "
                f"default variant is {self.defaults.variant}; make them agree"
            )

    @property
    def is_packaged(self) -> bool:
        """Whether all of it ships inside this package."""
        return all(
            source.path is not None and source.path.is_relative_to(_ASSETS)
            for source in self.sources.values()
        )

    def licence_lines(self) -> list[str]:
        """The terms of its weights as a person reads them before accepting."""
        terms = self.licence
        if terms is None:
            own = " They are part of this program, Apache-2.0." if self.is_packaged else ""
            return [f"{self.title}: its weights have no terms to accept.{own}"]
        return [
            f"{self.title}: {terms.name}",
            terms.url,
            "",
            *(f"- {fact}" for fact in terms.facts),
            "",
            "This is a summary; the text at the address above is what counts.",
        ]

    @property
    def repos(self) -> tuple[str, ...]:
        """Hub repositories that hold its weights, each once."""
        repos = (source.repo for source in self.sources.values() if source.repo is not None)
        return tuple(dict.fromkeys(repos))
