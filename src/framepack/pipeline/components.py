"""What a model is made of: its networks, and what reads text and pictures for them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPTextModel,
    LlamaModel,
    PreTrainedTokenizerBase,
    SiglipImageProcessorPil,
    SiglipVisionModel,
)

from framepack.domain.choices import Offload
from framepack.domain.errors import as_bad_input
from framepack.domain.fallbacks import FALLBACKS, Fallback
from framepack.domain.settings import Settings
from framepack.models.autoencoder import LatentPreview, TileCounts
from framepack.models.encoders import PromptEmbeds, encode_prompt, encode_vision
from framepack.models.parts import PromptTemplate
from framepack.models.spec import COMPONENTS, ModelSpec
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.component_files import (
    check_vocabulary,
    check_widths,
    load_processor,
)
from framepack.pipeline.decoding_tile import decoding_tile
from framepack.pipeline.device import choose_device, choose_dtype
from framepack.pipeline.embedding_cache import EmbeddingCache
from framepack.pipeline.embeddings import Embeddings
from framepack.pipeline.execution import Execution
from framepack.pipeline.networks import NETWORKS, LoadProgress, Networks
from framepack.pipeline.offloading import MemoryLimits, limit_allocator
from framepack.pipeline.own_decoder import OwnDecoder
from framepack.pipeline.quantizing import Quantization
from framepack.weights.checkpoint import locate_all
from framepack.weights.hashing import HashCache, hash_folder
from framepack.weights.locate import read_json

__all__ = ["Components", "LoadProgress", "check_loading", "load_components"]

_READERS = {"tokenizer": "text_encoder", "tokenizer_2": "text_encoder_2"}


class Components:
    """What a model is made of. Read an attribute to use a component.

    A network that is read is on the device. It stays there until another one needs the room, so
    read it again rather than keeping it across sections. Build with ``load_components`` or, from
    networks that are in memory already, with ``from_modules``.

    Attributes:
        spec: the model.
        device: where networks run.
        folders: component name to folder; empty for ``from_modules``.
        networks: where its networks are.
        falls_back: a run goes on more modestly where memory does not suffice; else that is an
            error, for somebody who tries again from outside.
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
        execution: Execution | None = None,
        quantization: Quantization | None = None,
        embedding_cache: EmbeddingCache | None = None,
    ) -> None:
        self.spec = spec
        self.device = device
        self.folders = dict(folders)
        progress = progress or (lambda _: None)
        self.networks = Networks(
            spec.title,
            self.folders,
            device,
            {name: choose_dtype(device, name, requested_dtype) for name in COMPONENTS},
            memory_share=memory_share,
            limits=limits or MemoryLimits(),
            progress=progress,
            quantization=quantization,
            execution=execution,
        )
        self.falls_back = True
        self._memory_share = memory_share
        self._limits = limits or MemoryLimits()
        self._num_fallbacks = 0
        self._progress = progress
        self._processors: dict[str, Any] = {}
        formats = {
            name: f"{dtype} {self.networks.quantization.format_of(name)}"
            for name, dtype in self.networks.dtypes.items()
            if name in NETWORKS
        }
        self._embeddings = Embeddings(embedding_cache, self.folders, device, formats)
        self._decoder = OwnDecoder()
        self._other_decoder: Callable[[Tensor], Tensor] | None = None

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
        networks = {name: module for name, module in modules.items() if name in NETWORKS}
        components.networks.adopt(networks, are_placed=are_placed)
        components._processors = {
            name: modules[name] for name in COMPONENTS if name not in networks
        }
        return components

    @property
    def transformer(self) -> FramePackTransformer3DModel:
        """The network that predicts a section, on the device."""
        transformer: FramePackTransformer3DModel = self.networks.get("transformer")
        return transformer

    @property
    def vae(self) -> AutoencoderKLHunyuanVideo:
        """The video autoencoder, on the device."""
        vae: AutoencoderKLHunyuanVideo = self.networks.get("vae")
        return vae

    @property
    def text_encoder(self) -> LlamaModel:
        """Llama, on the device together with ``text_encoder_2``."""
        encoder: LlamaModel = self.networks.get("text_encoder")
        return encoder

    @property
    def text_encoder_2(self) -> CLIPTextModel:
        """CLIP's text encoder, on the device together with ``text_encoder``."""
        encoder: CLIPTextModel = self.networks.get("text_encoder_2")
        return encoder

    @property
    def image_encoder(self) -> SiglipVisionModel:
        """SigLIP's vision tower, on the device."""
        encoder: SiglipVisionModel = self.networks.get("image_encoder")
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
        return self.networks.dtypes[component]

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
        template = self._template(system)

        def encode() -> PromptEmbeds:
            embeds = encode_prompt(
                prompt,
                text_encoder=self.text_encoder,
                tokenizer=self.tokenizer,
                text_encoder_2=self.text_encoder_2,
                tokenizer_2=self.tokenizer_2,
                template=template,
            )
            prompt_embeds, pooled = embeds.prompt_embeds.cpu(), embeds.pooled.cpu()
            return PromptEmbeds(prompt_embeds, embeds.prompt_mask, pooled)

        return self._embeddings.prompt(prompt, template, encode)

    def knows_prompts(self, prompts: Iterable[str], system: str | None = None) -> bool:
        """Whether no prompt needs an encoder, since what it gave is remembered."""
        template = self._template(system)
        return all(self._embeddings.has_prompt(prompt, template) for prompt in prompts)

    def knows_vision(self, pictures: Iterable[Image.Image]) -> bool:
        """The same for what pictures show."""
        return all(map(self._embeddings.has_vision, pictures))

    def _template(self, system: str | None) -> PromptTemplate:
        template = self.spec.prompt_template
        return template if system is None else template.with_system(system, self._num_tokens)

    def _num_tokens(self, text: str) -> int:
        encoded: Any = self.tokenizer(text)
        return len(encoded["input_ids"])

    def encode_vision(self, picture: Image.Image) -> Tensor:
        """Encode what a fitted picture shows, [1, N, V] on the CPU."""

        def encode() -> Tensor:
            features = encode_vision(
                picture, image_encoder=self.image_encoder, feature_extractor=self.feature_extractor
            )
            return features.cpu()

        return self._embeddings.vision(picture, encode)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode the next window of a video, [1, C, T, h, w] to [1, 3, 4*T - 3, H, W] fp32.

        Tiles that the window before decoded already are reused. Frames too large for the
        device are decoded in spatial tiles; see ``decoding_tile``. Inside :meth:`with_decoder`
        another decoder does it.
        """
        if self._other_decoder is not None:
            return self._other_decoder(latents)
        config, dtype = self.vae.config, self.networks.dtypes["vae"]
        tile_px, working_bytes = decoding_tile(
            latents,
            config,
            dtype,
            self.device,
            memory_share=self._memory_share,
            total_bytes=self.networks.free()[1],
        )
        vae: AutoencoderKLHunyuanVideo = self.networks.get("vae", working_bytes)
        return self._decoder.decode(vae, latents, tile_px)

    def fall_back(self) -> Fallback | None:
        """Work in the next way that takes less memory, never in one that was not to be.

        Returns:
            The way, or None if there is none left; then nothing has changed.
        """
        asked, on_cpu = self._limits.offload, self.device.type == "cpu"
        tried = {(1.0, asked)}
        ways = [way for way in FALLBACKS if not way.half_precision]
        for number, way in enumerate(ways):
            placed = way.memory_share, way.offload_for(asked, on_cpu=on_cpu) or asked
            if number > self._num_fallbacks and placed not in tried and self.falls_back:
                self._num_fallbacks = number
                self._memory_share = min(self._memory_share, way.memory_share)
                self._decoder.forget()
                self.networks.place_anew(
                    replace(self._limits, offload=placed[1]), self._memory_share
                )
                return way
            tried.add(placed)
        return None

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

    def load(self, names: Sequence[str] = COMPONENTS) -> None:
        """Read components into memory now, in the order given, as long as all fit together."""
        for name in names:
            if name not in NETWORKS:
                self._processor(name)
            elif not self.networks.load(name):
                return

    def _processor(self, name: str) -> Any:
        if name not in self._processors:
            self._progress(name)
            processor = load_processor(name, self.folders[name])
            if name in _READERS:
                check_vocabulary(name, processor, self.folders[_READERS[name]])
            self._processors[name] = processor
        return self._processors[name]


def check_loading(folders: Mapping[str, Path], settings: Settings) -> None:
    """Find out before any work what :func:`load_components` would refuse, without a weight.

    Args:
        folders: of the model, by component.
        settings: of this machine.

    Raises:
        CheckpointError: files are of different models; names them.
        InvalidRequest: the device, number format, attention or compiler asked for is not there,
            or what is to be quantised cannot be here.
    """
    with as_bad_input():
        check_widths(folders)
    device = choose_device(settings.device)
    Execution.of(settings, folders["transformer"], device)
    Quantization.of(settings, folders, device)


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
        InvalidRequest: the device, number format, attention or compiler asked for is not there,
            or what is to be quantised cannot be here.
    """
    device = choose_device(settings.device)
    folders = locate_all(spec, settings)
    check_widths(folders)
    execution = Execution.of(settings, folders["transformer"], device, offload)
    quantization = Quantization.of(settings, folders, device)
    limits = MemoryLimits.of(settings, offload)
    limit_allocator(device, limits)
    components = Components(
        spec,
        folders,
        device,
        requested_dtype=settings.dtype,
        memory_share=memory_share,
        limits=limits,
        quantization=quantization,
        progress=progress,
        execution=execution,
        embedding_cache=EmbeddingCache() if settings.keep_embeddings else None,
    )
    components.load(preload)
    return components
