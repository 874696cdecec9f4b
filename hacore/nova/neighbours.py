# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is read from Neutron and Placement, where the catalogue has them."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import identity
from novaclient import exceptions as nova_exc

from hacore.nova.responses import UnexpectedResponse
from hacore.nova.retry import Retrier
from hacore.nova.types import NetworkAgent

T = TypeVar("T")

NETWORK, PLACEMENT = "network", "placement"
#: The first that shows traits (Queens).
_TRAITS = {"OpenStack-API-Version": "placement 1.6"}


class Neighbours:
    """Reads of one recovery or operation.

    :param where: region and interfaces of [nova], which are those of these services, too.
    """

    def __init__(self, session: Any, retrier: Retrier, where: Mapping[str, Any]) -> None:
        self._session, self._retrier, self._where = session, retrier, where

    def agents(self, host: str) -> list[NetworkAgent]:
        """Return the agents that Neutron knows on `host`; empty where there is no Neutron."""

        def read(body: Any) -> list[NetworkAgent]:
            return [
                NetworkAgent(str(row["agent_type"]), alive=row["alive"] is True)
                for row in body["agents"]
                if row["host"] == host
            ]

        path, query = "/v2.0/agents", {"host": host}
        what = f"list the Neutron agents of {host}"
        return self._get(NETWORK, path, what, read, params=query) or []

    def has_placement(self) -> bool:
        """Whether the catalogue has Placement."""
        return self._retrier.call(lambda: self._url(PLACEMENT), "find Placement") is not None

    def traits(self, provider: str) -> frozenset[str]:
        """Return the traits of a resource provider; empty where there is no Placement."""
        path = f"/resource_providers/{provider}/traits"
        what = f"read the traits of resource provider {provider} in Placement"

        def read(body: Any) -> frozenset[str]:
            return frozenset(str(trait) for trait in body["traits"])

        return self._get(PLACEMENT, path, what, read, headers=_TRAITS) or frozenset()

    def consumers(self, provider: str) -> frozenset[str]:
        """Return the UUIDs of what Placement gives room of a resource provider.

        They are of instances, and of migrations under way. Empty where there is no Placement.
        """
        path = f"/resource_providers/{provider}/allocations"
        what = f"read the allocations of resource provider {provider} in Placement"

        def read(body: Any) -> frozenset[str]:
            return frozenset(map(str, body["allocations"]))

        return self._get(PLACEMENT, path, what, read) or frozenset()

    def _get(
        self, service: str, path: str, what: str, read: Callable[[Any], T], **options: Any
    ) -> T | None:
        """Return what `read` finds in the answer; None where the catalogue has no such service."""

        def get() -> T | None:
            base = self._url(service)
            if base is None:
                return None
            url = f"{base}{path}"
            answer = self._session.get(url, raise_exc=False, connect_retries=0, **options)
            if answer.status_code != 200:
                raise nova_exc.from_response(answer, None, url, "GET")
            try:
                return read(answer.json())
            except (AttributeError, LookupError, TypeError, ValueError) as exc:
                raise UnexpectedResponse(
                    f"unexpected answer ({type(exc).__name__}: {exc})"
                ) from exc

        return self._retrier.call(get, what)

    def _url(self, service: str) -> str | None:
        if not isinstance(self._session.auth, identity.BaseIdentityPlugin):
            return None  # no catalogue
        try:
            url = self._session.get_endpoint(service_type=service, **self._where)
        except ks_exc.EndpointNotFound:
            return None
        # some catalogues have Neutron's with its version
        return str(url).rstrip("/").removesuffix("/v2.0") if url else None
