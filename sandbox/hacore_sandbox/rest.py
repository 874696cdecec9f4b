# Licensed under the Apache License, Version 2.0; see LICENSE.
"""`Rest`: from a request to an answer, without sockets and without waiting.

Routes, microversions, tokens, policy, injected faults, and how long a real Nova
would have taken.  The control API is in control.py, the BMCs are in bmc.py, Neutron and Placement
in neighbours.py.
"""

import dataclasses
import datetime
import email.utils
import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from hacore_sandbox.bmc import BmcDoor
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.control import Control, Counters
from hacore_sandbox.faults import CallFault
from hacore_sandbox.hosts import Hosts
from hacore_sandbox.identity import Identity
from hacore_sandbox.model import Refused
from hacore_sandbox.neighbours import Neighbours
from hacore_sandbox.servers import Servers
from hacore_sandbox.timeline import Station
from hacore_sandbox.views import Views
from hacore_sandbox.wire import (
    Answer,
    Call,
    Json,
    Response,
    Version,
    fault_body,
    unauthorized_body,
)

Handler = Callable[[Call], Answer]
ADMIN, USER, ANYBODY = "admin", "user", "anybody"

_MICROVERSION = re.compile(r"(\d+)\.(\d+)")
#: What an unfiltered list keeps of its query.
_NO_FILTERS = frozenset({
    "all_tenants", "changes-before", "changes-since", "deleted", "limit", "marker", "sort_dir",
    "sort_key",
})  # fmt: skip
_HTML_OF_A_PROXY = (
    "<html><head><title>Maintenance</title></head><body>We are back soon.</body></html>"
)
_HTML_404 = "<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"


class Route(NamedTuple):
    template: str
    method: str
    handler: Handler
    who: str
    policy: str = ""


class Rest:
    """The whole HTTP surface of the sandbox."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        instance_ha_url: str | None = "http://127.0.0.1:15868/v1",
        region: str = "RegionOne",
    ) -> None:
        settings = cloud.settings
        self._cloud = cloud
        self._settings = settings
        self._views = Views(cloud.state)
        self._identity = Identity(cloud.state, cloud.faults, instance_ha_url, region)
        self._stations = {
            "compute": Station(settings.compute_api_workers),
            "identity": Station(settings.identity_api_workers),
        }
        self.counters = Counters()
        self._control = Control(cloud, self.counters)
        self._requests = 0
        self._routes = {
            "identity": _compile(self._identity_routes()),
            "compute": _compile(self._compute_routes()),
            **{name: _compile(routes) for name, routes in self._neighbour_routes().items()},
            "control": _compile([Route(*route, ANYBODY) for route in self._control.routes()]),
            "bmc": _compile([Route(*route, ANYBODY) for route in BmcDoor(cloud.bmcs).routes()]),
        }

    # -- the routes

    def _identity_routes(self) -> list[Route]:
        who = self._identity
        return [
            Route("/identity", "GET", who.versions, ANYBODY),
            Route("/identity/v3", "GET", who.version, ANYBODY),
            Route("/identity/v3/auth/tokens", "POST", who.issue, ANYBODY),
            Route("/identity/v3/auth/tokens", "GET", who.show, ANYBODY),
            Route("/identity/v3/auth/tokens", "HEAD", who.show, ANYBODY),
            Route("/identity/v3/auth/tokens", "DELETE", who.revoke, ANYBODY),
        ]

    def _neighbour_routes(self) -> dict[str, list[Route]]:
        """Neutron and Placement, as far as hacore asks them."""
        asked = Neighbours(self._cloud.state)
        return {
            "network": [
                Route("/network/v2.0/agents", "GET", asked.agents, ADMIN, "get_agent"),
            ],
            "placement": [
                Route("/placement/resource_providers/{id}/traits", "GET", asked.traits, ADMIN,
                      "placement:resource_providers:traits:list"),
                Route("/placement/resource_providers/{id}/allocations", "GET", asked.allocations,
                      ADMIN, "placement:resource_providers:allocations:list"),
            ],
        }  # fmt: skip

    def _compute_routes(self) -> list[Route]:
        servers, hosts = Servers(self._cloud, self._views), Hosts(self._cloud, self._views)
        base = "/compute/v2.1"
        return [
            Route("/compute", "GET", self._compute_versions, ANYBODY),
            Route(base, "GET", self._compute_version, ANYBODY),
            Route(f"{base}/servers", "GET", servers.index, USER),
            Route(f"{base}/servers", "POST", servers.create, USER),
            Route(f"{base}/servers/detail", "GET", servers.detail, USER),
            Route(f"{base}/servers/{{id}}", "GET", servers.show, USER),
            Route(f"{base}/servers/{{id}}", "DELETE", servers.delete, USER),
            Route(f"{base}/servers/{{id}}/action", "POST", servers.act, USER),
            Route(f"{base}/servers/{{id}}/metadata", "GET", servers.metadata, USER),
            Route(f"{base}/servers/{{id}}/metadata", "POST", servers.update_metadata, USER),
            Route(f"{base}/servers/{{id}}/metadata", "PUT", servers.update_metadata, USER),
            Route(
                f"{base}/servers/{{id}}/metadata/{{key}}", "DELETE", servers.delete_metadata, USER
            ),
            Route(f"{base}/servers/{{id}}/migrations", "GET", servers.migrations, ADMIN,
                  "servers:migrations:index"),
            Route(f"{base}/servers/{{id}}/os-instance-actions", "GET",
                  servers.records.index, USER),
            Route(f"{base}/flavors", "GET", servers.flavors, USER),
            Route(f"{base}/flavors/detail", "GET", servers.flavors_detail, USER),
            Route(f"{base}/flavors/{{id}}", "GET", servers.flavor, USER),
            Route(f"{base}/limits", "GET", servers.limits, USER),
            Route(f"{base}/os-services", "GET", hosts.services, ADMIN, "os-services:list"),
            Route(f"{base}/os-services/{{id}}", "PUT", hosts.update_service, ADMIN,
                  "os-services:update"),
            Route(f"{base}/os-hypervisors", "GET", hosts.hypervisors, ADMIN,
                  "os-hypervisors:list"),
            Route(f"{base}/os-hypervisors/detail", "GET", hosts.hypervisors_detail, ADMIN,
                  "os-hypervisors:list-detail"),
            Route(f"{base}/os-hypervisors/{{id}}", "GET", hosts.hypervisor, ADMIN,
                  "os-hypervisors:show"),
            Route(f"{base}/os-migrations", "GET", hosts.migrations, ADMIN,
                  "os-migrations:index"),
            Route(f"{base}/os-aggregates", "GET", hosts.aggregates, ADMIN,
                  "os-aggregates:index"),
            Route(f"{base}/os-aggregates", "POST", hosts.create_aggregate, ADMIN,
                  "os-aggregates:create"),
            Route(f"{base}/os-aggregates/{{id}}", "GET", hosts.aggregate, ADMIN,
                  "os-aggregates:show"),
            Route(f"{base}/os-aggregates/{{id}}", "DELETE", hosts.delete_aggregate, ADMIN,
                  "os-aggregates:delete"),
            Route(f"{base}/os-aggregates/{{id}}/action", "POST", hosts.act_on_aggregate, ADMIN,
                  "os-aggregates:add_host"),
        ]  # fmt: skip

    # -- requests

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        """Answer one request.  `headers` have lower-case names; `query` is not decoded."""
        self._cloud.advance()
        service = path.split("/", 2)[1] if path.startswith("/") else ""
        if service not in self._routes:
            return Response(404, {}, _HTML_404)
        route, ids = self._find(service, method, path)
        call = Call(
            method=method,
            path=path,
            ids=ids,
            query=parse_qsl(query, keep_blank_values=True),
            headers=headers,
            raw_body=body,
            base_url=f"http://{headers.get('host', 'sandbox')}",
        )
        if service in ("control", "bmc"):
            return self._answer_directly(route, call)
        response = self._with_faults(service, route, call)
        response.headers["Date"] = self._date()
        template = route.template if route else "(no route)"
        self.counters.add(service, method, template, response)
        return response

    def _find(self, service: str, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        wanted = path.rstrip("/")
        for pattern, route in self._routes[service]:
            if route.method == method and (match := pattern.fullmatch(wanted)):
                return route, {k: unquote(v) for k, v in match.groupdict().items()}
        return None, {}

    def _with_faults(self, service: str, route: Route | None, call: Call) -> Response:
        faults = self._cloud.faults
        if faults.is_unavailable(service, self._cloud.now):
            return Response(0, drop=True)
        body = call.raw_body.decode(errors="replace")
        fault = faults.of_call(service, call.method, call.path, body)
        if fault is None:
            return self._timed(service, route, call)
        if fault.drop == "before":
            return Response(0, drop=True, delay_s=fault.delay_s)
        if (fault.status is not None or fault.answer == "html") and not fault.act:
            return self._faulty(fault, 0.0)
        if fault.answer == "unfiltered":
            kept = [(name, value) for name, value in call.query if name in _NO_FILTERS]
            call = dataclasses.replace(call, query=kept)
        response = self._timed(service, route, call)
        response.delay_s += fault.delay_s
        if fault.answer == "truncated" and response.body is not None:
            text = json.dumps(response.body)
            response.body = text[: len(text) // 2].encode()
        if fault.drop == "after":
            response.drop = True
        elif fault.status is not None or fault.answer == "html":
            response = self._faulty(fault, response.delay_s)
        return response

    def _faulty(self, fault: CallFault, delay_s: float) -> Response:
        delay_s += fault.delay_s
        if fault.status is None:  # a proxy's own answer, which Nova knows nothing of
            return Response(200, {}, _HTML_OF_A_PROXY, delay_s=delay_s)
        # an action that is accepted is answered without a body
        body = fault_body(fault.status, fault.message) if fault.status >= 300 else None
        headers = self._request_id()
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        return Response(fault.status, headers, body, delay_s=delay_s)

    def _timed(self, service: str, route: Route | None, call: Call) -> Response:
        """The answer, delayed by the wait for an API worker and by its work."""
        if service == "identity":
            response, rows = self._answer_identity(route, call)
        else:
            response, rows = self._answer_compute(route, call)
        settings, reads = self._settings, call.method in ("GET", "HEAD")
        if service == "identity":
            work_s = settings.identity_read_s if reads else settings.identity_token_s
        else:
            work_s = settings.compute_read_s if reads else settings.compute_write_s
            work_s += rows * settings.compute_row_s
        work_s *= self._cloud.faults.slow
        if work_s:
            station = "identity" if service == "identity" else "compute"
            response.delay_s += self._stations[station].wait_s(self._cloud.now, work_s)
        return response

    def _answer_directly(self, route: Route | None, call: Call) -> Response:
        if route is None:
            return Response(404, {}, {"error": "unknown call; see control.py and bmc.py"})
        try:
            answer = route.handler(call)
        except Refused as exc:
            return Response(exc.status, {}, {"error": exc.message})
        return Response(
            answer.status, answer.headers, answer.body, delay_s=answer.delay_s, drop=answer.drop
        )

    def _answer_identity(self, route: Route | None, call: Call) -> tuple[Response, int]:
        if route is None:
            message = "The resource could not be found."
            error = {"code": 404, "message": message, "title": "Not Found"}
            return Response(404, {}, {"error": error}), 0
        headers = {"x-openstack-request-id": self._new_request_id()}
        try:
            answer = route.handler(call)
        except Refused as exc:
            error = {"code": exc.status, "message": exc.message, "title": "Bad Request"}
            return Response(exc.status, headers, {"error": error}), 0
        return Response(answer.status, headers | answer.headers, answer.body), answer.rows

    def _answer_compute(self, route: Route | None, call: Call) -> tuple[Response, int]:
        headers = self._request_id()
        if route is None or route.who != ANYBODY:
            caller = self._identity.caller(call.headers.get("x-auth-token"))
            if caller is None:
                uri = f'Keystone uri="{call.base_url}/identity/v3"'
                headers["WWW-Authenticate"] = uri
                return Response(401, headers, unauthorized_body()), 0
            request_id = headers["x-openstack-request-id"]
            call = dataclasses.replace(call, caller=caller, request_id=request_id)
        if route is None:
            return Response(404, headers, _HTML_404), 0
        try:
            call = dataclasses.replace(call, version=self._version_of(call))
            headers |= _version_headers(call.version)
            if route.who == ADMIN and not call.who.is_admin:
                rule = f"os_compute_api:{route.policy}"
                raise Refused(403, f"Policy doesn't allow {rule} to be performed.")
            answer = route.handler(call)
        except Refused as exc:
            return Response(exc.status, headers, fault_body(exc.status, exc.message)), 0
        headers |= answer.headers
        return Response(answer.status, headers, answer.body, delay_s=answer.delay_s), answer.rows

    # -- versions

    def _version_of(self, call: Call) -> Version:
        text = call.headers.get("x-openstack-nova-api-version")
        for part in call.headers.get("openstack-api-version", "").split(","):
            words = part.split()
            if len(words) == 2 and words[0] == "compute":
                text = words[1]
        least, most = self._settings.min_microversion, self._settings.max_microversion
        if text is None:
            return least
        if text == "latest":
            return most
        match = _MICROVERSION.fullmatch(text)
        if match is None:
            raise Refused(
                400,
                f"API Version String {text} is of invalid format. Must be of format "
                "MajorNum.MinorNum.",
            )
        version = int(match[1]), int(match[2])
        if not least <= version <= most:
            raise Refused(
                406,
                f"Version {text} is not supported by the API. Minimum is {_text(least)} and "
                f"maximum is {_text(most)}.",
            )
        return version

    def _compute_versions(self, call: Call) -> Answer:
        return Answer({"versions": [self._version_document(call)]})

    def _compute_version(self, call: Call) -> Answer:
        kind = "application/vnd.openstack.compute+json;version=2.1"
        shown = self._version_document(call)
        shown["media-types"] = [{"base": "application/json", "type": kind}]
        return Answer({"version": shown})

    def _version_document(self, call: Call) -> dict[str, Json]:
        return {
            "id": "v2.1",
            "status": "CURRENT",
            "version": _text(self._settings.max_microversion),
            "min_version": _text(self._settings.min_microversion),
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{call.base_url}/compute/v2.1/"}],
        }

    # -- request ids and dates

    def _date(self) -> str:
        ahead = datetime.timedelta(seconds=self._cloud.faults.clock_ahead_s)
        now = self._cloud.state.timeline.at(self._cloud.now)
        return email.utils.format_datetime(now + ahead, usegmt=True)

    def _new_request_id(self) -> str:
        self._requests += 1
        return f"req-{self._requests:08x}-0000-4000-8000-{self._cloud.seed & 0xFFFFFFFFFFFF:012x}"

    def _request_id(self) -> dict[str, str]:
        request_id = self._new_request_id()
        return {"x-openstack-request-id": request_id, "x-compute-request-id": request_id}


def _compile(routes: list[Route]) -> list[tuple[re.Pattern[str], Route]]:
    return [
        (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.template)), route)
        for route in routes
    ]


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def _version_headers(version: Version) -> dict[str, str]:
    return {
        "OpenStack-API-Version": f"compute {_text(version)}",
        "X-OpenStack-Nova-API-Version": _text(version),
        "Vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
    }
