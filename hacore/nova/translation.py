# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From the exceptions of novaclient and keystoneauth to those of `hacore.errors`."""

from keystoneauth1 import exceptions as ks_exc
from novaclient import exceptions as nova_exc
from urllib3 import exceptions as urllib3_exc

from hacore import errors
from hacore.nova.keystone import KeystoneUnavailable
from hacore.nova.responses import UnexpectedResponse


class UnusableTlsFiles(Exception):
    """A file with certificates or a key cannot be read; nothing was sent."""


#: All that `translated` takes.
CLIENT_ERRORS = (
    nova_exc.ClientException,
    ks_exc.ClientException,
    UnexpectedResponse,
    UnusableTlsFiles,
    KeystoneUnavailable,
)

_BUSY = frozenset({429})
_UNAVAILABLE = frozenset({500, 502, 503, 504})

_BY_STATUS = {
    400: errors.NovaBadRequest,
    403: errors.NovaForbidden,
    404: errors.NovaNotFound,
    409: errors.NovaConflict,
}


def translated(exc: Exception, what: str) -> errors.NovaError:
    """Return the error of ours that a client's exception is.

    :param what: what was to be done, after "Failed to".
    """
    if isinstance(exc, ks_exc.ConnectFailure | ks_exc.ConnectTimeout | ks_exc.ConnectionError):
        if isinstance(exc, ks_exc.SSLError):
            what = f"{what} (check [nova] cafile, certfile and keyfile)"
        if _was_sent(exc):
            return errors.NovaOutcomeUnknown(f"Failed to {what}: no answer ({exc})")
        return errors.TransientNovaError(f"Failed to {what}: {exc}")
    text = f"Failed to {what}: {errors.first_line(exc)}"
    if isinstance(exc, UnexpectedResponse):
        # whoever answered may have passed it on: unavailable, and not known what became of it
        return errors.NovaOutcomeUnknown(text)
    if isinstance(exc, UnusableTlsFiles | KeystoneUnavailable):
        return errors.TransientNovaError(text)
    if isinstance(exc, nova_exc.ClientException):
        return _of_nova(exc.code, text)
    return _of_keystone(exc, text)


def _of_nova(code: int, text: str) -> errors.NovaError:
    if code == 401:  # a new token was sent by then: it has expired on its way, or Nova is at fault
        return errors.TransientNovaError(f"{text}; Nova refuses the token that Keystone has issued")
    if code in _BUSY:
        return errors.TransientNovaError(text)
    if code in _UNAVAILABLE:
        return errors.NovaOutcomeUnknown(text)
    return _BY_STATUS.get(code, errors.NovaError)(text)


def _of_keystone(exc: Exception, text: str) -> errors.NovaError:
    """Translate what keystoneauth raises itself: Keystone was asked, Nova has seen nothing."""
    status = getattr(exc, "http_status", None)
    if isinstance(exc, ks_exc.InvalidResponse):  # a page of a proxy
        return errors.TransientNovaError(text)
    # DiscoveryFailure: nothing, or nothing of Keystone's, answers at auth_url
    if status in _UNAVAILABLE or status in _BUSY or isinstance(exc, ks_exc.DiscoveryFailure):
        return errors.TransientNovaError(text)
    if isinstance(exc, ks_exc.HttpError) and not _refused_by_keystone(exc):
        return errors.TransientNovaError(f"{text} (not an answer of Keystone's)")
    if isinstance(exc, ks_exc.Unauthorized):
        return errors.NovaForbidden(f"{text}; check the login in [nova]")
    if isinstance(exc, ks_exc.EndpointNotFound):
        return errors.NovaError(
            f"{text}; check [nova] region_name and valid_interfaces against the service catalog"
        )
    return errors.NovaError(text)


def _refused_by_keystone(exc: ks_exc.HttpError) -> bool:
    """Whether it is in this form: ``{"error": {"code": 401, "message": ...}}``."""
    if exc.response is None:
        return False
    try:
        fault = exc.response.json()["error"]
        return bool(fault["code"] == exc.http_status and "message" in fault)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return False


def _was_sent(exc: BaseException | None) -> bool:
    """Whether the request may have left: False only where no connection was established."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        reasons = [exc, *exc.args, getattr(exc, "reason", None)]
        reasons += [getattr(argument, "reason", None) for argument in exc.args]
        if any(
            isinstance(reason, urllib3_exc.NewConnectionError | urllib3_exc.ConnectTimeoutError)
            for reason in reasons
        ):
            return False
        exc = exc.__cause__ or exc.__context__
    return True
