# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The exceptions of hacore, and what each one means to whoever catches it.

::

    HacoreError                  http 500
      ConfigError                a daemon refuses to start; one sentence for stderr
      Invalid                    400  the request is invalid
        InvalidMarker            400
      Forbidden                  403
      NotFound                   404
        SegmentNotFound  HostNotFound  NotificationNotFound  MoveNotFound  OperationNotFound
      Conflict                   409
        Duplicate  InUse  OnMaintenance
      Unavailable                503  a service that the answer needs is unavailable
        DatabaseUnavailable
      NovaError                  503 for a client; a task fails with it
        TransientNovaError       Nova is unavailable and did nothing: call again
        NovaOutcomeUnknown       there was no answer: read Nova before calling again
        NovaNotFound  NovaConflict  NovaForbidden  NovaBadRequest
      RecoveryError
        RecoveryFailed           status error, retried
          HostHeard              the same; in the end ignored
        RecoveryHeld             status error, and waits (in hacore.engine.gates)
        RecoverySkipped          status finished: nothing had to be done
        RecoveryIgnored          status ignored: nothing may be done
      OperationWaits             the operation gives its claim back, and goes on later
      Interrupted                the engine is stopping: leave the claim to the next one
        LeaseLost                another engine holds the claim: write nothing more

They are translated twice: in hacore.nova.translation (the libraries' into these) and in
hacore.api.faults (these into a fault body).  The first line of a docstring is the default
message, and what the API answers with a 503: it has no remedy, which is the API's to add.
"""

from typing import ClassVar


class HacoreError(Exception):
    """An internal error of hacore."""

    http_status: ClassVar[int] = 500

    def __init__(self, message: str | None = None) -> None:
        """Take `message`, or else the first line of the docstring."""
        super().__init__(message or (self.__doc__ or type(self).__name__).splitlines()[0])


class ConfigError(HacoreError):
    """The configuration is invalid."""


class Invalid(HacoreError):
    """The request is invalid."""

    http_status = 400


class InvalidMarker(Invalid):
    """The marker does not match any row of this list."""


class Forbidden(HacoreError):
    """The policy does not allow this."""

    http_status = 403


class NotFound(HacoreError):
    """The resource was not found."""

    http_status = 404


class SegmentNotFound(NotFound):
    """The segment was not found."""


class HostNotFound(NotFound):
    """The host was not found."""


class NotificationNotFound(NotFound):
    """The notification was not found."""


class MoveNotFound(NotFound):
    """The VM move was not found."""


class OperationNotFound(NotFound):
    """The operation was not found."""


class Conflict(HacoreError):
    """The request conflicts with the current state of the resource."""

    http_status = 409


class Duplicate(Conflict):
    """The resource already exists."""


class InUse(Conflict):
    """The resource is in use by a recovery."""


class OnMaintenance(Conflict):
    """The host is on maintenance."""


class Unavailable(HacoreError):
    """A service that hacore needs for this answer is unavailable."""

    http_status = 503


class DatabaseUnavailable(Unavailable):
    """The database is unavailable."""


class DatabaseBusy(DatabaseUnavailable):
    """Another transaction holds a lock; nothing was written."""


class NovaError(HacoreError):
    """Nova refused the request."""

    http_status = 503


class TransientNovaError(NovaError):
    """Nova or Keystone is unavailable."""


class NovaOutcomeUnknown(NovaError):
    """Nova did not answer; the request may have been carried out."""


class NovaNotFound(NovaError):
    """Nova did not find the resource."""


class NovaConflict(NovaError):
    """Nova refused the request: the state of the resource does not allow it."""


class NovaForbidden(NovaError):
    """Nova refused the request: hacore's user is not allowed to do this."""


class NovaBadRequest(NovaError):
    """Nova refused the request: it is invalid."""


class RecoveryError(HacoreError):
    """The recovery ends early."""


class RecoveryFailed(RecoveryError):
    """A task failed; the recovery is retried."""


class HostHeard(RecoveryFailed):
    """Nova hears the host that was reported: if that stays so, nothing may be done."""


class RecoverySkipped(RecoveryError):
    """Nothing has to be done."""


class RecoveryIgnored(RecoveryError):
    """Nothing may be done."""


class OperationWaits(HacoreError):
    """The operation cannot go on yet, and is looked at again later.

    :param retry_after_s: seconds until then.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Interrupted(HacoreError):
    """The engine is stopping; the recovery continues once it is claimed again."""


class LeaseLost(Interrupted):
    """Another engine has claimed this recovery."""


def first_line(exc: BaseException) -> str:
    """Return the first line of an exception's text, or its class where it has none."""
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
