"""Plans of a made-up model, whose figures are the official ones."""

from typing import Any

from framepack.domain.geometry import ModelDefaults, ModelGeometry
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest, Variant

__all__ = ["BOTH", "LARGE", "PICTURE", "SMALL", "defaults", "plan_for"]

LARGE = ModelGeometry(min_size=128, max_size=2160)
SMALL = ModelGeometry(min_size=64, max_size=192)
BOTH: tuple[Variant, ...] = ("bi-directional", "forward-only")
PICTURE = (832, 480)


def defaults(**changes: Any) -> ModelDefaults:
    """What the model takes where a request says nothing."""
    values: dict[str, Any] = {
        "resolution": 640,
        "num_inference_steps": 25,
        "guidance_scale": 10.0,
        "true_cfg_scale": 1.0,
        "solver": "unipc",
        "variant": "bi-directional",
    }
    return ModelDefaults(**(values | changes))


def plan_for(
    image_size: tuple[int, int] | None = None,
    end_image_size: tuple[int, int] | None = None,
    geometry: ModelGeometry = LARGE,
    **request: Any,
) -> Plan:
    """The plan of a request: by words, with seed 1 unless it names another."""
    return make_plan(
        GenerationRequest.parse(**({"prompt": "a cat", "seed": 1} | request)),
        model="i2v",
        geometry=geometry,
        defaults=defaults(),
        variants=BOTH,
        image_size=image_size,
        end_image_size=end_image_size,
    )
