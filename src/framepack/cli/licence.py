"""``framepack models licence``: the terms of a model's weights."""

from typing import TYPE_CHECKING

from framepack.cli.console import write
from framepack.cli.options import ModelName

if TYPE_CHECKING:
    from framepack.models.spec import ModelSpec

__all__ = ["command", "licence_lines"]


def command(model: ModelName) -> None:
    """Show the terms of a model's weights."""
    from framepack.models.spec import resolve_spec

    for line in licence_lines(resolve_spec(model)):
        write(line)


def licence_lines(spec: "ModelSpec") -> list[str]:
    """The terms of a model's weights as a person reads them before accepting."""
    terms = spec.licence
    if terms is None:
        own = " They are part of this program, Apache-2.0." if spec.is_packaged else ""
        return [f"{spec.title}: its weights have no terms to accept.{own}"]
    return [
        f"{spec.title}: {terms.name}",
        terms.url,
        "",
        *(f"- {fact}" for fact in terms.facts),
        "",
        "This is a summary; the text at the address above is what counts.",
    ]
