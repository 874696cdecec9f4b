# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The exceptions of hacore, and what each one means to whoever catches it.

::

    HacoreError                  http 500
      ConfigError                a daemon refuses to start; one sentence for stderr
      Invalid                    400  the input is wrong
        InvalidMarker            400
      Forbidden                  403
      NotFound                   404
        SegmentNotFound  HostNotFound  NotificationNotFound  MoveNotFound
      Conflict                   409
        Duplicate  InUse  OnMaintenance
      Unavailable                503  a peer that the answer needs is away
        DatabaseUnavailable
      NovaError                  502 towards a client; a step fails with it
        TransientNovaError       Nova is away or busy and did nothing: call again
        NovaOutcomeUnknown       the call broke off: read Nova before calling again
        NovaNotFound  NovaConflict  NovaForbidden  NovaBadRequest
      RecoveryError
        RecoveryFailed           status error, retried
        RecoverySkipped          status finished: nothing had to be done
        RecoveryIgnored          status ignored: nothing may be done
      Interrupted                the engine stops: leave the claim for the next one
        LeaseLost                another engine owns the claim: write nothing more

They are translated twice: in hacore.nova (the client's into ours) and in
hacore.api.faults (ours into a fault body).
"""

from typing import Any, ClassVar


class HacoreError(Exception):
    """Something went wrong inside hacore."""

    http_status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, **facts: Any) -> None:
        """Take `message`, or else the first line of the docstring; `facts` become attributes."""
        super().__init__(message or (self.__doc__ or type(self).__name__).splitlines()[0])
        self.facts = facts
        self.__dict__.update(facts)


class ConfigError(HacoreError):
    """The configuration is wrong."""


class Invalid(HacoreError):
    """The request is wrong."""

    http_status = 400


class InvalidMarker(Invalid):
    """The marker is the id or uuid of no row of this list."""


class Forbidden(HacoreError):
    """The policy does not allow this."""

    http_status = 403


class NotFound(HacoreError):
    """There is no such thing."""

    http_status = 404


class SegmentNotFound(NotFound):
    """There is no such segment."""


class HostNotFound(NotFound):
    """There is no such host."""


class NotificationNotFound(NotFound):
    """There is no such notification."""


class MoveNotFound(NotFound):
    """There is no such VM move."""


class Conflict(HacoreError):
    """The request conflicts with what is there."""

    http_status = 409


class Duplicate(Conflict):
    """There is one already."""


class InUse(Conflict):
    """A recovery needs it."""


class OnMaintenance(Conflict):
    """The host is on maintenance."""


class Unavailable(HacoreError):
    """A service that hacore needs for this answer is unavailable."""

    http_status = 503


class DatabaseUnavailable(Unavailable):
    """The database is unavailable."""


class NovaError(HacoreError):
    """Nova refused."""

    http_status = 503


class TransientNovaError(NovaError):
    """Nova or Keystone is away or busy, and did nothing."""


class NovaOutcomeUnknown(NovaError):
    """The call to Nova broke off: it may have been carried out or not."""


class NovaNotFound(NovaError):
    """Nova does not know it."""


class NovaConflict(NovaError):
    """Nova cannot do that in the present state."""


class NovaForbidden(NovaError):
    """Nova does not allow that to hacore's user."""


class NovaBadRequest(NovaError):
    """Nova says that the request is wrong."""


class RecoveryError(HacoreError):
    """A recovery ends early."""


class RecoveryFailed(RecoveryError):
    """A step failed; the recovery is tried again later."""


class RecoverySkipped(RecoveryError):
    """Nothing has to be done."""


class RecoveryIgnored(RecoveryError):
    """Nothing may be done."""


class Interrupted(HacoreError):
    """The engine stops; the recovery goes on where the claim is taken next."""


class LeaseLost(Interrupted):
    """Another engine owns this recovery now."""
