# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who calls, and whether the guard admitted the request."""

from collections.abc import Iterable, MutableMapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_context import context

_MARK = "hacore.guard"
#: An object, as servers fill the environment with text: no client can send it.
_ADMITTED = object()
_LONGEST_NAME = 255  # of the columns that hold it


class Context(context.RequestContext):
    """The caller; `is_admin` is decided by the rule ``context_is_admin``."""

    def to_policy_values(self) -> MutableMapping[str, Any]:
        values = dict(super().to_policy_values())
        values["is_admin"] = self.is_admin
        return values


def who(caller: Context) -> str:
    """Return the name of the caller as it is recorded beside what they did.

    With the domain unless that is Keystone's default one: names are unique within a domain.
    """
    name = caller.user_name or caller.user_id or "unknown"
    if caller.user_name and caller.user_domain_name and caller.user_domain_id != "default":
        name = f"{name}@{caller.user_domain_name}"
    printable = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(printable.split())[:_LONGEST_NAME] or "unknown"


def admit(environ: WSGIEnvironment) -> None:
    """Record that a request has passed the guard; see hacore.api.door."""
    environ[_MARK] = _ADMITTED


def is_admitted(environ: WSGIEnvironment) -> bool:
    """Return whether this request has passed the guard."""
    return environ.get(_MARK) is _ADMITTED


class NoAuth:
    """``auth_strategy = noauth2``: everybody is an administrator.

    A token ``USER:PROJECT`` names the user and the project of the caller.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        user, _, project = environ.get("HTTP_X_AUTH_TOKEN", "").partition(":")
        environ["HTTP_X_USER_ID"] = user or "admin"
        environ["HTTP_X_PROJECT_ID"] = project or "admin"
        environ["HTTP_X_ROLES"] = "admin,member,reader"
        environ["HTTP_X_IDENTITY_STATUS"] = "Confirmed"
        return self._app(environ, start_response)
