# Licensed under the Apache License, Version 2.0; see LICENSE.
"""GET /servers/{id}/os-instance-actions, and the record of each call that it shows."""

from hacore_sandbox.model import Refused, Server
from hacore_sandbox.state import State
from hacore_sandbox.views import Views
from hacore_sandbox.wire import Answer, Call

#: The name of an action in POST /servers/{id}/action -> that in its record
#: (nova/compute/instance_actions.py).
RECORDED_AS = {
    "lock": "lock",
    "unlock": "unlock",
    "os-stop": "stop",
    "os-start": "start",
    "os-resetState": "resetState",
    "evacuate": "evacuate",
    "reboot": "reboot",
}


class ServerActions:
    """Writes and shows the records."""

    def __init__(self, state: State, views: Views) -> None:
        self._state = state
        self._views = views

    def record(self, server: Server, name: str, call: Call) -> None:
        """A call was accepted; `name` is that of the record."""
        self._state.actions.record(
            server,
            name,
            self._state.now,
            request_id=call.request_id,
            user_id=call.who.user_id,
            project_id=call.who.project_id,
        )

    def index(self, call: Call) -> Answer:
        """The newest first; before 2.21 only of a server that is there."""
        wanted = call.ids["id"]
        server = next((each for each in self._state.deleted if each.uuid == wanted), None)
        if server is None or call.version < (2, 21):
            server = self._state.server(wanted)
        if not call.who.is_admin and server.project_id != call.who.project_id:
            raise Refused(404, f"Instance {wanted} could not be found.")
        known = self._state.actions.of(wanted)
        shown = [self._views.action(server, each, call.version) for each in known]
        return Answer({"instanceActions": shown}, rows=len(shown))
