# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Does Nova hear this host?  The one answer to it, from the list of compute services.

A nova-compute writes ``updated_at`` every report_interval, with the clock of a conductor and cut
to seconds.  So its value is compared with nothing: what counts is that it *moved* between two
looks, and when that look was, by the monotonic clock of this process.

suspect  not moved for 1.6 report intervals, of these 1.25 without a PUT of somebody, which moves
         it as well and may hide a heartbeat
silent   not moved for 3.2, of these 1.6 without a PUT; ends only when the host is *heard* again:
         two moves at least half an interval apart, for one may be an old heartbeat that a broker
         has kept
ill      none of two or more hosts moved, or the list failed: that is Nova, and no host becomes
         silent from here on, nor soon after; nor is one that became so just before
"""

import collections
import dataclasses
import enum
import math
import statistics
from collections.abc import Iterable

from hacore.nova.types import Beat
from hacore.states import SILENT_AFTER, SUSPECT_AFTER, Hearing

#: In report intervals: who lives moves within it, and Nova is ill when nobody does.
_ILL = _STILL = 1.25
#: Seconds for which the list fails at least until that is an illness: one that fails at times, or
#: an API that is restarted, keeps no heartbeat from the database.
_LIST_FAILS_S = 10.0
#: Seconds after an illness of Nova in which hosts come back one after the other: until one has
#: connected to RabbitMQ again (up to 30), and until a call is given up whose answer was lost
#: ([DEFAULT] rpc_response_timeout of nova: 60).  Measured: two of four came 51 s after the first.
_RECOVERING_S = 90.0
#: Nova's own default, until it is known better; and less than a whole second Nova cannot show.
_DEFAULT_INTERVAL_S, _LEAST_INTERVAL_S = 10.0, 1.0
#: While somebody waits for an answer.
_HURRY_S = 2.0
#: How many steps of a host are enough to learn from, and after how many the older count for less.
_LEAST_STEPS, _MOST_STEPS = 2, 20
#: How many moves of a host are remembered: of more than two within half an interval, all but one
#: are old heartbeats that a broker has kept.
_MOVES = 8
_COMPUTE = "nova-compute"


class Culprit(enum.StrEnum):
    """What is ill, as far as that shows."""

    BUS = "the message bus: conductors are heard, and no compute service is"
    CONDUCTORS = "the conductors: schedulers are heard, conductors and compute services are not"
    LIST = "Nova's API or its database: the list of compute services cannot be read"
    LOGIN = "the login of hacore is refused; check it in [nova]"
    UNKNOWN = "Nova: none of its services is heard"


@dataclasses.dataclass(frozen=True, slots=True)
class Illness:
    """That Nova itself is ill.

    :ivar age_s: for how long.
    """

    culprit: Culprit
    age_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Pulse:
    """What is known of the heartbeat of a host.

    :ivar age_s: since the look that last saw it move, or from when its age counts; None: it has not
        been watched for long enough.
    :ivar since_s: for how long it has been silent; None: it is not.
    :ivar down: Nova shows it as down, or it is forced down.
    :ivar beat: its ``updated_at`` as Nova shows it.
    :ivar moved_unseen: it has moved while nobody looked or its cell did not answer, and whether
        that was a heartbeat was not seen since: by two more, or by its silence.
    """

    host: str
    zone: str
    down: bool
    hearing: Hearing
    age_s: float | None
    since_s: float | None
    beat: str | None
    moved_unseen: bool


@dataclasses.dataclass(slots=True)
class _Track:
    """What has been seen of one service; times by the monotonic clock."""

    row: Beat
    seen_at: float  #: from when its age counts
    moved: bool = False  #: seen to move since its age counts
    unseen_at: float | None = None  #: the look that saw it moved while nobody looked, or could
    shown: str | None = None  #: the last ``updated_at`` before its cell did not answer
    step_from: float | None = None  #: the move that the next step is measured from
    step_s: float | None = None  #: the last one
    steps: int = 0  #: from one move to the next, and the seconds of all of them
    steps_s: float = 0.0
    still_from: float = 0.0  #: the look since which nothing, not even a PUT, has moved it
    still_s: float = 0.0  #: the longest such time since its age counts
    silent_at: float | None = None
    returning_at: float | None = None  #: the first move of a silent host
    moves: collections.deque[float] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=_MOVES)
    )  #: the last looks that saw it move

    def begin_again(self, now: float) -> None:
        """Let its age count from now on; that is not to say that it is heard."""
        self.seen_at, self.moved = now, False
        self.still_from, self.still_s = now, 0.0

    def heard_since(self, moment: float, interval_s: float) -> bool:
        """Return whether it was: two moves at least half an interval apart."""
        moves = [at for at in self.moves if at > moment]
        return len(moves) > 1 and moves[-1] - moves[0] >= interval_s / 2

    def step(self, now: float) -> None:
        """Count the step to a move; one far above that before it only if the next is as long."""
        if self.step_from is not None:
            before, self.step_s = self.step_s, now - self.step_from
            if before is None or self.step_s <= SILENT_AFTER * before:  # else an outage is in it
                self.steps += 1
                self.steps_s += self.step_s
                if self.steps == _MOST_STEPS:
                    self.steps, self.steps_s = self.steps // 2, self.steps_s / 2
        self.step_from = now


class Heartbeats:
    """What the looks of one process have seen; times are seconds of its monotonic clock.

    Not safe for threads: `hacore.engine.watch.Watch` has the lock.

    :param interval_s: Nova's report interval, if it is configured.
    :param learned_s: what was learned of it before, by another process.
    """

    def __init__(self, interval_s: float | None = None, learned_s: float | None = None) -> None:
        self._configured_s = interval_s
        self._learned_s = learned_s
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._doubled: frozenset[str] = frozenset()
        self._begun_at: float | None = None
        self._looked_at: float | None = None  #: the last look that succeeded
        self._gap_s = 0.0  #: between the last two of them
        self._failed_at = -math.inf  #: the last look that failed
        self._ill_since: float | None = None
        self._culprit = Culprit.UNKNOWN
        self._none_before = -math.inf  #: nobody becomes silent before

    # ------------------------------------------------------------- asking

    @property
    def interval_s(self) -> float:
        """Nova's report interval: configured, learned, or its default."""
        return self._configured_s or self._learned_s or _DEFAULT_INTERVAL_S

    @property
    def learned_s(self) -> float | None:
        """What the looks have shown of it."""
        return self._learned_s

    @property
    def looked_at(self) -> float | None:
        """When the last look that succeeded was."""
        return self._looked_at

    def pause_s(self, *, waited_for: bool) -> float:
        """Seconds until the next look.

        :param waited_for: somebody waits for what it shows.
        """
        usual = self.interval_s / 2
        return min(usual, _HURRY_S) if waited_for else usual

    def known(self, now: float) -> bool:
        """Whether it has been watched long enough to say which host is silent."""
        if self._begun_at is None or not (self._configured_s or self._learned_s):
            return False
        return now - self._begun_at >= SILENT_AFTER * self.interval_s

    def fresh(self, now: float) -> bool:
        """Whether what is known is at most two looks old, however long Nova takes for one."""
        if self._looked_at is None:
            return False
        return now - self._looked_at <= max(self.interval_s, 2 * self._gap_s)

    def illness(self, now: float) -> Illness | None:
        """Return what ails Nova, or None."""
        if self._ill_since is None:
            return None
        return Illness(self._culprit, now - self._ill_since)

    def settling_s(self, now: float) -> float:
        """For how many seconds no host can become silent, because Nova has just been ill."""
        return max(0.0, self._none_before - now)

    def pulse(self, host: str, now: float) -> Pulse | None:
        """Return what is known of a host; None: Nova lists no nova-compute of it."""
        track = self._tracks.get((_COMPUTE, host))
        return None if track is None else self._pulse(track, now)

    def has_watched_since(self, moment: float) -> bool:
        """Return whether it was watched then already."""
        return self._begun_at is not None and self._begun_at <= moment

    def heard_since(self, host: str, moment: float) -> bool:
        """Return whether Nova has heard a host since."""
        track = self._tracks.get((_COMPUTE, host))
        return track is not None and track.heard_since(moment, self.interval_s)

    def pulses(self, now: float) -> list[Pulse]:
        """Return what is known of all hosts, by name."""
        pulses = (self._pulse(track, now) for track in self._computes())
        return sorted(pulses, key=lambda pulse: pulse.host)

    def any_suspect(self, now: float) -> bool:
        """Return whether one of the hosts is suspect."""
        return any(self._hearing(track, now) is Hearing.SUSPECT for track in self._computes())

    def _computes(self) -> list[_Track]:
        return [track for (binary, _), track in self._tracks.items() if binary == _COMPUTE]

    def _pulse(self, track: _Track, now: float) -> Pulse:
        row = track.row
        since_s = None if track.silent_at is None else now - track.silent_at
        age_s = now - track.seen_at if track.moved or self.known(now) else None
        down = row.known and (row.forced_down or not row.up)
        hearing = self._hearing(track, now)
        return Pulse(
            row.host,
            row.zone,
            down,
            hearing,
            age_s,
            since_s,
            row.updated_at,
            track.unseen_at is not None,
        )

    def _hearing(self, track: _Track, now: float) -> Hearing:
        if not track.row.known or track.row.host in self._doubled:
            return Hearing.UNKNOWN
        if track.silent_at is not None:
            return Hearing.SILENT
        # at the last look: nothing is known of what came since
        age_s = (now if self._looked_at is None else self._looked_at) - track.seen_at
        is_still = track.still_s >= _STILL * self.interval_s
        if is_still and age_s > SUSPECT_AFTER * self.interval_s:
            return Hearing.SUSPECT if self.known(now) else Hearing.UNKNOWN
        return Hearing.HEARD if track.moved else Hearing.UNKNOWN

    # ------------------------------------------------------------ looking

    def failed(self, now: float, *, refused: bool = False) -> None:
        """Record that the list could not be read.

        :param refused: since the login was refused.
        """
        since = self._looked_at if self._looked_at is not None else self._begun_at
        self._begun_at = now if self._begun_at is None else self._begun_at
        if since is not None and now - since > max(_ILL * self.interval_s, _LIST_FAILS_S):
            self._fall_ill(now)
        if self._ill_since is not None:
            self._culprit = Culprit.LOGIN if refused else Culprit.LIST
            self._failed_at = now
        for track in self._tracks.values():
            track.step_from = None  # a step that holds a failed look is none

    def look(self, rows: Iterable[Beat], now: float) -> None:
        """Record what Nova lists at `now`."""
        if self._begun_at is None:
            self._begun_at = now
        rows = list(rows)
        if self._looked_at is None and sum(map(_is_down, rows)) > 1:
            self._none_before = now + SILENT_AFTER * self.interval_s + _RECOVERING_S
        gap_s = 0.0 if self._looked_at is None else now - self._looked_at
        # nobody looked for a while: this process was frozen, or the list could not be read
        gap = gap_s > self._ill_s
        self._gap_s = 0.0 if gap else gap_s
        listed: dict[tuple[str, str], list[Beat]] = collections.defaultdict(list)
        for row in rows:
            listed[row.binary, row.host].append(row)
        self._doubled = frozenset(host for (_, host), same in listed.items() if len(same) > 1)
        for key in self._tracks.keys() - listed.keys():
            del self._tracks[key]
        unseen = self._forget_silence(listed) if gap else []
        moved = [key for key, same in listed.items() if self._record(key, same[0], now)]
        if gap:  # when they moved is not known
            for track in self._tracks.values():
                if track.silent_at is None:
                    track.begin_again(now)
            for track in unseen:
                track.unseen_at = now
        self._looked_at = now
        self._learn()
        self._judge(any(binary == _COMPUTE for binary, _ in moved), now)

    def _forget_silence(self, listed: dict[tuple[str, str], list[Beat]]) -> list[_Track]:
        """Take nobody for silent who has moved unseen; return them.

        Whether that was one heartbeat or many is not known.
        """
        unseen = []
        for key, track in self._tracks.items():
            track.step_from = None
            if listed[key][0].updated_at != track.row.updated_at:
                track.silent_at = track.returning_at = None
                unseen.append(track)
        return unseen

    def _record(self, key: tuple[str, str], row: Beat, now: float) -> bool:
        """Compare a row with what was seen before; return whether its host is heard in it."""
        track = self._tracks.get(key)
        if track is None:
            self._tracks[key] = _Track(row, now, still_from=now)
            return False
        before, track.row = track.row, row
        if before.known:
            track.shown = before.updated_at
        if not row.known or not before.known:
            track.begin_again(now)  # its cell does not answer: no age counts
            track.step_from = None
            if row.known and row.updated_at != track.shown:
                track.silent_at = track.returning_at = None
                track.unseen_at = now
            return False
        if row.updated_at == before.updated_at:
            track.still_s = max(track.still_s, now - track.still_from)
            return False
        track.still_from = now
        if row.written != before.written:
            track.step_from = None  # somebody's PUT has moved it
            return False
        track.still_s = 0.0
        track.step(now)
        track.moves.append(now)
        track.moved = True
        if track.unseen_at is not None and track.heard_since(track.unseen_at, self.interval_s):
            track.unseen_at = None
        if track.silent_at is None:
            track.seen_at = now
        else:
            self._return(track, now)
        return True

    def _return(self, track: _Track, now: float) -> None:
        """Count a move of a silent host: with a second one it is heard."""
        first = track.returning_at
        if first is None or now - first > SILENT_AFTER * self.interval_s:
            track.returning_at = now
        elif now - first >= self.interval_s / 2:
            track.silent_at = track.returning_at = None
            track.seen_at = now

    def _learn(self) -> None:
        """Take what half of the hosts or more show for the report interval.

        The mean step of each: one is seen in whole looks, so one alone may be far off.
        """
        hosts = self._computes()
        shown = [track.steps_s / track.steps for track in hosts if track.steps >= _LEAST_STEPS]
        if len(shown) < max(1, sum(track.row.up for track in hosts) // 2):
            return
        before = self._learned_s
        self._learned_s = max(_LEAST_INTERVAL_S, statistics.median(shown))
        if before is None or abs(self._learned_s - before) > 0.2 * before:
            for track in hosts:  # looks of that pace may have missed heartbeats
                track.steps, track.steps_s = 0, 0.0

    def _judge(self, moved: bool, now: float) -> None:
        """Decide who is silent, and whether Nova is ill."""
        known = [track for track in self._computes() if track.row.known]
        counted = [track for track in known if not track.row.forced_down]
        if moved and self._ill_since is not None:
            self._get_well(counted, now)
        learned = self._configured_s or self._learned_s
        if learned and len(counted) > 1 and self._ill_since is None and not moved:
            newest = max(self._last_move(track) for track in counted)
            if now - newest > self._ill_s:
                self._fall_ill(now)
        if self._ill_since is not None:
            # after an outage of the database conductors are heard first: that says nothing yet
            if (
                self._culprit not in (Culprit.LIST, Culprit.LOGIN)
                or now - self._failed_at > self._ill_s
            ):
                self._culprit = self._find_culprit(now)
        elif self.known(now) and now >= self._none_before:
            silent_s = SILENT_AFTER * self.interval_s
            for track in known:
                if (
                    track.silent_at is None
                    and now - track.seen_at >= silent_s
                    and track.still_s >= SUSPECT_AFTER * self.interval_s
                ):
                    track.silent_at, track.returning_at = now, None
                    track.unseen_at = None

    def _last_move(self, track: _Track) -> float:
        return max(track.seen_at, track.step_from or -math.inf, track.returning_at or -math.inf)

    @property
    def _ill_s(self) -> float:
        """Seconds without any move after which Nova is ill."""
        return _ILL * self.interval_s + self.pause_s(waited_for=False)

    def _fall_ill(self, now: float) -> None:
        if self._ill_since is not None:
            return
        self._ill_since = now
        # what fails for all may have failed for one of them a little earlier
        silent_s = SILENT_AFTER * self.interval_s
        for track in self._tracks.values():
            if track.silent_at is not None and now - track.silent_at < silent_s:
                track.silent_at = track.returning_at = None

    def _get_well(self, counted: list[_Track], now: float) -> None:
        self._ill_since = None
        self._none_before = now + SILENT_AFTER * self.interval_s + _RECOVERING_S
        for track in counted:
            if track.silent_at is None and track.seen_at < now:
                track.begin_again(now)

    def _find_culprit(self, now: float) -> Culprit:
        def heard(wanted: str) -> bool:
            return any(
                binary == wanted and track.moved and now - self._last_move(track) <= self._ill_s
                for (binary, _), track in self._tracks.items()
            )

        if heard("nova-conductor"):
            return Culprit.BUS
        return Culprit.CONDUCTORS if heard("nova-scheduler") else Culprit.UNKNOWN


def _is_down(row: Beat) -> bool:
    """Whether Nova shows a host as down by itself.

    Where that are several at the first look, they may be dead, or Nova may have been ill before.
    """
    return row.binary == _COMPUTE and row.known and not row.up and not row.forced_down
