"""Bodies of requests and answers, one class a use; field names on the wire are camelCase.

Optional members that are absent, null or unknown are taken as absent, because clients send
``{"name": null}`` and members of their own. Where PATCH must tell "absent" from "empty",
the field is ``UNSET`` by default.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

RuntimeType = Literal["R", "Python"]


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all bodies."""


# --- authentication --------------------------------------------------------------------------


class LoginRequest(Wire, frozen=True, kw_only=True):
    """Credentials (contract: ``login``)."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"LoginRequest(username={self.username!r}, password=…)"


class RenewTokenRequest(Wire, frozen=True, kw_only=True):
    """A refresh token to trade for a new pair (contract: ``renewToken``)."""

    refresh_token: str

    def __repr__(self) -> str:
        return "RenewTokenRequest(refresh_token=…)"


class AccessTokenResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of tokens. Member names are snake_case on the wire, ``expires_on`` is Unix seconds."""

    token_type: str
    access_token: str
    expires_in: int
    expires_on: int
    refresh_token: str

    def __repr__(self) -> str:
        return f"AccessTokenResponse(expires_on={self.expires_on}, access_token=…, refresh_token=…)"


class UserResponse(Wire, frozen=True, kw_only=True):
    """Who is asking, and what server this is; ``public_url`` is empty where no port is open.

    ``may`` has what the caller may do, at least with things of their own. ``token_seconds`` is for
    how long the token is good still, None where it ends with the server. ``groups`` are those that
    the caller can give services to. ``confinement`` is the level at which code is confined, and
    empty for who runs none.
    """

    name: str
    role: Literal["owner", "contributor", "reader", "caller"]
    server_version: str
    public_url: str
    may: list[str] = []
    may_run_code: bool = False
    token_seconds: float | None = None
    groups: list[str] = []
    confinement: str = ""


# --- service keys ----------------------------------------------------------------------------

ServiceKeyState = Literal["active", "expired", "suspended"]


class CreateServiceKeyRequest(Wire, frozen=True, kw_only=True):
    """What a key is to be (our addition).

    ``services`` are names, which stand for all versions, or NAME/VERSION; without it the key is for
    all services. ``rate`` is such as ``10/second`` or ``600/minute``. ``origins`` are those of
    pages that may call with it. Without ``name`` the server makes one.
    """

    name: str | None = None
    services: list[str] | None = None
    note: str | None = None
    expires_in_seconds: float | None = None
    rate: str | None = None
    origins: list[str] | None = None


class ServiceKey(Wire, frozen=True, kw_only=True):
    """What is known of a key (our addition); the key itself is not kept.

    ``state`` is active, expired, or suspended: while its maker is shut out, or may not change what
    it is for. ``calls`` and ``lastUse`` are of all servers of a database, some seconds late.
    """

    id: str
    name: str
    services: list[str] | None
    note: str
    maker: str
    state: ServiceKeyState
    creation_time: str
    expiration_time: str | None
    rate: str | None
    origins: list[str]
    calls: int
    last_use: str | None


class CreateServiceKeyResponse(Wire, frozen=True, kw_only=True):
    """A new key, which is in this answer only (our addition)."""

    key: str
    service_key: ServiceKey

    def __repr__(self) -> str:
        return f"CreateServiceKeyResponse(key=…, service_key={self.service_key!r})"


# --- sessions --------------------------------------------------------------------------------


class CreateSessionRequest(Wire, frozen=True, kw_only=True):
    """What to start (contract: ``createSession``); what follows ``runtime_type`` is our addition.

    ``notebook`` is the path of the notebook whose own session it is. With ``lease_seconds`` it is
    closed, busy or not, once it was neither used nor renewed for as long.
    """

    name: str | None = None
    snapshot_id: str | None = None
    runtime_type: str | None = None
    notebook: str | None = None
    lease_seconds: float | None = None


class CreateSessionResponse(Wire, frozen=True, kw_only=True):
    """The id of the new session."""

    session_id: str


class Session(Wire, frozen=True, kw_only=True):
    """A session in a list; what follows ``runtime_type`` are our additions.

    ``state`` is starting, idle or busy. ``lease_seconds`` are left until it is closed if nobody
    uses it; null: it never is. ``execution_id`` is of what runs, else of what ran last; ``queued``
    executions wait. ``notebook`` is the path of the notebook whose own session it is.
    """

    id: str
    name: str
    owner: str
    runtime_type: str
    state: str | None = None
    creation_time: str | None = None
    last_activity: str | None = None
    memory_bytes: int | None = None
    idle_seconds: float | None = None
    lease_seconds: float | None = None
    execution_id: str | None = None
    queued: int = 0
    notebook: str | None = None


class WorkspaceObject(Wire, frozen=True, kw_only=True):
    """A named value; the value is any JSON.

    ``type`` (our addition) is one of the contract's seven parameter types: with it an input is
    made what a service's input of that type is, and an output of R tells that it is a data.frame.
    """

    name: str
    value: Any = None
    type: str | UnsetType | None = UNSET


class ExecuteRequest(Wire, frozen=True, kw_only=True):
    """Code with inputs to set before it and names to read after it (contract: ``executeCode``)."""

    code: str | None = None
    input_parameters: list[WorkspaceObject] | None = None
    output_parameters: list[str] | None = None


class StartExecutionRequest(ExecuteRequest, frozen=True, kw_only=True):
    """As for ``executeCode``; with an id of the caller's own the call may be repeated (ours)."""

    execution_id: str | None = None


class ExecuteResponse(Wire, frozen=True, kw_only=True):
    """What the code did; ``output_parameters`` is a list here, unlike in consume."""

    success: bool
    error_message: str
    output_parameters: list[WorkspaceObject]
    console_output: str
    changed_files: list[str]


class StartExecutionResponse(Wire, frozen=True, kw_only=True):
    """The id of an execution that runs on its own (our addition)."""

    execution_id: str


ExecutionState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Execution(Wire, frozen=True, kw_only=True):
    """An execution of a session in a list; times are null before they come (our addition)."""

    execution_id: str
    code: str
    state: ExecutionState
    start_time: str | None
    end_time: str | None
    error_message: str


class InventoryObject(Wire, frozen=True, kw_only=True):
    """An object of a workspace; without a digest its value can't be compared (our addition).

    A summary has more of each: ``size`` in bytes, which of the seven types it fits as a parameter,
    if any, and its value where that is short.
    """

    name: str
    type: str
    digest: str | None = None
    size: int | None = None
    parameter_type: str | None = None
    example: Any = None


class SessionInventory(Wire, frozen=True, kw_only=True):
    """What a workspace has and what surrounds it (our addition).

    ``packages`` are the versions of those that are loaded, ``installed`` of all; a summary has
    neither. ``python_version`` is empty for a session of another language; it has summaries only.
    """

    python_version: str
    packages: dict[str, str] = {}
    installed: dict[str, str] = {}
    objects: list[InventoryObject] = []


class ConsoleOutputResponse(Wire, frozen=True, kw_only=True):
    """Text of the running or last execution."""

    console_output: str


# --- snapshots -------------------------------------------------------------------------------


class CreateSnapshotRequest(Wire, frozen=True, kw_only=True):
    """An optional name for the snapshot."""

    name: str | None = None


class SkippedObject(Wire, frozen=True, kw_only=True):
    """An object that a snapshot could not keep, and why (our addition)."""

    name: str
    type: str
    reason: str


class CreateSnapshotResponse(Wire, frozen=True, kw_only=True):
    """The id of the new snapshot; ``skipped`` is our addition."""

    snapshot_id: str
    skipped: list[SkippedObject] = []


class Snapshot(Wire, frozen=True, kw_only=True):
    """A snapshot in a list. ``content_size`` is that of its zip; ``skipped`` is ours."""

    id: str
    name: str
    owner: str
    creation_time: str
    content_size: int
    runtime_type: str | None = None
    skipped: list[SkippedObject] = []


class SnapshotObject(SkippedObject, frozen=True, kw_only=True):
    """An object of a workspace; those that were not kept have a reason (our addition).

    ``size`` is in bytes; where objects share data, the first one counts it.
    """

    size: int
    kept: bool


class SnapshotFile(Wire, frozen=True, kw_only=True):
    """A file of a snapshot; ``size`` is in bytes (our addition)."""

    path: str
    size: int


class SkippedFile(Wire, frozen=True, kw_only=True):
    """A file that a snapshot could not keep, and why (our addition)."""

    path: str
    reason: str


class NamedVersion(Wire, frozen=True, kw_only=True):
    """What names a service version."""

    name: str
    version: str


class SnapshotContents(Wire, frozen=True, kw_only=True):
    """What a snapshot holds, and the services that hold the same content (our addition).

    ``packages`` are the versions of those that were loaded.
    """

    id: str
    name: str
    owner: str
    creation_time: str
    content_size: int
    runtime_type: str
    runtime_version: str
    objects: list[SnapshotObject]
    files: list[SnapshotFile]
    skipped_files: list[SkippedFile]
    services: list[NamedVersion]
    packages: dict[str, str]


class ServiceContents(Wire, frozen=True, kw_only=True):
    """What the snapshot behind a version of a service holds (our addition).

    The service keeps it when the snapshot is deleted. ``size`` is in bytes, as the server stores
    it. A version without a snapshot has an empty ``runtime_version`` and nothing in the lists.
    """

    name: str
    version: str
    size: int
    runtime_type: str
    runtime_version: str
    objects: list[SnapshotObject]
    files: list[SnapshotFile]
    skipped_files: list[SkippedFile]
    packages: dict[str, str]


# --- services --------------------------------------------------------------------------------


class ColumnDefinition(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """A column of a data.frame, as the code is to see it (our addition).

    ``type`` is the dtype as pandas spells it, such as ``datetime64[us, Europe/Berlin]``, or one of
    ``number``, ``integer``, ``string`` and ``boolean``; where it is empty, the values are as JSON
    gives them. The values of a ``category`` are listed with their own dtype, in the order that
    counts if it is ``ordered``; of another column they are all that it takes. ``minimum`` and
    ``maximum`` are limits of numbers. ``nullable`` says whether a value may be null, where that is
    known. ``hideCategories`` shows the list to those only who may change the service.
    """

    name: str
    type: str = ""
    categories: list[Any] | None = None
    category_type: str = ""
    ordered: bool = False
    nullable: bool | UnsetType | None = UNSET
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""
    hide_categories: bool = False


class ItemsDefinition(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What the elements of a vector or matrix are (our addition).

    ``type`` is ``number``, ``integer``, ``string`` or ``boolean``; the others are those of a
    column.
    """

    type: str = ""
    categories: list[Any] | None = None
    nullable: bool | UnsetType | None = UNSET
    minimum: float | None = None
    maximum: float | None = None


class ParameterDefinition(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Name and type of an input or output; the type is one of the seven words or a free one.

    Where the type is left out the server finds it by the publish check, or passes any JSON. The
    others are our additions: ``columns`` are those of a data.frame, as far as they are known, and
    ``items`` the elements of a vector or matrix. ``shape`` has the lengths of these, null for any:
    one of a vector, rows and columns of a matrix. An input that has a ``default`` may be left out
    of a call. ``example`` is a value to show to callers. An output that ``streams`` is sent item by
    item to callers who take that; its type is that of all items together.
    """

    name: str
    type: str = ""
    columns: list[ColumnDefinition] | UnsetType | None = UNSET
    default: Any | UnsetType = UNSET
    description: str = ""
    example: Any | UnsetType = UNSET
    items: ItemsDefinition | UnsetType | None = UNSET
    shape: list[int | None] | UnsetType | None = UNSET
    streams: bool = False


class ServiceExample(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """A call of a service with what it answers, for callers to look at (our addition)."""

    name: str = ""
    inputs: dict[str, Any]
    outputs: dict[str, Any] = {}


class PublishCheckRequest(Wire, frozen=True, kw_only=True):
    """Call the code once before it is published (our addition).

    ``inputs`` are values by name, as in a call. ``force`` publishes whatever the call ends with.
    ``asExample`` shows the call with its answer to callers, as one of the service's examples.
    """

    inputs: dict[str, Any] = {}
    force: bool = False
    as_example: bool = False


class PublishCheck(Wire, frozen=True, kw_only=True):
    """What the publish check found (our addition).

    Without ``called`` no call was made, and ``notes`` say why. ``time`` is when that was. The rest
    is as a call answers it.
    """

    called: bool
    success: bool
    error_message: str = ""
    output_parameters: dict[str, Any] = {}
    console_output: str = ""
    notes: list[str] = []
    time: str | UnsetType = UNSET


Isolation = Literal["call", "worker", "none"]
"""What a call may see of the calls before it; ``worker`` where nothing is said (our addition)."""


class PublishWebServiceRequest(Wire, frozen=True, kw_only=True):
    """A service to publish, or the parts of one to change (contract: publish and patch).

    Our additions: ``setup_code``, which runs once in each worker, and ``isolation``. ``effects``
    says that a call may change what is elsewhere, so that none runs twice. Without ``network`` the
    code reaches no other machine, and a ``read_only`` version writes temporary files alone.
    With ``keep_bodies`` its newest calls are kept with what was sent and answered, in memory and
    for those who may change the version. A worker runs ``concurrency`` calls at a time: 1 where
    nothing is said, and 100 where the code awaits. A call may take ``deadline_seconds``; 0 is as
    many as the server allows.
    ``check`` calls the code once before it is published. ``replace`` takes the place of a version
    of one's own that has never answered. ``group`` gives the name with all its versions to a group
    of one's own, whose members may change them as well; an empty one takes it back. ``tags`` are
    words to find the service by, and ``examples`` calls with their answers.
    """

    snapshot_id: str | UnsetType | None = UNSET
    code: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    operation_id: str | UnsetType | None = UNSET
    input_parameter_definitions: list[ParameterDefinition] | UnsetType | None = UNSET
    output_parameter_definitions: list[ParameterDefinition] | UnsetType | None = UNSET
    runtime_type: str | UnsetType | None = UNSET
    init_code: str | UnsetType | None = UNSET
    output_file_names: list[str] | UnsetType | None = UNSET
    setup_code: str | UnsetType | None = UNSET
    isolation: Isolation | UnsetType | None = UNSET
    effects: bool | UnsetType | None = UNSET
    network: bool | UnsetType | None = UNSET
    read_only: bool | UnsetType | None = UNSET
    keep_bodies: bool | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    deadline_seconds: float | UnsetType | None = UNSET
    check: PublishCheckRequest | UnsetType | None = UNSET
    replace: bool | UnsetType | None = UNSET
    group: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    examples: list[ServiceExample] | UnsetType | None = UNSET


class WebService(Wire, frozen=True, kw_only=True):
    """A service version. Members with code are left out for those who may not see them.

    Our additions: ``setup_code``, ``isolation``, ``effects``, ``network``, ``read_only`` and
    ``keep_bodies``, as they were published. A worker runs ``concurrency`` calls at a time, and each
    may take ``deadline_seconds`` where the version says so. ``never_answered`` is true until a call
    has succeeded. ``publish_check`` is what was found when this revision was published. Members of
    ``group`` may change it as well. ``failing`` says why its processes keep ending, where they do;
    its calls get 503 until a try succeeds. ``tags`` and ``examples`` are there where they were
    published.
    """

    name: str
    version: str
    version_published_by: str
    creation_time: str
    snapshot_id: str | None
    runtime_type: str
    init_code: str | UnsetType | None = UNSET
    code: str | UnsetType | None = UNSET
    description: str
    operation_id: str | None
    input_parameter_definitions: list[ParameterDefinition]
    output_parameter_definitions: list[ParameterDefinition]
    output_file_names: list[str]
    my_permission_on_service: Literal["read/write", "read only"]
    setup_code: str | UnsetType | None = UNSET
    isolation: Isolation | UnsetType = UNSET
    effects: bool | UnsetType = UNSET
    network: bool | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET
    keep_bodies: bool | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET
    deadline_seconds: float | UnsetType = UNSET
    never_answered: bool | UnsetType = UNSET
    publish_check: PublishCheck | UnsetType = UNSET
    group: str | UnsetType = UNSET
    failing: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    examples: list[ServiceExample] | UnsetType = UNSET


class WebServiceResult(Wire, frozen=True, kw_only=True):
    """Answer of a consume call, its members in the order of the original."""

    success: bool
    error_message: str
    output_parameters: dict[str, Any]
    output_files: dict[str, str | None]
    console_output: str
    changed_files: list[str]


class ServiceStatistics(Wire, frozen=True, kw_only=True):
    """How a service version is and what it did since the server started (our addition).

    A ``failing`` one has processes that keep ending, or that can't be started: its calls get 503
    until a try succeeds. ``message`` says why; ``waiting`` requests wait for a worker; the times
    are those of the newest requests. ``rejected`` calls did not fit, so that the code never ran;
    they are calls and no errors. ``retired`` workers were replaced after a call that changed what
    can't be put back; ``retired_for`` is what the last of these had changed. ``note`` is a sentence
    for the publisher where most calls do that, and empty else. ``lost_workers`` ended unexpectedly.
    """

    name: str
    version: str
    state: Literal["idle", "starting", "ready", "busy", "failing"]
    message: str
    workers: int
    waiting: int
    calls: int
    errors: int
    calls_per_minute: int
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    last_call: str | None
    rejected: int = 0
    retired: int = 0
    note: str = ""
    retired_for: str = ""
    lost_workers: int = 0


Period = Literal["hour", "day", "week"]
"""A time over which calls are kept, also when the server is started anew (our addition)."""


class StatisticsInterval(Wire, frozen=True, kw_only=True):
    """What a service version did in some seconds from a time on (our addition)."""

    time: str
    calls: int
    errors: int
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    rejected: int = 0


class KeyCalls(Wire, frozen=True, kw_only=True):
    """How often a service key called a version since the server started (our addition)."""

    name: str
    calls: int


class ServiceStatisticsWithHistory(ServiceStatistics, frozen=True, kw_only=True):
    """The same with the last intervals, oldest first; the last one is not over (our addition).

    ``memory_bytes`` is what its processes take. ``keys`` are shown to whoever may change the
    version.
    """

    memory_bytes: int
    interval_seconds: int
    history: list[StatisticsInterval]
    keys: list[KeyCalls] = []


class ServiceLogEntry(Wire, frozen=True, kw_only=True):
    """What a request has printed, or how a process of a version has ended (our addition).

    ``id`` is greater than those of entries before. ``level`` is ``error`` where the code has raised
    or a process has ended, and ``problem`` then says why in a line. ``text`` is what was printed,
    and the traceback. ``requestId`` is what the caller got as ``X-Request-Id``; in a batch the
    execution's id, a slash and the record's place. ``traceId`` is there where the request was
    traced.
    """

    id: int
    time: str
    level: Literal["info", "error"]
    problem: str
    text: str
    request_id: str | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET


class ServiceCall(Wire, frozen=True, kw_only=True):
    """One of the newest calls of a version (our addition).

    ``id`` is greater than those of its calls before, since the server started. ``caller`` is the
    name of a person or of a service key, as ``callerKind`` says; that of a batch is its owner.
    ``status`` is that of the answer; ``success`` is false where the code raised, too. ``problem``
    says in a line what went wrong. ``milliseconds`` count from the call's arrival; null where it
    came into no queue. ``requestId`` is what the caller got as ``X-Request-Id``; in a batch the
    execution's id, a slash and the record's place. ``firstItemMilliseconds`` is there where the
    answer was sent item by item.
    """

    id: int
    time: str
    caller: str
    caller_kind: Literal["person", "key", "batch"] | UnsetType = UNSET
    status: int
    success: bool
    milliseconds: float | None
    request_id: str
    request_bytes: int
    answer_bytes: int
    problem: str
    first_item_milliseconds: float | UnsetType = UNSET


class ServiceCallDetails(ServiceCall, frozen=True, kw_only=True):
    """The same with what the call printed, and its traceback (our addition).

    ``text`` is empty where it printed nothing, or that is not kept any more. ``request`` and
    ``answer`` are the beginnings of the bodies, there where the version keeps them.
    """

    text: str
    request: str | UnsetType = UNSET
    answer: str | UnsetType = UNSET


# --- batches ---------------------------------------------------------------------------------


class StartBatchExecutionResponse(Wire, frozen=True, kw_only=True):
    """The id of a new batch, in both spellings that clients read (``StartBatchExecution``)."""

    name: str
    version: str
    batch_execution_id: str
    capital_batch_execution_id: str = msgspec.field(name="BatchExecutionId")


class BatchItemResult(WebServiceResult, frozen=True, kw_only=True, omit_defaults=True):
    """Result of a record; ``finished`` (our addition) is false for one that has none yet."""

    finished: bool = True


class BatchWebServiceResult(Wire, frozen=True, kw_only=True):
    """How far a batch is; its failures and the reason for its end are our additions."""

    state: str
    completed_item_count: int
    total_item_count: int
    parallel_count: int = 0
    failed_item_count: int = 0
    error_message: str = ""
    batch_execution_results: list[BatchItemResult] = []


# --- pools -----------------------------------------------------------------------------------

PoolStatus = Literal["Success", "Pending", "NotFound"]


class CreateOrUpdateServicePoolRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Size of a dedicated pool (contract: ``createOrUpdateServicePool``)."""

    initial_pool_size: int | None = None
    max_pool_size: int | None = None


class ServicePoolStatusResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How far a dedicated pool is on a compute node (contract: ``getServicePoolStatus``)."""

    compute_node_endpoint: str
    status: PoolStatus


def in_both_spellings(compute_node_endpoint: str, status: PoolStatus) -> dict[str, str]:
    """Write a :class:`ServicePoolStatusResponse` for all clients.

    Generated ones read the members as the contract spells them, live servers sent them in
    camelCase.
    """
    row = ServicePoolStatusResponse(compute_node_endpoint=compute_node_endpoint, status=status)
    spelled: dict[str, str] = msgspec.to_builtins(row)
    return {f"{name[0].lower()}{name[1:]}": value for name, value in spelled.items()} | spelled


# --- compute nodes ---------------------------------------------------------------------------


class UpdateComputeNodesRequest(Wire, frozen=True, kw_only=True):
    """Compute nodes to set, add or remove (contract: ``setComputeNodes`` and the others)."""

    entries: list[str] | None = None


class GetComputeNodesResponse(Wire, frozen=True, kw_only=True):
    """All compute nodes."""

    compute_nodes: list[str]


# --- events ----------------------------------------------------------------------------------


class Event(Wire, frozen=True, kw_only=True):
    """Something changed (our addition).

    ``name`` and ``version`` are those of the service, also of the one that a batch runs; sessions,
    snapshots and keys have a name only.
    """

    number: int
    kind: Literal["service", "session", "snapshot", "batch", "key"]
    action: Literal["created", "changed", "deleted"]
    id: str
    name: str
    version: str


class EventList(Wire, frozen=True, kw_only=True):
    """What happened after an event (our addition).

    With ``is_reset`` nobody knows what happened since: look at everything again. ``run`` and
    ``last`` are what to ask with next.
    """

    run: str
    last: int
    events: list[Event]
    is_reset: bool


# --- status ----------------------------------------------------------------------------------


class StatusResponse(Wire, frozen=True, kw_only=True):
    """State of a component and of its parts, recursively."""

    status_code: Literal["pass", "warn", "fail"]
    components: dict[str, StatusResponse] | None = None
    details: dict[str, Any] | None = None
