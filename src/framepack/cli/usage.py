"""How a command line is parsed and its help laid out: strict, and one line per complaint."""

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group", "UsageError", "usage_line"]

# typer does not export the base of its parsing errors, and its home has moved before.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What is raised for a command line that cannot be parsed."""

_OTHER = "Other options"


class Command(TyperCommand):
    """A command that refuses an option given twice and shows its options by topic."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse strictly: of two values for one option neither is surely meant."""
        if not ctx.resilient_parsing:
            order = self._order(ctx, args)
            times = Counter(param.name for param in order)
            for param in order:
                has_one_value = not getattr(param, "is_flag", True) and not param.multiple
                if has_one_value and times[param.name] > 1:
                    ctx.fail(f"option {_long(param.opts)} is given {times[param.name]} times")
        return super().parse_args(ctx, args)

    def _order(self, ctx: Any, args: list[str]) -> list[Any]:
        """The parameters in the order in which they appear, repetitions included."""
        try:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        except UsageError as error:
            # The parser forgets the command for some errors, and the hint names its help.
            error.ctx = ctx  # type: ignore[attr-defined]
            raise
        return list(order)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name what follows the command in its usage line."""
        arguments = [param for param in self.get_params(ctx) if _is_argument(param)]
        return ["[OPTIONS]", *(str(argument.metavar) for argument in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options under the headings named by their ``rich_help_panel``."""
        sections: dict[str, list[tuple[str, str]]] = {}
        params: list[Any] = self.get_params(ctx)
        for param in params:
            if _is_argument(param):
                sections.setdefault("Arguments", []).append((str(param.metavar), str(param.help)))
            elif (record := param.get_help_record(ctx)) is not None:
                heading = getattr(param, "rich_help_panel", None) or _OTHER
                sections.setdefault(heading, []).append(record)
        if _OTHER in sections:
            sections[_OTHER] = sections.pop(_OTHER)
        if set(sections) <= {"Arguments", _OTHER}:
            sections = {("Options" if key == _OTHER else key): sections[key] for key in sections}
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Group(TyperGroup):
    """A group that answers an unknown command with the nearest one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Find the command that the first argument names."""
        name = args[0]
        if not name.startswith("-") and name not in self.commands and not ctx.resilient_parsing:
            near = get_close_matches(name, self.commands, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose {', '.join(self.commands)}"
            ctx.fail(f"unknown command {name!r}; {hint}")
        return super().resolve_command(ctx, args)


def usage_line(error: Any) -> str:
    """A parsing error as one line, with the nearest option and where help is."""
    option = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and option:
        near = get_close_matches(option, error.possibilities or (), n=1, cutoff=0.5)
        text = f"unknown option {option}" + (f"; did you mean {near[0]}?" if near else "")
    else:
        text = error.format_message().rstrip(".")
        text = text[:1].lower() + text[1:]
    path = error.ctx.command_path if getattr(error, "ctx", None) else "framepack"
    return f"{text} (see `{path} --help`)"


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _long(names: Sequence[str]) -> str:
    return max(names, key=len)
