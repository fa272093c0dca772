"""The models of a server: presets and kept recipes, what is here of them, and getting the rest."""

from collections.abc import Callable
from dataclasses import dataclass

from framepack.domain.errors import CheckpointError, InvalidRequest, MissingWeights
from framepack.domain.settings import Settings
from framepack.models.parts import ModelSpec
from framepack.models.spec import PRESETS
from framepack.pipeline.hardware import PUBLISHED_FILES_GB
from framepack.service.recipes import Recipes
from framepack.service.records import NoSuchJob, WrongState
from framepack.service.tools.records import ToolTask
from framepack.service.tools.toolbox import Toolbox
from framepack.weights.consent import is_licence_accepted, record_licence
from framepack.weights.locate import locate_all

__all__ = ["ModelState", "Models", "ServedModel"]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that requests can name.

    Attributes:
        id: its name.
        spec: what it is.
        source: what ``resolve_spec`` finds it by.
    """

    id: str
    spec: ModelSpec
    source: str

    @property
    def is_recipe(self) -> bool:
        """Whether it is a recipe that an operator keeps."""
        return self.id not in PRESETS


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is here of a model.

    Attributes:
        is_present: every component is complete.
        size_gb: of its networks' files, here or to be fetched, GB of 10**9 bytes; None where
            that is not known.
        is_accepted: its terms were accepted, or there are none.
        download: the newest download of it, or None.
    """

    is_present: bool
    size_gb: float | None
    is_accepted: bool
    download: ToolTask | None


class Models:
    """What a server has to make videos with.

    Args:
        recipes: kept by its operators.
        tools: fetch weights.
        settings: of this machine, asked when they are needed.
    """

    def __init__(
        self, recipes: Recipes, tools: Toolbox, *, settings: Callable[[], Settings]
    ) -> None:
        self._recipes = recipes
        self._tools = tools
        self._settings = settings

    def all(self) -> list[ServedModel]:
        """Presets first; a recipe that somebody has damaged is left out."""
        found = [ServedModel(key, spec, key) for key, spec in PRESETS.items()]
        for name in self._recipes.paths():
            try:
                found.append(self.get(name))
            except (InvalidRequest, NoSuchJob):
                continue
        return found

    def get(self, model_id: str) -> ServedModel:
        """A model by its name.

        Raises:
            NoSuchJob: there is none.
            InvalidRequest: its recipe is damaged.
        """
        if model_id in PRESETS:
            return ServedModel(model_id, PRESETS[model_id], model_id)
        known = self._recipes.paths()
        if model_id not in known:
            raise NoSuchJob(
                f"there is no model {model_id[:60]!r}; choose {', '.join([*PRESETS, *known])}"
            )
        return ServedModel(model_id, self._recipes.spec(model_id), str(known[model_id]))

    def state(self, model: ServedModel) -> ModelState:
        """What is here of a model; looks at its folders."""
        size_gb = _present_gb(model.spec, self._settings())
        terms = model.spec.licence
        return ModelState(
            is_present=size_gb is not None,
            size_gb=size_gb if size_gb is not None else _published_gb(model.spec),
            is_accepted=terms is None or self._settings().accept_licence or _accepted(model.spec),
            download=self._tools.last_download(model.id) if model.spec.repos else None,
        )

    def download(self, model: ServedModel, *, accept_licence: bool, owner: str) -> ToolTask:
        """Have a model's weights fetched.

        Args:
            model: the model.
            accept_licence: its terms were read and accepted, which is remembered.
            owner: id of the key that asked.

        Raises:
            InvalidRequest: it has nothing to fetch, or its terms were not accepted.
            WrongState: the server does not use the network.
        """
        spec, settings = model.spec, self._settings()
        if not spec.repos:
            raise InvalidRequest(f"{model.id} needs no download: {spec.title}")
        if settings.offline:
            raise WrongState(
                "the server is offline by its settings; take offline out of them to download"
            )
        if spec.licence is not None and not self.state(model).is_accepted:
            if not accept_licence:
                raise InvalidRequest(
                    f"these weights come under the {spec.licence.name}, {spec.licence.url}; read "
                    'it and send {"accept_licence": true} to accept it'
                )
            record_licence(spec.licence)
        return self._tools.download(model.id, model.source, f"Download {spec.title}", owner=owner)


def _accepted(spec: ModelSpec) -> bool:
    return spec.licence is not None and is_licence_accepted(spec.licence)


def _present_gb(spec: ModelSpec, settings: Settings) -> float | None:
    """Size of its networks on this machine; None if they are not all here."""
    try:
        folders = set(locate_all(spec, settings).values())
    except (MissingWeights, CheckpointError):
        return None
    kinds = ("*.safetensors", "*.gguf")
    files = {path.resolve() for folder in folders for kind in kinds for path in folder.glob(kind)}
    return round(sum(path.stat().st_size for path in files) / 1e9, 4)


def _published_gb(spec: ModelSpec) -> float | None:
    """Size of networks that are still to be fetched, where all are the published ones."""
    base = PRESETS[spec.base]
    is_known = bool(base.repos) and all(
        spec.sources[name] == base.sources[name] for name in PUBLISHED_FILES_GB
    )
    return round(sum(PUBLISHED_FILES_GB.values()), 1) if is_known else None
