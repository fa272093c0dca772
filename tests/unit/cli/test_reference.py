"""The committed reference page is the help of the program."""

from pathlib import Path

from framepack.cli.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_reference_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run `python -m framepack.cli.reference docs/cli.md`"
    )
