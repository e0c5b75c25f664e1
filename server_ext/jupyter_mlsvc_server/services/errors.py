"""What can go wrong with services."""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_mlsvc.wire.suggestions import did_you_mean
from jupyter_mlsvc_server.errors import (
    Advice,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    TooManyRequests,
)


class ServiceNotFound(NotFound):
    """No version of this name.

    Parameters
    ----------
    name, version
        What was looked for; without a version the name is unknown.
    known
        Versions of the service, or names where it has none; what was meant may be among them.
    """

    code = "ServiceNotFound"

    def __init__(self, name: str, version: str | None = None, known: Iterable[str] = ()) -> None:
        what, wanted = f"service {name!r}", name
        if version is not None:
            what, wanted = f"version {version!r} of service {name!r}", version
        meant = did_you_mean(wanted, known)
        super().__init__(
            f"There is no {what}.{meant}",
            advice=Advice(
                "List what is published with GET /services.", operation="getAllWebServices"
            ),
        )


class TooManyWorkers(TooManyRequests):
    """Dedicated pools of the owner would keep more workers than one person may have."""

    code = "TooManyWorkers"

    def __init__(self, wanted: int, most: int) -> None:
        super().__init__(
            f"Dedicated pools of the version's owner would keep {wanted} workers; one person's "
            f"services may have {most} (ScoringSettings.max_workers_per_user).",
            retry_after=60,
            advice=Advice(
                "Ask for fewer, or give up a pool with DELETE /services/NAME/VERSION/pool.",
                operation="deleteServicePool",
            ),
        )


class TooManyVersions(TooManyRequests):
    """The caller has as many versions as one person may have."""

    code = "TooManyVersions"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most:,} versions of services, which is the limit for one person "
            "(ServiceManager.max_versions_per_user).",
            retry_after=60,
            advice=Advice(
                "Delete some with DELETE /services/NAME/VERSION.",
                operation="deleteWebServiceVersion",
            ),
        )


class ServiceExists(Conflict):
    """The version is taken."""

    code = "ServiceExists"

    def __init__(self, name: str, version: str, *, may_be_replaced: bool = False) -> None:
        advice = "Publish another version, change this one with PATCH, or delete it first."
        if may_be_replaced:
            advice += " It never answered a call, so this one may take its place with 'replace'."
        super().__init__(
            f"Version {version!r} of service {name!r} exists already.",
            advice=Advice(
                advice,
                operation="patchWebServiceVersion",
                parameter="replace" if may_be_replaced else "",
            ),
        )


class ServiceHasAnswered(Conflict):
    """A version that applications may rely on is not replaced."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(
            f"Version {version!r} of service {name!r} has answered calls, so it is not replaced. "
            "Publish another version, or change this one."
        )


class PublishCheckFailed(BadRequest):
    """The code failed when it was tried.

    Parameters
    ----------
    problem
        What happened, and in which line.
    may_be_forced
        Whether it was called because somebody asked for that.
    printed
        What it had printed by then.
    """

    code = "PublishCheckFailed"

    def __init__(self, problem: str, *, may_be_forced: bool, printed: str = "") -> None:
        advice = None
        if may_be_forced:
            advice = Advice(
                "Correct it, or publish it all the same with 'force'.", parameter="force"
            )
        super().__init__(f"{problem}\nNothing was published.", advice=advice)
        if printed:
            self.details |= {"reason": f"{problem}\nNothing was published."}
            self.details |= {"console_output": printed}
            self.message += f"\nIt had printed:\n{printed}"


class NameIsTaken(Forbidden):
    """Somebody else published under this name first."""

    def __init__(self, name: str, group: str = "") -> None:
        members = f" and to members of group {group!r}" if group else ""
        super().__init__(
            f"The name {name!r} belongs to another user, who published it first{members}. "
            "Choose another one."
        )


class NotInGroup(Forbidden):
    """A service can be given to a group by its members only."""

    code = "NotInGroup"

    def __init__(self, group: str, own: Iterable[str]) -> None:
        names = ", ".join(map(repr, sorted(own))) or "none"
        super().__init__(
            f"You are not in group {group!r}; your groups are: {names}. Whoever runs the server "
            "can put you in (jupyter mlsvc group add)."
        )


class SnapshotIsNotYours(Forbidden):
    """A service can be made from the publisher's own snapshots only."""

    code = "SnapshotIsNotYours"

    def __init__(self, snapshot_id: str) -> None:
        super().__init__(
            f"Snapshot {snapshot_id!r} belongs to another user.",
            advice=Advice(
                "Publish with one of your own; list them with GET /snapshots.",
                operation="ListSnapshots",
            ),
        )


class SnapshotOfOtherRuntime(BadRequest):
    """A service's code and its snapshot have to be of one language."""

    def __init__(self, snapshot_runtime: str, service_runtime: str) -> None:
        super().__init__(
            f"The snapshot is one of {snapshot_runtime} and the service runs {service_runtime}: "
            f"publish with runtimeType {snapshot_runtime!r}, or with a snapshot of a "
            f"{service_runtime} session."
        )


class ServiceHasCode(BadRequest):
    """A service with code cannot be changed into a model."""

    code = "ServiceHasCode"

    def __init__(self, runtime_type: str) -> None:
        super().__init__(
            f"The service runs code in {runtime_type}.",
            advice=Advice(
                "Change it with PATCH /services/{name}/{version}, or publish the model as another "
                "version.",
                operation="patchWebServiceVersion",
            ),
        )


class RealtimeHasNoCode(BadRequest):
    """A realtime service is not published with code."""

    code = "RealtimeHasNoCode"

    def __init__(self) -> None:
        super().__init__(
            "A realtime service is a model without code.",
            advice=Advice(
                "Publish it with POST /realtime-services/{name}/{version}.",
                operation="publishRealtimeWebServiceByNameVersion",
            ),
        )


class ServiceIsRealtime(BadRequest):
    """A realtime service cannot be changed into one with code."""

    code = "ServiceIsRealtime"

    def __init__(self) -> None:
        super().__init__(
            "The service is a realtime one, a model without code.",
            advice=Advice(
                "Change it with PATCH /realtime-services/{name}/{version}, or publish the code as "
                "another version.",
                operation="patchRealtimeWebServiceByNameVersion",
            ),
        )
