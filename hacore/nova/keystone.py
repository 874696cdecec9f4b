# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Keystone's answers are checked, too: what is no token is Keystone being unavailable."""

import contextvars
from collections.abc import Callable
from typing import Any

from keystoneauth1 import access, identity

#: Whether a token is being fetched, of each thread (and green thread) its own.
LOGGING_IN: contextvars.ContextVar[bool] = contextvars.ContextVar("logging_in", default=False)

#: What keystoneauth raises over an answer that is none of Keystone's.
_STUMBLES = (AttributeError, LookupError, TypeError, ValueError, RecursionError)


class KeystoneUnavailable(Exception):
    """Something else answers in Keystone's place; Nova has seen nothing."""


def check_answers(auth: Any) -> None:
    """Let a plugin of keystoneauth take for a token only what is one."""
    if isinstance(auth, identity.BaseIdentityPlugin):
        auth.get_auth_ref = _checked(auth.get_auth_ref)  # type: ignore[method-assign]


def _checked(fetch: Callable[..., access.AccessInfo]) -> Callable[..., access.AccessInfo]:
    def get_auth_ref(session: Any, **options: Any) -> access.AccessInfo:
        logging_in = LOGGING_IN.set(True)
        try:
            token = fetch(session, **options)
            if not isinstance(token.auth_token, str):
                raise ValueError("no X-Subject-Token")
            token.will_expire_soon()
            _ = token.issued
            if token.has_service_catalog():
                token.service_catalog.get_endpoints_data()
        except _STUMBLES as exc:
            raise KeystoneUnavailable(
                f"unexpected answer from Keystone: {type(exc).__name__}: {exc}"
            ) from exc
        finally:
            LOGGING_IN.reset(logging_in)
        return token

    return get_auth_ref
