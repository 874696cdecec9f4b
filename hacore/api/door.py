# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The door: what every request passes first, and which paths need no token.

The guard decides by the path whether a request needs a token, the router which handler
answers it, and the two must never read one path differently.  So a path is served in
one spelling only, the public paths are a short list of those spellings, and the router
refuses every request that has not passed the guard.
"""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from keystonemiddleware import auth_token
from oslo_config import cfg

from hacore.api import context, faults
from hacore.api.routes import PUBLIC, ROOT

#: The only paths that end in a slash.
_SLASH_AT_THE_END = (ROOT, "/v1/")

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_ESCAPE = re.compile(r"%(?P<hex>[0-9A-Fa-f]{2})?")

#: What must not come as %XX: unreserved characters, which need none, and those that
#: would be another path, or the beginning of another escape, once they are decoded.
_NEVER_ESCAPED = re.compile(r"[A-Za-z0-9._~/;%\\\x00-\x1f\x7f-]")

#: Never part of a path, as it is sent or as it is decoded.
_NEVER = re.compile(r"[;\\\x00-\x1f\x7f]")

#: Headers by which keystonemiddleware (and NoAuth) say who calls, as servers put
#: them into the environment.  X-Service-Token is the client's own to send.
_IDENTITY = re.compile(
    r"HTTP_(X_(ROLES?|USER(_.*)?|PROJECT(_.*)?|TENANT(_.*)?|DOMAIN(_.*)?|TRUST(_.*)?"
    r"|IDENTITY_STATUS|IS_ADMIN(_.*)?|SYSTEM_SCOPE|SERVICE(?!_TOKEN$)(_.*)?)"
    r"|OPENSTACK_SYSTEM_SCOPE)",
    re.DOTALL,
)


class Door:
    """Answers 404 to a path that is not in its normal form; removes identity headers.

    A server decodes PATH_INFO, so the target of the request is checked, too,
    where the server passes it on.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for key in [key for key in environ if is_identity(key)]:
            del environ[key]
        path = environ["PATH_INFO"] = environ.get("PATH_INFO") or "/"  # as falcon takes it
        if not is_normal(path, [environ.get("REQUEST_URI"), environ.get("RAW_URI")]):
            message = f"Nothing found at {path[:200]}; a path must be in its normal form."
            return faults.answer(start_response, environ, 404, message)
        return self._app(environ, start_response)


class Guard:
    """Requires a token for everything that is not public."""

    def __init__(self, app: WSGIApplication, conf: cfg.ConfigOpts) -> None:
        self._open = app

        def admitted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            context.admit(environ)
            return app(environ, start_response)

        if conf.auth_strategy == "noauth2":
            self._guarded: WSGIApplication = context.NoAuth(admitted)
        else:
            self._guarded = auth_token.AuthProtocol(
                admitted, {"oslo_config_config": conf, "delay_auth_decision": False}
            )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        public = environ["PATH_INFO"] in PUBLIC
        return (self._open if public else self._guarded)(environ, start_response)


def is_identity(key: str) -> bool:
    """Return whether a key of the environment says who calls; only the guard may set it."""
    return _IDENTITY.fullmatch(key.upper().replace("-", "_")) is not None


def is_normal(path: str, targets: Iterable[str | None] = ()) -> bool:
    """Return whether a path is in its normal form.

    :param path: PATH_INFO.
    :param targets: the target of the request as it was sent, where the server passes it on.
    """
    if not _is_plain(path) or (path.endswith("/") and path not in _SLASH_AT_THE_END):
        return False
    return all(_is_normal_target(target, path) for target in targets if target is not None)


def _is_normal_target(target: str, path: str) -> bool:
    """Check the path of a target, to which a proxy may have added a prefix."""
    if not target:
        return False  # "GET  /v1 HTTP/1.1", of which uwsgi makes an empty path
    absolute = _ABSOLUTE.match(target)
    sent = (target[absolute.end() :] if absolute else target).partition("?")[0] or "/"
    if "#" in sent or not _is_plain(sent):
        return False
    if sent != "/" and sent.endswith("/") and not path.endswith("/"):
        return False
    for escape in _ESCAPE.finditer(sent):
        digits = escape["hex"]
        if digits is None or _NEVER_ESCAPED.match(chr(int(digits, 16))):
            return False
    return True


def _is_plain(path: str) -> bool:
    """Whether `path` begins with a slash and has no empty or dot segment, and no odd character."""
    if not path.startswith("/") or _NEVER.search(path):
        return False
    segments = path.removesuffix("/").split("/")[1:]
    return not any(segment in ("", ".", "..") for segment in segments)
