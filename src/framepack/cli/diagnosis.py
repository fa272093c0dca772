"""What a machine can run, and why not more, in plain words. Pure: facts in, findings out."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from framepack.cli.machine import Attention, Compute, Folder, Machine, ModelFiles
from framepack.pipeline.hardware import Card
from framepack.pipeline.published import needed_gb, place_published, placement_text

__all__ = ["Finding", "diagnose"]

Level = Literal["good", "note", "problem"]

PUBLISHED_DISK_GB = 45.0
"""Free disk that the download of ``PUBLISHED_FILES_GB`` needs, GB."""

_SERVED_BY = {"nvidia": "cuda", "amd": "rocm", "intel": "xpu", "apple": "mps"}
_LOW_DISK_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing about this machine.

    Attributes:
        topic: what it is about.
        level: all is well; good to know; something does not work.
        text: what was found.
        advice: what to do to get more, or "".
    """

    topic: str
    level: Level
    text: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def diagnose(machine: Machine) -> list[Finding]:
    """Judge a machine: its parts first, then each model."""
    return [
        Finding("program", "good", f"framepack {machine.framepack}"),
        Finding("python", "good", f"{machine.python}, {machine.system}"),
        _torch(machine.compute),
        *_cards(machine),
        _device(machine),
        *_attention(machine.compute.attention),
        Finding(
            "memory",
            "good",
            f"{machine.memory_gb:.1f} GB, {machine.free_memory_gb:.1f} GB of it free",
        ),
        *(_folder(folder) for folder in machine.folders),
        _encoder(machine.encoder),
        *(_model(model, machine) for model in machine.models),
    ]


def _torch(compute: Compute) -> Finding:
    if compute.problem:
        return Finding(
            "torch",
            "problem",
            f"{compute.torch or 'not installed'}: {compute.problem}",
            "`python3 run.py setup` installs the build that serves this machine",
        )
    return Finding("torch", "good", f"{compute.torch}, built for {compute.backend}")


def _cards(machine: Machine) -> list[Finding]:
    if not machine.cards:
        return [
            Finding(
                "accelerator",
                "note",
                "none found",
                "a graphics card of NVIDIA, AMD or Intel, or Apple silicon, would be used",
            )
        ]
    return [_card(card, machine.compute) for card in machine.cards]


def _card(card: Card, compute: Compute) -> Finding:
    memory = f", {card.memory_gb:.1f} GB" if card.memory_gb else ""
    driver = f", driver {card.driver}" if card.driver else ""
    text = f"{card.name}{memory}{driver}"
    if compute.problem or _is_used(card, compute):
        return Finding("accelerator", "good", text)
    wanted = _SERVED_BY[card.kind]
    if not compute.backend.startswith(wanted):
        return Finding(
            "accelerator",
            "problem",
            f"{text}; but the installed torch is built for {compute.backend}, not {wanted}",
            "`python3 run.py setup` installs the build that serves it",
        )
    if compute.is_chosen:
        return Finding(
            "accelerator", "note", f"{text}; not used, because {compute.device} was asked for"
        )
    return Finding(
        "accelerator",
        "problem",
        f"{text}; torch is built for {compute.backend} but cannot use it",
        "update its driver, then `python3 run.py setup`",
    )


def _is_used(card: Card, compute: Compute) -> bool:
    kinds = {"nvidia": "cuda", "amd": "cuda", "intel": "xpu", "apple": "mps"}
    return compute.device.split(":")[0] == kinds[card.kind]


def _device(machine: Machine) -> Finding:
    compute = machine.compute
    if not compute.device:
        return Finding("device", "problem", "none, see torch")
    name = f" ({compute.device_name})" if compute.device_name else ""
    threads = f", {compute.threads} threads" if compute.device == "cpu" else ""
    return Finding(
        "device", "good", f"{compute.device}{name}{threads}, {compute.dtype}: {compute.reason}"
    )


def _attention(attention: Attention | None) -> list[Finding]:
    """Who computes attention, as far as it is known before a video is made."""
    if attention is None:
        return []
    if attention.problem:
        return [Finding("attention", "problem", f"{attention.asked}: {attention.problem}")]
    if attention.asked != "auto":
        return [Finding("attention", "good", f"{attention.asked}, which was asked for")]
    names = attention.candidates
    if "onednn" in names:
        text = "onednn, which is faster than torch's own choice on this processor"
    elif len(names) == 1:
        text = f"{names[0]}, the only one that can run here"
    elif attention.measured:
        measured = "; ".join(f"for {size} {text}" for size, text in attention.measured.items())
        text = f"measured here: {measured}"
    else:
        text = f"{', '.join(names)} can run; the first video tries them and takes the fastest"
    return [Finding("attention", "good", text)]


def _folder(folder: Folder) -> Finding:
    text = f"{folder.path}, {folder.free_gb:.1f} GB free"
    topic = f"{folder.title} folder"
    if not folder.is_writable:
        setting = "OUTPUTS_DIR" if folder.title == "outputs" else "LOCAL_MODELS_DIR"
        return Finding(
            topic, "problem", f"{text}; cannot be written", f"name another one with {setting}"
        )
    if folder.free_gb < _LOW_DISK_GB:
        return Finding(topic, "problem", text, "free some space")
    return Finding(topic, "good", text)


def _encoder(encoder: str) -> Finding:
    if encoder:
        return Finding("H.264", "good", encoder)
    return Finding(
        "H.264",
        "problem",
        "the video library cannot encode H.264",
        "install PyAV from its wheels: pip install --force-reinstall av",
    )


def _model(model: ModelFiles, machine: Machine) -> Finding:
    if not model.sources:
        return _embedded(model, machine)
    lack = _lack(machine)
    if lack is not None:
        where = "" if model.is_present else f" Its weights: {_where_from(model)}."
        return Finding(model.model, "note", f"{model.title}: no, {lack[0]}.{where}", lack[1])
    placement = place_published(_device_gb(machine), machine.memory_gb, machine.allowed)
    asked = machine.allowed.title
    if placement is None and asked:
        return Finding(
            model.model,
            "note",
            f"{model.title}: no, it does not fit as the settings have it ({asked})",
            "allow more of the device, or another way to place networks",
        )
    with_settings = f"; settings: {asked}" if asked else ""
    how = f" ({placement_text(placement)}{with_settings})" if placement else ""
    if model.is_present:
        text = f"{model.title}: yes{how}, {model.size_gb:.1f} GB here"
        return Finding(model.model, "good", text)
    return Finding(
        model.model,
        "note",
        f"{model.title}: yes{how}, once its weights are here. They are not: {_where_from(model)}",
        _how_to_get(model, machine),
    )


def _embedded(model: ModelFiles, machine: Machine) -> Finding:
    topic = model.model
    if not model.is_present:
        return Finding(topic, "problem", f"{model.title}: no, {model.problem}")
    if not machine.compute.device:
        return Finding(topic, "problem", f"{model.title}: no, torch has no device to compute on")
    text = (
        f"{model.title}: yes, {model.size_gb * 1e3:.1f} MB here, "
        f"transformer sha256 {model.sha256[:12]}"
    )
    return Finding(topic, "good", text)


def _lack(machine: Machine) -> tuple[str, str] | None:
    """Why the 13B does not run here, and what it would need; None when it does."""
    compute = machine.compute
    needed = needed_gb(compute.device == "mps")
    need = f"an accelerator with {needed:.0f} GB of memory"
    if not compute.device:
        return "torch has no device to compute on", f"it needs {need}"
    if compute.device == "cpu":
        if machine.cards:
            return "the accelerator is not used (see above)", f"it needs {need}"
        return (
            "there is no accelerator, and on a CPU a second of video would take hours",
            f"it needs {need}",
        )
    memory = _device_gb(machine)
    if memory < needed:
        return f"{compute.device} has {memory:.1f} GB", f"it needs {need}"
    return None


def _device_gb(machine: Machine) -> float:
    """Memory of what is computed on."""
    memory = machine.compute.memory_gb
    return memory if memory is not None else machine.memory_gb


def _where_from(model: ModelFiles) -> str:
    return f"over 40 GB from {', '.join(model.sources)}"


def _how_to_get(model: ModelFiles, machine: Machine) -> str:
    free = next((folder.free_gb for folder in machine.folders if folder.title == "models"), 0.0)
    advice = f"`framepack models download {model.model}` shows the licence and gets them"
    if machine.offline:
        advice += "; offline is set, unset it first"
    if free < PUBLISHED_DISK_GB:
        advice += (
            f"; the models folder's disk has {free:.0f} GB free, {PUBLISHED_DISK_GB:.0f} needed"
        )
    return advice
