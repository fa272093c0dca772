"""Which jobs somebody asked to see, as conditions of SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framepack.service.records import State

__all__ = ["JobFilter"]

_TEXTS = (
    "folded(IFNULL(json_extract(request, '$.prompt'), '') || char(10) || IFNULL((SELECT "
    "group_concat(json_extract(value, '$.prompt'), char(10)) "
    "FROM json_each(request, '$.section_prompts')), ''))"
)
_MOST_WORDS = 12


@dataclass(frozen=True)
class JobFilter:
    """What a job must be.

    Attributes:
        owner: whose; None for anybody's.
        states: in one of them; None for any.
        group: of ``JobOptions``; None for any, "" for those without one.
        search: words, each of which is in a prompt, or is the seed, or begins the id.
    """

    owner: str | None = None
    states: Sequence[State] | None = None
    group: str | None = None
    search: str = ""

    def conditions(self) -> tuple[list[str], list[Any]]:
        """Conditions on a row of ``jobs``, and the values of their placeholders."""
        clauses, values = ["1"], list[Any]()
        if self.owner is not None:
            clauses.append("owner = ?")
            values.append(self.owner)
        if self.states is not None:
            clauses.append(f"state IN ({','.join('?' * len(self.states))})")
            values += self.states
        if self.group is not None:
            clauses.append("IFNULL(json_extract(options, '$.group'), '') = ?")
            values.append(self.group)
        for word in self.search.casefold().split()[:_MOST_WORDS]:
            digits = word.removeprefix("video_")
            clauses.append(
                f"(instr({_TEXTS}, ?) OR CAST(json_extract(request, '$.seed') AS TEXT) = ? "
                "OR (? != '' AND substr(id, 7, length(?)) = ?))"
            )
            values += [word, word, digits, digits, digits]
        return clauses, values
