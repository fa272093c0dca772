"""What users prefer, by key: values that only their programs understand, kept for all of them."""

import json
from collections.abc import Mapping
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.service.database import Database
from framepack.service.rows import as_text

__all__ = ["MOST_BYTES", "Preferences"]

MOST_BYTES = 256_000
"""Of one owner's values as JSON."""


class Preferences:
    """One object of JSON for each owner.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, owner: str) -> dict[str, Any]:
        """An owner's values; empty if nothing was kept."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT value FROM preferences WHERE owner = ?", (owner,)
            ).fetchone()
        found: dict[str, Any] = json.loads(row["value"]) if row is not None else {}
        return found

    def keep(self, owner: str, values: Mapping[str, Any]) -> None:
        """Keep values in the place of those before.

        Raises:
            InvalidRequest: they are too large.
        """
        text = as_text(values)
        size = len(text.encode())
        if size > MOST_BYTES:
            raise InvalidRequest(
                f"the preferences have {size / 1000:.0f} KB; {MOST_BYTES / 1000:.0f} KB are kept, "
                "so leave some out"
            )
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO preferences VALUES (?, ?)", (owner, text))
