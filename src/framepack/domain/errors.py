"""Every error a user can meet. A message says what was found, what was needed, what to do."""

# ruff: noqa: N818 - the names say what is wrong; an "Error" at the end would add nothing

__all__ = [
    "CheckpointError",
    "FramePackError",
    "HistoryTooShort",
    "InvalidRequest",
    "LicenceNotAccepted",
    "MissingWeights",
    "WorkspaceError",
]


class FramePackError(Exception):
    """Base of all errors meant for people; the command line prints it as one line."""

    exit_code = 1


class InvalidRequest(FramePackError):
    """The input asks for something impossible; nothing was loaded or written."""

    exit_code = 2


class MissingWeights(FramePackError):
    """Weights are not on this machine; the text says where they come from and how to get them."""


class LicenceNotAccepted(FramePackError):
    """The weights' licence must be accepted before they may be downloaded."""


class CheckpointError(FramePackError):
    """A weights file is damaged, incomplete or does not fit the network it is loaded into."""


class WorkspaceError(FramePackError):
    """A run directory cannot be written, read or resumed."""


class HistoryTooShort(FramePackError):
    """A section was asked to see more latent frames than the history holds."""
