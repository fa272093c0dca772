"""The networks of one model, loaded when they are first needed, on the device while in use.

One scheme serves every device: what fits stays. When the next network does not fit beside the
others, those not used for longest make room. One that does not fit even alone is streamed, block
by block. ``Settings.offload`` asks for one of these ways, and a budget for less of the device.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from PIL import Image
from torch import Tensor, nn
from transformers import (
    CLIPTextModel,
    LlamaModel,
    PreTrainedTokenizerBase,
    SiglipImageProcessorPil,
    SiglipVisionModel,
)

from framepack.domain.choices import Offload
from framepack.domain.settings import Settings
from framepack.memory.placement import NetworkPlacement, NetworkSize, PlacementError
from framepack.models.autoencoder import LatentPreview, TileCounts
from framepack.models.encoders import PromptEmbeds, encode_prompt, encode_vision
from framepack.models.spec import COMPONENTS, ModelSpec
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.component_files import (
    check_vocabulary,
    check_widths,
    load_network,
    load_processor,
)
from framepack.pipeline.decoding_tile import decoding_tile
from framepack.pipeline.device import (
    DeviceMemoryError,
    choose_device,
    choose_dtype,
    memory_bytes,
)
from framepack.pipeline.offloading import (
    MemoryLimits,
    Slot,
    limit_allocator,
    measure,
    place_streamed,
    stored_bytes,
)
from framepack.pipeline.own_decoder import OwnDecoder
from framepack.pipeline.run_loras import RunLoras
from framepack.weights.checkpoint import locate_all
from framepack.weights.hashing import HashCache, hash_folder
from framepack.weights.locate import read_json
from framepack.weights.lora import LoraFile

__all__ = ["Components", "LoadProgress", "load_components"]

logger = logging.getLogger(__name__)

LoadProgress = Callable[[str], None]
"""Called with a component's name when its files begin to be read."""

# Networks that are needed at the same time and so come and go together, in order of use.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "text": ("text_encoder", "text_encoder_2"),
    "vision": ("image_encoder",),
    "vae": ("vae",),
    "transformer": ("transformer",),
}
_READERS = {"tokenizer": "text_encoder", "tokenizer_2": "text_encoder_2"}
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}
# These alternate in every section: reading them from disk each time would be slow.
_KEPT_ON_HOST = frozenset({"vae", "transformer"})
_HOST = torch.device("cpu")


class Components:
    """What a model is made of. Read an attribute to use a component.

    A network that is read is on the device. It stays there until another one needs the room, so
    read it again rather than keeping it across sections. Build with ``load_components`` or, from
    networks that are in memory already, with ``from_modules``.

    Attributes:
        spec: the model.
        device: where networks run.
        folders: component name to folder; empty for ``from_modules``.
    """

    def __init__(
        self,
        spec: ModelSpec,
        folders: Mapping[str, Path],
        device: torch.device,
        *,
        requested_dtype: str = "auto",
        memory_share: float = 1.0,
        limits: MemoryLimits | None = None,
        progress: LoadProgress | None = None,
    ) -> None:
        self.spec = spec
        self.device = device
        self.folders = dict(folders)
        self._dtypes = {name: choose_dtype(device, name, requested_dtype) for name in COMPONENTS}
        self._memory_share = memory_share
        self._limits = limits or MemoryLimits()
        self._section_tokens: int | None = None
        self._progress = progress or (lambda _: None)
        self._slots = {group: Slot({}) for group in _GROUPS}
        self._processors: dict[str, Any] = {}
        self._decoder = OwnDecoder()
        self._other_decoder: Callable[[Tensor], Tensor] | None = None
        self._clock = 0
        self._loras = RunLoras()
        self._are_placed = False

    @classmethod
    def from_modules(
        cls,
        spec: ModelSpec,
        modules: Mapping[str, Any],
        device: torch.device | str = "cpu",
        *,
        are_placed: bool = False,
    ) -> "Components":
        """Wrap components that are in memory already, one for every name of COMPONENTS.

        Each network keeps its own number format. There are no files, so ``hashes`` is empty and
        there is no preview.

        Args:
            spec: the model.
            modules: by name.
            device: where networks run.
            are_placed: each is where it belongs, or has hooks that bring it there; none is
                moved.
        """
        components = cls(spec, {}, torch.device(device))
        components._are_placed = are_placed
        for name in COMPONENTS:
            if name not in _GROUP_OF:
                components._processors[name] = modules[name]
                continue
            module: nn.Module = modules[name]
            slot = components._slots[_GROUP_OF[name]]
            module.eval()
            slot.modules[name] = module if are_placed else nn.Module.to(module, components.device)
            if name == "transformer" and not are_placed:
                _pack(module)
            slot.on_device = True
            components._dtypes[name] = next(module.parameters()).dtype
        return components

    @property
    def transformer(self) -> FramePackTransformer3DModel:
        """The network that predicts a section, on the device."""
        transformer: FramePackTransformer3DModel = self._network("transformer")
        return transformer

    @property
    def vae(self) -> AutoencoderKLHunyuanVideo:
        """The video autoencoder, on the device."""
        vae: AutoencoderKLHunyuanVideo = self._network("vae")
        return vae

    @property
    def text_encoder(self) -> LlamaModel:
        """Llama, on the device together with ``text_encoder_2``."""
        encoder: LlamaModel = self._network("text_encoder")
        return encoder

    @property
    def text_encoder_2(self) -> CLIPTextModel:
        """CLIP's text encoder, on the device together with ``text_encoder``."""
        encoder: CLIPTextModel = self._network("text_encoder_2")
        return encoder

    @property
    def image_encoder(self) -> SiglipVisionModel:
        """SigLIP's vision tower, on the device."""
        encoder: SiglipVisionModel = self._network("image_encoder")
        return encoder

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Llama's tokenizer."""
        tokenizer: PreTrainedTokenizerBase = self._processor("tokenizer")
        return tokenizer

    @property
    def tokenizer_2(self) -> PreTrainedTokenizerBase:
        """CLIP's tokenizer."""
        tokenizer: PreTrainedTokenizerBase = self._processor("tokenizer_2")
        return tokenizer

    @property
    def feature_extractor(self) -> SiglipImageProcessorPil:
        """SigLIP's image processor, the one that needs Pillow only."""
        processor: SiglipImageProcessorPil = self._processor("feature_extractor")
        return processor

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the transformer."""
        return self.dtype_of("transformer")

    def dtype_of(self, component: str) -> torch.dtype:
        """Number format of any network."""
        return self._dtypes[component]

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of every component's files; reads them all once, remembered across runs."""
        cache = HashCache()
        return {name: hash_folder(folder, cache) for name, folder in self.folders.items()}

    @cached_property
    def preview(self) -> LatentPreview | None:
        """Map from latents to colours; None where the VAE's folder has none."""
        folder = self.folders.get("vae")
        if folder is None:
            return None
        channels = int(str(read_json(folder / "config.json").get("latent_channels", 16)))
        return LatentPreview.load(folder, num_channels=channels)

    def encode_prompt(self, prompt: str, system: str | None = None) -> PromptEmbeds:
        """Encode a prompt with the model's own template; the result is on the CPU.

        Args:
            prompt: the text.
            system: system prompt in place of the template's own, for models that take one.
        """
        template = self.spec.prompt_template
        if system is not None:
            template = template.with_system(system, self._num_tokens)
        embeds = encode_prompt(
            prompt,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            text_encoder_2=self.text_encoder_2,
            tokenizer_2=self.tokenizer_2,
            template=template,
        )
        return PromptEmbeds(embeds.prompt_embeds.cpu(), embeds.prompt_mask, embeds.pooled.cpu())

    def _num_tokens(self, text: str) -> int:
        encoded: Any = self.tokenizer(text)
        return len(encoded["input_ids"])

    def encode_vision(self, picture: Image.Image) -> Tensor:
        """Encode what a fitted picture shows, [1, N, V] on the CPU."""
        return encode_vision(
            picture, image_encoder=self.image_encoder, feature_extractor=self.feature_extractor
        ).cpu()

    def decode(self, latents: Tensor) -> Tensor:
        """Decode the next window of a video, [1, C, T, h, w] to [1, 3, 4*T - 3, H, W] fp32.

        Tiles that the window before decoded already are reused. Frames too large for the
        device are decoded in spatial tiles; see ``decoding_tile``. Inside :meth:`with_decoder`
        another decoder does it.
        """
        if self._other_decoder is not None:
            return self._other_decoder(latents)
        config, dtype = self.vae.config, self._dtypes["vae"]
        tile_px, working_bytes = decoding_tile(
            latents,
            config,
            dtype,
            self.device,
            memory_share=self._memory_share,
            total_bytes=self._free()[1],
        )
        vae: AutoencoderKLHunyuanVideo = self._network("vae", working_bytes)
        return self._decoder.decode(vae, latents, tile_px)

    @property
    def tile_counts(self) -> TileCounts:
        """Temporal tiles of the window that :meth:`decode` decoded last, if the own VAE did."""
        return self._decoder.counts

    @contextmanager
    def with_decoder(self, decode: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Have :meth:`decode` done by another function inside the block, or by this as ever.

        At its end what is kept of the video's last window is dropped.
        """
        self._other_decoder = decode if decode != self.decode else None
        try:
            yield
        finally:
            self._other_decoder = None
            self._decoder.forget()

    def expect(self, num_tokens: int) -> None:
        """Say how many tokens the sections to come have, which decides what may stay.

        Args:
            num_tokens: see ``offloading.section_tokens``.
        """
        slot = self._slots["transformer"]
        if num_tokens != self._section_tokens and slot.on_device and slot.streamers:
            self._evict(slot)  # comes back with as many resident blocks as fit now
        self._section_tokens = num_tokens

    def make_working_room(self, num_bytes: int) -> None:
        """Have so much of the device free if possible, for work beside the networks."""
        if not self._are_placed:
            self._evict_for("", num_bytes)

    @contextmanager
    def with_loras(
        self, loras: Sequence[tuple[LoraFile, float]], *, are_weighed: bool = False
    ) -> Iterator[None]:
        """Have LoRAs merged into the transformer inside the block, and none after it.

        Where there are files the merged network is dropped at the end and read again when it
        is needed, which spares the memory for a second copy; else its weights are put back.

        Args:
            loras: files and their weights.
            are_weighed: ``weigh_loras`` will be called, for which the weights are kept.

        Raises:
            InvalidRequest: one does not fit the transformer.
        """
        slot = self._slots["transformer"]
        self._loras = RunLoras(loras, keeps_originals=are_weighed or not self.folders)
        if loras and slot.streamers:
            self._evict(slot)  # they are merged where the weights rest
            if slot.is_from_disk:
                slot.forget()
        if slot.on_device:
            self._loras.merge(slot.modules["transformer"])
        try:
            yield
        finally:
            used, self._loras = self._loras, RunLoras()
            if slot.streamers and used.is_merged:
                self._evict(slot)
            if used.keeps_originals:
                used.remove()
            elif used.is_merged:
                slot.forget()
                slot.on_device = False

    def weigh_loras(self, weights: Sequence[float]) -> None:
        """Give the LoRAs other weights inside the block of ``with_loras``.

        Args:
            weights: one for each, in order.
        """
        self._network("transformer")  # on another device sums would round differently
        if self._slots["transformer"].streamers:
            self._evict(self._slots["transformer"])
        self._loras.weigh(weights)

    def load(self, names: Sequence[str] = COMPONENTS) -> None:
        """Read components into memory now, in the order given, as long as all fit together."""
        for name in names:
            if name not in _GROUP_OF:
                self._processor(name)
                continue
            if self._limits.is_exclusive:
                continue  # each would drive out the one before
            group = _GROUP_OF[name]
            if not self._slots[group].on_device and not self._fits(self._needed_bytes(group)):
                return
            self._network(name)

    def _processor(self, name: str) -> Any:
        if name not in self._processors:
            self._progress(name)
            processor = load_processor(name, self.folders[name])
            if name in _READERS:
                check_vocabulary(name, processor, self.folders[_READERS[name]])
            self._processors[name] = processor
        return self._processors[name]

    def _network(self, name: str, working_bytes: int = 0) -> Any:
        group = _GROUP_OF[name]
        slot = self._slots[group]
        if self._are_placed:
            return _brought_by_its_hook(slot.modules[name])
        self._clock += 1
        slot.last_used = self._clock
        if not slot.on_device:
            self._bring(group, self._make_room(group, self._needed_bytes(group), working_bytes))
        elif working_bytes:
            self._evict_for(group, working_bytes)
        return slot.modules[name]

    def _bring(self, group: str, placed: Mapping[str, NetworkPlacement]) -> None:
        """Load a group, or move it from host memory, to the device.

        Args:
            group: it.
            placed: those of its networks that are streamed.
        """
        slot = self._slots[group]
        for name in _GROUPS[group]:
            if name in placed:
                self._stream(slot, name, placed[name])
                continue
            slot.stop_streaming(name)
            if name in slot.modules:
                slot.modules[name] = nn.Module.to(slot.modules[name], self.device)
            else:
                self._progress(name)
                logger.info("loading %s from %s", name, self.folders[name])
                slot.modules[name] = load_network(
                    name, self.folders[name], self._dtypes[name], self.device
                )
            if name == "transformer":
                _pack(slot.modules[name])
                self._loras.merge(slot.modules[name])
        slot.on_device = True

    def _stream(self, slot: Slot, name: str, placement: NetworkPlacement) -> None:
        """Have a network's blocks or layers come to the device when they run."""
        slot.prepare(name, placement)
        if name not in slot.modules:
            self._progress(name)
            logger.info("reading %s from %s, to be streamed", name, self.folders[name])
            # Where LoRAs are merged, they are added in the number format that is computed in.
            as_stored = placement.from_disk and not self._loras.loras
            dtype = None if as_stored else self._dtypes[name]
            slot.modules[name] = load_network(name, self.folders[name], dtype, _HOST)
        if name not in slot.streamers:
            slot.modules[name] = nn.Module.to(slot.modules[name], _HOST)
        if name == "transformer":
            self._loras.merge(slot.modules[name])
        slot.stream(name, placement, self.device, self._dtypes[name], self._free()[0])

    def _make_room(
        self, group: str, needed_bytes: int, working_bytes: int
    ) -> Mapping[str, NetworkPlacement]:
        """Have room for a group, and if possible working memory beside it.

        Returns:
            Those of its networks that must be streamed, by name.

        Raises:
            DeviceMemoryError: it does not fit in any way that is allowed.
        """
        limits, slot = self._limits, self._slots[group]
        if limits.offload != "none":
            self._evict_for(
                group, sys.maxsize if limits.is_exclusive else needed_bytes + working_bytes
            )
        if limits.allows_whole and self._fits(needed_bytes):
            return {}
        host_free, _ = memory_bytes(_HOST)
        free, total = self._free()
        sizes = [self._size(name) for name in _GROUPS[group]]
        try:
            return place_streamed(limits, self.device, sizes, free, host_free + slot.host_bytes)
        except PlacementError as error:
            raise DeviceMemoryError(
                f"the {group} of {self.spec.title} needs {needed_bytes / 1e9:.1f} GB with working "
                f"memory; {self.device} has {max(free, 0) / 1e9:.1f} of {total / 1e9:.1f} GB free "
                f"for it{error}. Free or allow more memory there, use a larger device or a smaller "
                "size, --offload sequential, --device cpu with enough RAM, or --model tiny"
            ) from error

    def _evict_for(self, group: str, needed_bytes: int) -> None:
        """Move the longest unused groups away until enough is free or none is left."""
        others = [slot for name, slot in self._slots.items() if name != group and slot.on_device]
        _, total = self._free()
        left_out = int(total * (1 - self._memory_share))
        for slot in sorted(others, key=lambda slot: slot.last_used):
            if self._fits(needed_bytes + left_out):
                return
            self._evict(slot)

    def _evict(self, slot: Slot) -> None:
        alternates = bool(_KEPT_ON_HOST & slot.modules.keys())
        keep = self.device.type != "cpu" and alternates
        host_free, _ = memory_bytes(torch.device("cpu"))
        if slot.streamers and (alternates or not self.folders):
            slot.release()
        elif not self.folders or (keep and stored_bytes(slot.modules) < 0.8 * host_free):
            for name, module in slot.modules.items():
                slot.modules[name] = nn.Module.to(module, "cpu")
        else:
            slot.forget()  # read from disk again when they are needed again
            if self._slots["transformer"] is slot:
                self._loras.forget()
        slot.on_device = False

    def _fits(self, needed_bytes: int) -> bool:
        return needed_bytes <= self._free()[0]

    def _free(self) -> tuple[int, int]:
        """Free and total bytes of the device that may be used."""
        held = sum(slot.held_bytes for slot in self._slots.values())
        return self._limits.apply(*memory_bytes(self.device), held)

    def _needed_bytes(self, group: str) -> int:
        """Weights of a group on the device, and what it takes to run them."""
        sizes = [self._size(name) for name in _GROUPS[group]]
        return sum(size.weight_bytes + size.working_bytes for size in sizes)

    def _size(self, name: str) -> NetworkSize:
        slot = self._slots[_GROUP_OF[name]]
        place = self.folders.get(name) or slot.modules[name]
        return measure(name, place, self._dtypes[name], self._section_tokens)


def load_components(
    spec: ModelSpec,
    settings: Settings,
    *,
    memory_share: float = 1.0,
    offload: Offload | None = None,
    progress: LoadProgress | None = None,
    preload: Sequence[str] = COMPONENTS,
) -> Components:
    """Find a model's files, check that they belong together, and load what fits.

    Args:
        spec: which model; tiny and published ones go the same way.
        settings: device, number format, and where files are looked for.
        memory_share: of the device's memory, that is reckoned with: a smaller one gives smaller
            decoding tiles and moves networks away sooner.
        offload: in place of the settings'.
        progress: told each component's name as it is read.
        preload: components to read now, as long as they fit together; the others are read when
            first used. A resumed run needs no encoders.

    Raises:
        MissingWeights: files are not on this machine; says where they come from.
        CheckpointError: files are damaged or of different models; names them.
        DeviceMemoryError: the device is too small for one of them.
        InvalidRequest: the device or number format asked for is not there.
    """
    device = choose_device(settings.device)
    folders = locate_all(spec, settings)
    check_widths(folders)
    limits = MemoryLimits.of(settings, offload)
    limit_allocator(device, limits)
    components = Components(
        spec,
        folders,
        device,
        requested_dtype=settings.dtype,
        memory_share=memory_share,
        limits=limits,
        progress=progress,
    )
    components.load(preload)
    return components


def _pack(transformer: nn.Module) -> None:
    """Make passes faster, once the weights are where they stay."""
    if isinstance(transformer, FramePackTransformer3DModel):
        transformer.pack_projections()


def _brought_by_its_hook(module: nn.Module) -> nn.Module:
    """The module, on the device even where only a part of it is about to be called."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(module)
    return module
