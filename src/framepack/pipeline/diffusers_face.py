"""The pipeline under the names that users of diffusers know; the work is that of ``generate``.

Shape letters (docs/notation.md): T frames, H W size in pixels.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from diffusers.loaders.lora_pipeline import HunyuanVideoLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, LlamaModel, PreTrainedTokenizerBase, SiglipVisionModel

from framepack.domain.choices import MAX_SEED
from framepack.domain.errors import InvalidRequest
from framepack.domain.events import StepDone
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.media.exports import open_raw_frames
from framepack.media.files import StrPath
from framepack.media.images import fit_image
from framepack.media.outputs import Outputs
from framepack.models.spec import COMPONENTS, PRESETS, RECIPE_NAME, ModelSpec, resolve_spec
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Pictures
from framepack.pipeline.delivery import Delivery
from framepack.pipeline.device import choose_dtype
from framepack.pipeline.generate import generate
from framepack.pipeline.workspace import Workspace

__all__ = ["FramePackPipeline", "FramePackPipelineOutput"]

logger = logging.getLogger(__name__)

Picture = Image.Image | NDArray[Any] | Tensor
SamplingType = Literal["inverted_anti_drifting", "vanilla"]

_FPS = 30
_VARIANTS = {"inverted_anti_drifting": "bi-directional", "vanilla": "forward-only"}
_CHECKPOINTS = {"bi-directional": "i2v", "forward-only": "f1"}
_OUTPUT_TYPES = ("pil", "np", "pt")


@dataclass
class FramePackPipelineOutput(BaseOutput):
    """What a call gives.

    Attributes:
        frames: one video: for ``output_type`` "pil" a list of one list of pictures, for "np"
            an array [1, T, H, W, 3] and for "pt" a tensor [1, T, 3, H, W], both in 0..1.
    """

    frames: Any


class FramePackPipeline(DiffusionPipeline, HunyuanVideoLoraLoaderMixin):
    """FramePack with the class, argument and component names of diffusers' pipeline.

    Loading, saving, LoRA, offloading and number formats are diffusers' own; the sampling is
    this package's: the official UniPC solver, exact lengths, memory that does not grow with the
    video until the frames are returned.

    Args:
        vae, text_encoder, tokenizer, text_encoder_2, tokenizer_2, image_encoder,
            feature_extractor, transformer: the components.
        scheduler: accepted because HunyuanVideo's folder has one; the model's own solver
            is used.
    """

    model_cpu_offload_seq: Any = "text_encoder->text_encoder_2->image_encoder->transformer->vae"
    _optional_components = ["scheduler"]  # noqa: RUF012 - diffusers adds it to lists

    def __init__(
        self,
        text_encoder: LlamaModel,
        tokenizer: PreTrainedTokenizerBase,
        transformer: FramePackTransformer3DModel,
        vae: AutoencoderKLHunyuanVideo,
        text_encoder_2: CLIPTextModel,
        tokenizer_2: PreTrainedTokenizerBase,
        image_encoder: SiglipVisionModel,
        feature_extractor: Any,
        scheduler: Any = None,
    ) -> None:
        super().__init__()
        register: Any = self.register_modules
        register(
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
            vae=vae,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
            scheduler=scheduler,
        )
        self._folder: Path | None = None

    @classmethod
    def from_pretrained(cls, path: StrPath, **options: Any) -> Self:  # type: ignore[override]
        """Load the components of a folder or of a repository on the hub; see diffusers.

        Args:
            path: ``framepack.TINY``, a model folder, or a repository such as
                ``hunyuanvideo-community/HunyuanVideo``.
            options: diffusers' own, components to use in place of the folder's among them.
                Networks in float16 get another format on a machine without accelerator.
        """
        pipeline: Self = super().from_pretrained(str(path), **options)
        if not torch.accelerator.is_available():
            pipeline._leave_float16()
        if (Path(path) / RECIPE_NAME).is_file():
            pipeline._folder = Path(path)
        return pipeline

    def _leave_float16(self) -> None:
        """Take another number format where a CPU would crawl in float16."""
        for name in COMPONENTS:
            network = getattr(self, name)
            if isinstance(network, nn.Module) and network.dtype == torch.float16:
                dtype = choose_dtype(torch.device("cpu"), name, "auto")
                logger.info("%s runs in %s: float16 is slow on a CPU", name, dtype)
                nn.Module.to(network, dtype)

    def enable_model_cpu_offload(self, *args: Any, **options: Any) -> None:
        """Keep each network on the CPU but while it runs; without a GPU there is nothing to do."""
        if not args and not options and not torch.accelerator.is_available():
            logger.info("no accelerator: every network is on the CPU already")
            return
        super().enable_model_cpu_offload(*args, **options)

    def __call__(
        self,
        image: Picture | Sequence[Picture] | None = None,
        last_image: Picture | Sequence[Picture] | None = None,
        prompt: str | Sequence[str] = "",
        negative_prompt: str | Sequence[str] | None = None,
        height: int = 720,
        width: int = 1280,
        num_frames: int = 129,
        latent_window_size: int = 9,
        num_inference_steps: int = 50,
        true_cfg_scale: float = 1.0,
        guidance_scale: float = 6.0,
        generator: torch.Generator | None = None,
        output_type: Literal["pil", "np", "pt"] = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, int, dict[str, Any]], Any] | None = None,
        sampling_type: SamplingType = "inverted_anti_drifting",
        **fields: Any,
    ) -> FramePackPipelineOutput | tuple[Any]:
        """Make one video.

        Args:
            image: first frame, a picture, [H, W, 3] or [3, H, W] in 0..1, or None for text alone.
            last_image: last frame.
            prompt: what happens.
            negative_prompt: acts with ``true_cfg_scale`` above 1.
            height, width: pixels, multiples of 16.
            num_frames: frames, exactly; with ``last_image`` the nearest whole sections.
            latent_window_size: latent frames per section.
            num_inference_steps: denoising steps per section.
            true_cfg_scale: classifier-free guidance.
            guidance_scale: distilled guidance.
            generator: gives the seed; None for a random one.
            output_type: "pil", "np" or "pt".
            return_dict: give a ``FramePackPipelineOutput``, else a tuple.
            callback_on_step_end: called with the pipeline, the number of the step in the whole
                video, the number of the section's step and an empty dictionary.
            sampling_type: "inverted_anti_drifting" or "vanilla".
            fields: other fields of ``GenerationRequest``, such as ``section_prompts``.

        Raises:
            InvalidRequest: bad input; nothing was computed.
        """
        if output_type not in _OUTPUT_TYPES:
            raise InvalidRequest(
                f"output_type is {output_type!r}; it must be one of {', '.join(_OUTPUT_TYPES)}"
            )
        start, end = _to_picture(image, "image"), _to_picture(last_image, "last_image")
        spec = self._spec(_variant(sampling_type))
        asked = GenerationRequest.parse(
            prompt=_one(prompt, "prompt") or "",
            negative_prompt=_one(negative_prompt, "negative_prompt") or "",
            model=spec.key,
            variant=_variant(sampling_type),
            width=width,
            height=height,
            fps=_FPS,
            duration_s=num_frames / _FPS,
            latent_window_size=latent_window_size,
            num_inference_steps=num_inference_steps,
            true_cfg_scale=true_cfg_scale,
            guidance_scale=guidance_scale,
            seed=_seed(generator),
            codec="none",
            **fields,
        )
        plan = make_plan(
            asked,
            model=spec.key,
            geometry=spec.geometry,
            defaults=spec.defaults,
            variants=spec.variants,
            image_size=start.size if start is not None else None,
            end_image_size=end.size if end is not None else None,
            allow_empty=start is not None or end is not None,
        )
        video = self._render(plan, spec, start, end, callback_on_step_end)
        frames = _as(video, output_type)
        return FramePackPipelineOutput(frames=frames) if return_dict else (frames,)

    def _render(
        self,
        plan: Plan,
        spec: ModelSpec,
        start: Image.Image | None,
        end: Image.Image | None,
        callback: Callable[[Any, int, int, dict[str, Any]], Any] | None,
    ) -> NDArray[np.uint8]:
        """All frames, [T, H, W, 3] uint8; on the way they are on the disk."""

        def fitted(picture: Image.Image | None) -> Image.Image | None:
            return fit_image(picture, plan.width, plan.height) if picture is not None else None

        modules = {name: getattr(self, name) for name in COMPONENTS}
        components = Components.from_modules(spec, modules, self._execution_device, are_placed=True)
        with tempfile.TemporaryDirectory(prefix="framepack-") as folder:
            raw = Path(folder) / "frames.safetensors"
            delivery = Delivery(
                Outputs(raw.with_suffix(".mp4"), raw=raw), embed=False, thumbnail=False
            )
            pictures = Pictures(fitted(start), fitted(end))
            workspace = Workspace.create(Path(folder) / "run", plan, delivery, pictures)
            steps = plan.num_sections * plan.request.num_inference_steps
            with self.progress_bar(total=steps) as bar:
                for event in generate(plan, components, workspace):
                    if not isinstance(event, StepDone):
                        continue
                    bar.update()
                    if callback is not None:
                        done = event.render_index * event.num_steps + event.step
                        callback(self, done - 1, event.step - 1, {})
            return np.stack(list(open_raw_frames(raw).frames()))

    def _spec(self, variant: str) -> ModelSpec:
        """The model: that of the folder's recipe, else the published one of the variant."""
        if self._folder is not None:
            return resolve_spec(str(self._folder), variant)
        return PRESETS[_CHECKPOINTS[variant]]


def _variant(sampling_type: object) -> str:
    name = str(getattr(sampling_type, "value", sampling_type))
    if name not in _VARIANTS:
        raise InvalidRequest(f"sampling_type is {name!r}; it must be one of {', '.join(_VARIANTS)}")
    return _VARIANTS[name]


def _one(text: str | Sequence[str] | None, name: str) -> str | None:
    """The only text of a list, or the text itself."""
    if text is None or isinstance(text, str):
        return text
    if len(text) != 1:
        raise InvalidRequest(f"{name} holds {len(text)} texts; one video is made per call")
    return text[0]


def _seed(generator: torch.Generator | None) -> int | None:
    if generator is None:
        return None
    drawn = torch.randint(MAX_SEED, (), generator=generator, device=generator.device)
    return int(drawn)


def _to_picture(given: Picture | Sequence[Picture] | None, name: str) -> Image.Image | None:
    """A picture in any of diffusers' forms as an RGB picture."""
    if given is None or isinstance(given, Image.Image):
        return given.convert("RGB") if given is not None else None
    if isinstance(given, list | tuple):
        if len(given) != 1:
            raise InvalidRequest(f"{name} holds {len(given)} pictures; one video is made per call")
        return _to_picture(given[0], name)
    if isinstance(given, Tensor):
        given = given.detach().float().cpu().numpy()
        given = given[0] if given.ndim == 4 and given.shape[0] == 1 else given
        given = given.transpose(1, 2, 0) if given.ndim == 3 else given
    pixels = np.asarray(given)
    pixels = pixels[0] if pixels.ndim == 4 and pixels.shape[0] == 1 else pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InvalidRequest(
            f"{name} has shape {list(pixels.shape)}; an array [H, W, 3] or a tensor [3, H, W] of "
            "one picture is needed"
        )
    if pixels.dtype != np.uint8:
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise InvalidRequest(f"{name} has values outside 0..1; scale them, or give uint8")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _as(video: NDArray[np.uint8], output_type: str) -> Any:
    if output_type == "pil":
        return [[Image.fromarray(frame) for frame in video]]
    values = video[None].astype(np.float32) / 255
    return values if output_type == "np" else torch.from_numpy(values).permute(0, 1, 4, 2, 3)
