"""``framepack models quantize``: store a model's transformer in 8 bits."""

from pathlib import Path
from typing import Annotated

import typer

from framepack.cli.console import write
from framepack.cli.options import ModelName, ModelsDir
from framepack.domain.errors import InvalidRequest
from framepack.domain.quantization import STORED_FORMATS

__all__ = ["command"]


def command(
    model: ModelName,
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", show_default=False, help="A new folder.")
    ],
    kept_as: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            show_default=False,
            help="fp8, int8 or int8-dynamic; default: fp8.",
        ),
    ] = "fp8",
    models_dir: ModelsDir = None,
) -> None:
    """Write a model whose transformer is stored quantised, and print its recipe for --model.

    The other components stay where they are. LoRAs cannot be merged into such a transformer.
    """
    if kept_as not in STORED_FORMATS:
        raise InvalidRequest(f"--format is {kept_as!r}; choose {', '.join(sorted(STORED_FORMATS))}")
    from framepack.domain.settings import Settings
    from framepack.models.spec import resolve_spec
    from framepack.pipeline.store_quantized import store_quantized

    settings = Settings.load(models_dir=models_dir)
    recipe = store_quantized(resolve_spec(model), Path(folder), kept_as, settings)  # type: ignore[arg-type]
    write(str(recipe))
