"""Whether this user has accepted the licence of published weights."""

from datetime import UTC, datetime
from pathlib import Path

from framepack.domain.errors import LicenceNotAccepted
from framepack.domain.settings import Settings, settings_path
from framepack.models.parts import Licence
from framepack.weights.hashing import write_json
from framepack.weights.locate import read_json

__all__ = ["is_licence_accepted", "record_licence", "require_licence"]


def require_licence(licence: Licence | None, settings: Settings) -> None:
    """Check consent, and remember it when the settings give it.

    Raises:
        LicenceNotAccepted: consent was never given.
    """
    if licence is None or is_licence_accepted(licence):
        return
    if not settings.accept_licence:
        raise LicenceNotAccepted(
            f"these weights come under the {licence.name}, {licence.url}; read it "
            "(`framepack models licence MODEL` sums it up) and repeat with --accept-license"
        )
    record_licence(licence)


def is_licence_accepted(licence: Licence) -> bool:
    """Whether consent was recorded on this machine."""
    path = _consent_path()
    return path.is_file() and licence.name in read_json(path)


def record_licence(licence: Licence) -> None:
    """Remember that this user accepted a licence, beside the settings file."""
    path = _consent_path()
    known = read_json(path) if path.is_file() else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(path, known | {licence.name: {"url": licence.url, "accepted": now}})


def _consent_path() -> Path:
    return settings_path().parent / "licences.json"
