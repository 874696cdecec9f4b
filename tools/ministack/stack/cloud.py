# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A small client of the cloud, with the standard library only."""

import json
import urllib.error
import urllib.request

from stack.base import PW, url


class Http(Exception):
    def __init__(self, status, body):
        super().__init__(f"HTTP {status} {body[:300]}")
        self.status = status
        self.body = body


def call(method, u, body=None, headers=None, raw=None, timeout=120):
    h = {"Accept": "application/json"}
    data = raw
    if body is not None:
        data = json.dumps(body).encode()
        h["Content-Type"] = "application/json"
    h.update(headers or {})
    r = urllib.request.Request(u, data=data, method=method, headers=h)
    try:
        with urllib.request.urlopen(r, timeout=timeout) as resp:
            text = resp.read().decode()
            return resp.headers, (json.loads(text) if text else None)
    except urllib.error.HTTPError as e:
        raise Http(e.code, e.read().decode(errors="replace")) from e


class Cloud:
    """A small admin client of the cloud (standard library only)."""

    def __init__(self, user="admin", project="admin"):
        headers, body = call(
            "POST",
            url("keystone", "/v3/auth/tokens"),
            {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {
                            "user": {"name": user, "domain": {"id": "default"}, "password": PW}
                        },
                    },
                    "scope": {"project": {"name": project, "domain": {"id": "default"}}},
                }
            },
        )
        self.token = headers["X-Subject-Token"]
        self.project_id = body["token"]["project"]["id"]

    def __call__(self, method, service, path, body=None, raw=None, mv="2.100", headers=None):
        h = {"X-Auth-Token": self.token}
        if service == "nova-api":
            h["OpenStack-API-Version"] = "compute " + mv
            path = "/v2.1" + path
        h.update(headers or {})
        return call(method, url(service, path), body, h, raw)[1]

    def services(self):
        return self("GET", "nova-api", "/os-services?binary=nova-compute")["services"]

    def servers(self, query=""):
        res, marker = [], ""
        while True:  # nova gives at most 1000 a page
            page = self("GET", "nova-api", "/servers/detail?all_tenants=1" + query + marker)[
                "servers"
            ]
            res += page
            if len(page) < 1000:
                return res
            marker = "&marker=" + page[-1]["id"]
