"""Numbers that tune the scheduler of a pool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """Numbers that tune the scheduler; times are in seconds.

    The first four are the operator's. Of each other one the property is said that it is for;
    ``tests/server/scoring/test_scheduler.py`` tests these properties.

    Attributes
    ----------
    queue_limit
        Memory is bounded: so many requests wait at most, more are refused. 0 lets none wait.
    deadline_seconds
        Nobody waits for ever: a request runs and waits for so long at most, and one that is
        expected to wait longer is refused when it comes. 0 sets no limit.
    stream_seconds
        Whoever reads slowly gives the worker back: an answer that is sent item by item takes so
        long at most. 0 sets no limit.
    idle_seconds
        Memory comes back: a worker above the minimum ends after so long without a request.
    short_seconds, short_ahead
        A worker that answers at once never waits for the server: while a request takes less than
        this on average, it has up to so many at hand.
    brief_seconds, brief_ahead
        The same for requests that take longer, of which fewer have to be at hand.
    calm_seconds, calm_memory
        No request stands behind a slow one that could be foreseen. After a request that took
        longer than this, a worker has `brief_ahead` at most. The longest time fades by the memory
        with each request since, until it is below this.
    quiet_seconds, bulk_ahead, bulk_seconds
        Batches cost little where nobody else calls, and never hold a single request up for long.
        Where no single one has come for so long, a worker has up to so many requests of groups at
        hand. All of them together take less than `bulk_seconds`.
    batch_seconds
        Those who are answered together do not wait long for each other: a worker gets no more
        together than take so long.
    held_up_factor
        Nothing is given to a worker that is stuck: one counts as held up when its request takes
        so many times the average, and longer than `calm_seconds`.
    average_weight
        What a worker gets ahead follows a change of speed: the share of the newest request in the
        average.
    mean_over
        Nobody is sent away for one slow request: what is expected of those that wait is the mean
        of about so many.
    sweep_seconds
        A refusal costs little: those that wait are looked through for callers who have left so
        often at most.
    growth_seconds
        Workers grow with the load: another one is started where requests would wait longer.
    room_seconds
        Calls cost no more where there is no room for another worker: it is asked for so often.
    group_seconds
        Whoever sends groups sees what there is room for: what no worker had room for comes back
        after so long, but for one request.
    cancel_seconds
        A call that does not end when it is cancelled keeps no worker for ever: over its deadline
        and cancelled for so long, it is ended with its worker.
    max_vain_retries, vain_seconds
        Code that ends its process costs one worker a call, not two: after so many calls whose
        second worker ended too, none is run again for so long.
    """

    queue_limit: int = 10_000
    deadline_seconds: float = 30.0
    stream_seconds: float = 600.0
    idle_seconds: float = 60.0

    short_seconds: float = 0.001
    short_ahead: int = 16
    brief_seconds: float = 0.01
    brief_ahead: int = 2
    calm_seconds: float = 0.02
    calm_memory: float = 0.98

    quiet_seconds: float = 1.0
    bulk_ahead: int = 128
    bulk_seconds: float = 0.006

    batch_seconds: float = 0.5
    held_up_factor: float = 5.0
    average_weight: float = 0.1

    mean_over: int = 200
    sweep_seconds: float = 0.05
    growth_seconds: float = 0.002
    room_seconds: float = 0.2
    group_seconds: float = 0.5
    cancel_seconds: float = 1.0

    max_vain_retries: int = 3
    vain_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """Numbers that tune how a version recovers whose processes keep ending; times are in seconds.

    Attributes
    ----------
    max_ends
        Callers learn that a version does not work: it is failing after so many ends in a row.
    first_pause, max_pause
        Processes that end cost little: the pause before the next try doubles up to the longest.
    calm_seconds
        Ends that are far apart are not in a row: after so long without one, counting starts anew.
    """

    max_ends: int = 3
    first_pause: float = 1.0
    max_pause: float = 60.0
    calm_seconds: float = 60.0
