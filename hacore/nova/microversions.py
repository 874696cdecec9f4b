# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which microversions hacore works with, and what it needs the newer ones for."""

from novaclient import api_versions
from novaclient import exceptions as nova_exc

from hacore import errors
from hacore.nova import responses
from hacore.nova.session import Connection

#: The newest that hacore uses.  Since 2.73 a lock has a reason; from 2.95 on evacuated
#: servers stay stopped (nova: compute/api.py, evacuate), so never that far.
NEWEST = api_versions.APIVersion("2.90")
#: The oldest that hacore works with (Pike): services are named by uuid.
OLDEST = api_versions.APIVersion("2.53")
LOCK_REASON = api_versions.APIVersion("2.73")
MIGRATIONS_SINCE = api_versions.APIVersion("2.59")

_WITHOUT = api_versions.APIVersion("2.1")


def negotiate(connection: Connection, request_id: str | None) -> api_versions.APIVersion:
    """Return the newest microversion that both Nova and hacore know.  Raises NovaError."""
    client = connection.client(_WITHOUT, request_id)
    url = client.get_endpoint()
    try:
        try:
            answer, body = client.get(url)
        except nova_exc.NotFound:  # a URL that ends with the project's id: of its parent
            answer, body = client.get(f"{url.rsplit('/', 1)[0]}/")
    except nova_exc.Unauthorized as exc:
        raise errors.NovaError("The compute endpoint is not that of Nova's API v2.1.") from exc
    newest = responses.read(answer, body, responses.newest_microversion)
    if newest < OLDEST:
        raise errors.NovaError(
            f"Nova offers microversions up to {newest.get_string()}; hacore needs "
            f"{OLDEST.get_string()} (Pike) or later."
        )
    return min(newest, NEWEST)
