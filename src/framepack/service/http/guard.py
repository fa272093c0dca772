"""Who sent a request, and whether it may be answered at all. Pure ASGI, before every route."""

from dataclasses import dataclass

from starlette.requests import HTTPConnection

__all__ = ["Caller", "caller"]

CALLER = "framepack.caller"
"""Where the scope of a request that was let in has its caller."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        owner: id of the key, which owns the jobs that are sent with it; "" without keys.
        is_admin: sees and changes everybody's jobs: no key is needed, or it is an operator's.
        is_link: came by a signed link, which is good for reading this one address.
    """

    owner: str
    is_admin: bool
    is_link: bool = False

    @property
    def sees(self) -> str | None:
        """Whose jobs there are for this caller, as ``JobStore.get(owner=...)``: None for all."""
        return None if self.is_admin or self.is_link else self.owner


def caller(request: HTTPConnection) -> Caller:
    """Who sent a request; a dependency of routes. The guard has let it in already."""
    found = request.scope.get(CALLER)
    assert isinstance(found, Caller), "the guard is installed by create_app"
    return found
