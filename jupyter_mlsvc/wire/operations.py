"""The operations of the core API as a table: what the documents say and clients are made from.

One row an operation; the names are the contract's, so that generated clients are
source-compatible. Rows marked as additions are ours.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.problem import Problem

Method = Literal["get", "post", "put", "patch", "delete"]

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
FORM: Final = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or in a form; those in the path come from the path itself."""

    place: Literal["query", "formData"]
    name: str
    description: str
    _: KW_ONLY
    kind: Literal["string", "integer", "boolean", "file"] = "string"
    required: bool = False
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """Its type, the limits of a number and the choices of a text."""
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        schema = {"type": self.kind} | {k: v for k, v in limits.items() if v is not None}
        return schema | ({"enum": [*self.choices]} if self.choices else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the core API.

    ``body`` and ``answer`` are types that decode and encode JSON, ``bytes`` for raw content, or
    ``None``.
    """

    id: str
    method: Method
    path: str
    tag: str
    summary: str
    body: Any = None
    body_name: str = "body"
    parameters: tuple[Parameter, ...] = ()
    answer: Any = None
    status: int = 200
    errors: tuple[int, ...] = (401,)
    produces: str = JSON
    public: bool = False
    addition: bool = False


TAGS: Final = {
    "Authentication APIs": "Sign in and keep or give up tokens.",
    "Service Key APIs": "Keys with which applications call services, and do nothing else.",
    "Services Management APIs": "Publish, describe, change and delete services.",
    "Service Consumption APIs": "The description of a published service.",
    "Session APIs": "Run code on the server and look after its workspace and files.",
    "Snapshot APIs": "Keep a session's workspace and files.",
    "Status APIs": "State of the server and its parts.",
    "Centralized Configuration APIs": "The machines that run code.",
}

_AUTH, _KEYS, _SERVICES, _CONSUME, _SESSIONS, _SNAPSHOTS, _STATUS, _CONFIGURATION = TAGS
_READ = (401, 404)
query = partial(Parameter, "query")
_field = partial(Parameter, "formData")
_FILE = _field("file", "The file to upload.", kind="file", required=True)

_ABOUT = (
    _field("description", "A sentence for those who use the service."),
    _field("operationId", "Name of the call in generated clients."),
)


_CHECK = _field(
    "check",
    "Call the model once before it is published (our addition): JSON with 'inputs', "
    'such as {"inputs": {"inputData": {"x": [1]}}}, and \'force\' to publish it whatever that '
    "ends with.",
)
_REPLACE = _field(
    "replace",
    "Take the place of a version of yours that has never answered (our addition).",
    kind="boolean",
)
_GROUP = Parameter(
    name="group",
    place="formData",
    required=False,
    description="One of your groups, whose members may change all versions of the name as well; an "
    "empty one takes it back (our addition).",
)
_DESCRIPTIONS = (
    _field("tags", "Words to find the service by, an array in JSON (our addition)."),
    _field("examples", "Calls with their answers, an array in JSON (our addition)."),
    _field(
        "inputParameterDefinitions",
        "What is said of the input and its columns, as for other services (our addition).",
    ),
)
_CONFINEMENT = (
    _field(
        "network",
        "False keeps the model from the network (our addition).",
        kind="boolean",
    ),
    _field(
        "readOnly",
        "Whether the model may write temporary files only (our addition).",
        kind="boolean",
    ),
    _field(
        "keepBodies",
        "Whether the newest calls are kept with their bodies, for the publisher (our addition).",
        kind="boolean",
    ),
)
_EXTRA = (*_DESCRIPTIONS, *_CONFINEMENT)


_EVENTS = (
    query("run", "The run of the server that the number is from."),
    query(
        "after",
        "Number of the last event that is known; left out, the answer tells the "
        "present one at once.",
        kind="integer",
        minimum=0,
    ),
    query(
        "wait",
        "Seconds to wait for an event; 25 where it is left out.",
        kind="integer",
        minimum=0,
        maximum=55,
    ),
)


def _model(*, required: bool) -> Parameter:
    return _field("model", "The serialised model.", kind="file", required=required)


OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        id="login",
        method="post",
        path="/login",
        tag=_AUTH,
        summary="Trade a user name and password for tokens.",
        body=models.LoginRequest,
        body_name="loginRequest",
        answer=models.AccessTokenResponse,
        errors=(400, 401, 429),
        public=True,
    ),
    Operation(
        id="renewToken",
        method="post",
        path="/login/refreshToken",
        tag=_AUTH,
        summary="Trade a refresh token for a new pair; the old pair ends.",
        body=models.RenewTokenRequest,
        body_name="renewTokenRequest",
        answer=models.AccessTokenResponse,
        errors=(400, 401),
        public=True,
    ),
    Operation(
        id="revokeRefreshToken",
        method="delete",
        path="/login/refreshToken",
        tag=_AUTH,
        summary="End a refresh token and the access token that came with it.",
        parameters=(query("refreshToken", "The refresh token to end.", required=True),),
        answer=models.AccessTokenResponse,
        errors=(400, 401),
        public=True,
    ),
    Operation(
        id="createServiceKey",
        method="post",
        path="/keys",
        tag=_KEYS,
        summary="Make a key that calls services you may change, and nothing else.",
        body=models.CreateServiceKeyRequest,
        body_name="createServiceKeyRequest",
        answer=models.CreateServiceKeyResponse,
        status=201,
        errors=(400, 401, 403, 404, 409, 429),
        addition=True,
    ),
    Operation(
        id="listServiceKeys",
        method="get",
        path="/keys",
        tag=_KEYS,
        summary="List your service keys; an owner of the server sees all.",
        answer=list[models.ServiceKey],
        errors=(401, 403),
        addition=True,
    ),
    Operation(
        id="revokeServiceKey",
        method="delete",
        path="/keys/{keyName}",
        tag=_KEYS,
        summary="End a service key at once.",
        answer=str,
        errors=(401, 403, 404),
        addition=True,
    ),
    Operation(
        id="getAllWebServices",
        method="get",
        path="/services",
        tag=_SERVICES,
        summary="List the versions of all services, oldest first.",
        answer=list[models.WebService],
    ),
    Operation(
        id="getAllWebServiceVersionsByName",
        method="get",
        path="/services/{name}",
        tag=_SERVICES,
        summary="List the versions of one service, oldest first.",
        answer=list[models.WebService],
    ),
    Operation(
        id="publishWebService",
        method="post",
        path="/services/{name}",
        tag=_SERVICES,
        summary="Publish a service under a new GUID as its version.",
        body=models.PublishWebServiceRequest,
        body_name="publishRequest",
        answer=str,
        status=201,
        errors=(400, 401, 403, 404, 409),
    ),
    Operation(
        id="getWebServiceVersion",
        method="get",
        path="/services/{name}/{version}",
        tag=_SERVICES,
        summary="Describe one version, as a list of one.",
        answer=list[models.WebService],
        errors=_READ,
    ),
    Operation(
        id="publishWebServiceVersion",
        method="post",
        path="/services/{name}/{version}",
        tag=_SERVICES,
        summary="Publish a version of a service.",
        body=models.PublishWebServiceRequest,
        body_name="publishRequest",
        answer=str,
        status=201,
        errors=(400, 401, 403, 404, 409),
    ),
    Operation(
        id="patchWebServiceVersion",
        method="patch",
        path="/services/{name}/{version}",
        tag=_SERVICES,
        summary="Change parts of a version; what is left out stays.",
        body=models.PublishWebServiceRequest,
        body_name="patchRequest",
        answer=str,
        errors=(400, 401, 403, 404),
    ),
    Operation(
        id="deleteWebServiceVersion",
        method="delete",
        path="/services/{name}/{version}",
        tag=_SERVICES,
        summary="Delete a version.",
        answer=str,
        errors=(401, 403, 404),
    ),
    Operation(
        id="createOrUpdateServicePool",
        method="post",
        path="/services/{name}/{version}/pool",
        tag=_SERVICES,
        summary="Give a version workers of its own, or another number of them.",
        body=models.CreateOrUpdateServicePoolRequest,
        body_name="createOrUpdateServicePoolRequest",
        answer=str,
        errors=(400, 401, 403, 404),
    ),
    Operation(
        id="deleteServicePool",
        method="delete",
        path="/services/{name}/{version}/pool",
        tag=_SERVICES,
        summary="Give up a version's own workers; it has the usual ones again.",
        answer=str,
        errors=(401, 403, 404),
    ),
    Operation(
        id="getServicePoolStatus",
        method="get",
        path="/services/{name}/{version}/pool",
        tag=_SERVICES,
        summary="Whether a version's own workers are there.",
        answer=list[models.ServicePoolStatusResponse],
        errors=_READ,
    ),
    Operation(
        id="getStatistics",
        method="get",
        path="/statistics",
        tag=_SERVICES,
        summary="State, calls and times of the versions that are loaded or were called.",
        answer=list[models.ServiceStatistics],
        addition=True,
    ),
    Operation(
        id="getServiceStatistics",
        method="get",
        path="/services/{name}/{version}/statistics",
        tag=_SERVICES,
        summary="State, calls, times and memory of one version, with its past.",
        parameters=(
            query(
                "period",
                "The time that the history is of; the last ten minutes where it is left out.",
                choices=get_args(models.Period),
            ),
        ),
        answer=models.ServiceStatisticsWithHistory,
        errors=(400, *_READ),
        addition=True,
    ),
    Operation(
        id="getServiceLogs",
        method="get",
        path="/services/{name}/{version}/logs",
        tag=_SERVICES,
        summary="What the code of a version has printed, for those who may change it.",
        parameters=(
            query(
                "after",
                "Only entries with a greater id than this, from the oldest on.",
                kind="integer",
                minimum=0,
            ),
            query(
                "limit",
                "How many entries at most; 100 where it is left out.",
                kind="integer",
                minimum=0,
                maximum=1000,
            ),
        ),
        answer=list[models.ServiceLogEntry],
        errors=(400, 401, 403, 404),
        addition=True,
    ),
    Operation(
        id="getServiceCalls",
        method="get",
        path="/services/{name}/{version}/calls",
        tag=_SERVICES,
        summary="The newest calls of a version, newest first, for those who may change it.",
        parameters=(
            query(
                "limit",
                "How many calls at most; 100 where it is left out.",
                kind="integer",
                minimum=0,
                maximum=1000,
            ),
            query("errors", "Only calls that failed.", kind="boolean"),
        ),
        answer=list[models.ServiceCall],
        errors=(400, 401, 403, 404),
        addition=True,
    ),
    Operation(
        id="getServiceCall",
        method="get",
        path="/services/{name}/{version}/calls/{callId}",
        tag=_SERVICES,
        summary="One of these calls, with what its code printed and raised.",
        answer=models.ServiceCallDetails,
        errors=(401, 403, 404),
        addition=True,
    ),
    Operation(
        id="getServiceContents",
        method="get",
        path="/services/{name}/{version}/contents",
        tag=_SERVICES,
        summary="Objects, files and packages of a version, for those who may change it.",
        answer=models.ServiceContents,
        errors=(401, 403, 404),
        addition=True,
    ),
    Operation(
        id="publishRealtimeWebServiceByName",
        method="post",
        path="/realtime-services/{name}",
        tag=_SERVICES,
        summary="Publish a model under a new GUID as its version.",
        parameters=(*_ABOUT, _model(required=True), _CHECK, _REPLACE, _GROUP, *_EXTRA),
        answer=str,
        status=201,
        errors=(400, 401, 403, 409),
    ),
    Operation(
        id="publishRealtimeWebServiceByNameVersion",
        method="post",
        path="/realtime-services/{name}/{version}",
        tag=_SERVICES,
        summary="Publish a model as a version of a realtime service.",
        parameters=(*_ABOUT, _model(required=True), _CHECK, _REPLACE, _GROUP, *_EXTRA),
        answer=str,
        status=201,
        errors=(400, 401, 403, 409),
    ),
    Operation(
        id="patchRealtimeWebServiceByNameVersion",
        method="patch",
        path="/realtime-services/{name}/{version}",
        tag=_SERVICES,
        summary="Change parts of a realtime service; what is left out stays.",
        parameters=(*_ABOUT, _model(required=False), _CHECK, _GROUP, *_EXTRA),
        answer=str,
        errors=(400, 401, 403, 404),
    ),
    Operation(
        id="GetWebServiceSwagger",
        method="get",
        path="/api/{name}/{version}/swagger.json",
        tag=_CONSUME,
        summary="The Swagger document of a version.",
        answer=dict[str, Any],
        errors=_READ,
    ),
    Operation(
        id="GetWebServiceOpenApi",
        method="get",
        path="/api/{name}/{version}/openapi.json",
        tag=_CONSUME,
        summary="The OpenAPI 3.1 document of a version.",
        answer=dict[str, Any],
        errors=_READ,
        addition=True,
    ),
    Operation(
        id="createSession",
        method="post",
        path="/sessions",
        tag=_SESSIONS,
        summary="Start a session.",
        body=models.CreateSessionRequest,
        body_name="createSessionRequest",
        answer=models.CreateSessionResponse,
        status=201,
        errors=(400, 401, 404),
    ),
    Operation(
        id="listSessions",
        method="get",
        path="/sessions",
        tag=_SESSIONS,
        summary="List your sessions.",
        answer=list[models.Session],
    ),
    Operation(
        id="closeSession",
        method="delete",
        path="/sessions/{id}",
        tag=_SESSIONS,
        summary="Close a session.",
        answer=str,
        errors=_READ,
    ),
    Operation(
        id="closeSessionByForce",
        method="delete",
        path="/sessions/{id}/force",
        tag=_SESSIONS,
        summary="Kill a session that does not close.",
        answer=str,
        errors=_READ,
    ),
    Operation(
        id="renewSession",
        method="post",
        path="/sessions/{id}/renew",
        tag=_SESSIONS,
        summary="Renew the lease of a session that was created with one.",
        answer=str,
        errors=_READ,
        addition=True,
    ),
    Operation(
        id="executeCode",
        method="post",
        path="/sessions/{id}/execute",
        tag=_SESSIONS,
        summary="Run code and wait for it.",
        body=models.ExecuteRequest,
        body_name="executeRequest",
        answer=models.ExecuteResponse,
        errors=(400, 401, 404),
    ),
    Operation(
        id="startExecution",
        method="post",
        path="/sessions/{id}/executions",
        tag=_SESSIONS,
        summary="Run code without waiting; its events can be followed.",
        body=models.StartExecutionRequest,
        body_name="executeRequest",
        answer=models.StartExecutionResponse,
        status=202,
        errors=(400, 401, 404),
        addition=True,
    ),
    Operation(
        id="listExecutions",
        method="get",
        path="/sessions/{id}/executions",
        tag=_SESSIONS,
        summary="List the executions that are still kept, oldest first.",
        answer=list[models.Execution],
        errors=(401, 404, 503),
        addition=True,
    ),
    Operation(
        id="followExecution",
        method="get",
        path="/sessions/{id}/executions/{executionId}/events",
        tag=_SESSIONS,
        summary="Follow an execution's output, as lines of JSON, from an event on.",
        parameters=(query("since", "Number of the first event wanted.", kind="integer"),),
        answer=bytes,
        errors=(400, 401, 404),
        produces="application/x-ndjson",
        addition=True,
    ),
    Operation(
        id="cancelSession",
        method="post",
        path="/sessions/{id}/cancel",
        tag=_SESSIONS,
        summary="Interrupt what runs in a session; the session stays.",
        parameters=(
            query(
                "executionId",
                "Cancel this execution only, whether it runs or waits (our addition).",
            ),
        ),
        answer=str,
        errors=_READ,
    ),
    Operation(
        id="getSessionConsoleOutput",
        method="get",
        path="/sessions/{id}/console-output",
        tag=_SESSIONS,
        summary="Text that the running or last execution printed.",
        answer=models.ConsoleOutputResponse,
        errors=_READ,
    ),
    Operation(
        id="listSessionHistory",
        method="get",
        path="/sessions/{id}/history",
        tag=_SESSIONS,
        summary="Code that was executed, oldest first.",
        answer=list[str],
        errors=_READ,
    ),
    Operation(
        id="uploadSessionFile",
        method="post",
        path="/sessions/{id}/files",
        tag=_SESSIONS,
        summary="Put a file into the working directory.",
        parameters=(_FILE,),
        status=201,
        errors=(400, 401, 404),
        produces="text/plain",
    ),
    Operation(
        id="listSessionFiles",
        method="get",
        path="/sessions/{id}/files",
        tag=_SESSIONS,
        summary="List the files of the working directory.",
        answer=list[str],
        errors=_READ,
    ),
    Operation(
        id="getSessionFile",
        method="get",
        path="/sessions/{id}/files/{fileName}",
        tag=_SESSIONS,
        summary="Download a file of the working directory.",
        answer=bytes,
        errors=(400, 401, 404),
        produces=BYTES,
    ),
    Operation(
        id="deleteSessionFile",
        method="delete",
        path="/sessions/{id}/files/{fileName}",
        tag=_SESSIONS,
        summary="Delete a file of the working directory.",
        errors=(400, 401, 404),
    ),
    Operation(
        id="listWorkspaceObjects",
        method="get",
        path="/sessions/{id}/workspace",
        tag=_SESSIONS,
        summary="List the names of the workspace's objects.",
        answer=list[str],
        errors=(401, 404, 410),
    ),
    Operation(
        id="getSessionInventory",
        method="get",
        path="/sessions/{id}/inventory",
        tag=_SESSIONS,
        summary="Types and digests of the workspace's objects, and versions of packages.",
        parameters=(
            query(
                "view",
                "With 'summary', sizes, parameter types and short values in place of "
                "digests and versions, which is quicker; a session in R gives no other. With "
                "'comparison', a summary with exact digests.",
            ),
            query("names", "Names of the objects to describe, between commas; all without it."),
        ),
        answer=models.SessionInventory,
        errors=(400, 401, 404),
        addition=True,
    ),
    Operation(
        id="setWorkspaceObject",
        method="post",
        path="/sessions/{id}/workspace/{objectName}",
        tag=_SESSIONS,
        summary="Set an object from its serialised bytes.",
        body=bytes,
        body_name="serializedObject",
        errors=(400, 401, 404),
    ),
    Operation(
        id="getWorkspaceObject",
        method="get",
        path="/sessions/{id}/workspace/{objectName}",
        tag=_SESSIONS,
        summary="Get an object as serialised bytes.",
        answer=bytes,
        errors=(400, 401, 404),
        produces=BYTES,
    ),
    Operation(
        id="deleteWorkspaceObject",
        method="delete",
        path="/sessions/{id}/workspace/{objectName}",
        tag=_SESSIONS,
        summary="Delete an object.",
        errors=(400, 401, 404),
    ),
    Operation(
        id="CreateSnapshot",
        method="post",
        path="/sessions/{id}/snapshot",
        tag=_SNAPSHOTS,
        summary="Keep the workspace and working directory of a session.",
        body=models.CreateSnapshotRequest,
        body_name="createSnapshotRequest",
        answer=models.CreateSnapshotResponse,
        status=201,
        errors=(400, 401, 404),
    ),
    Operation(
        id="LoadSnapshot",
        method="post",
        path="/sessions/{id}/loadsnapshot/{snapshotId}",
        tag=_SNAPSHOTS,
        summary="Load a snapshot into a session, over what is there.",
        errors=(400, 401, 404),
    ),
    Operation(
        id="ListSnapshots",
        method="get",
        path="/snapshots",
        tag=_SNAPSHOTS,
        summary="List your snapshots.",
        answer=list[models.Snapshot],
    ),
    Operation(
        id="UploadSnapshot",
        method="post",
        path="/snapshots",
        tag=_SNAPSHOTS,
        summary="Keep a snapshot that was downloaded, here or from another server.",
        parameters=(_FILE, _field("name", "A name for the snapshot.")),
        answer=models.CreateSnapshotResponse,
        status=201,
        errors=(400, 401, 413),
        addition=True,
    ),
    Operation(
        id="GetSnapshotContent",
        method="get",
        path="/snapshots/{id}",
        tag=_SNAPSHOTS,
        summary="Download a snapshot as a zip archive.",
        answer=bytes,
        errors=_READ,
        produces="application/zip",
    ),
    Operation(
        id="getSnapshotContents",
        method="get",
        path="/snapshots/{id}/contents",
        tag=_SNAPSHOTS,
        summary="Objects, files and packages of a snapshot, and the services that hold it.",
        answer=models.SnapshotContents,
        errors=_READ,
        addition=True,
    ),
    Operation(
        id="DeleteSnapshot",
        method="delete",
        path="/snapshots/{id}",
        tag=_SNAPSHOTS,
        summary="Delete a snapshot; services made from it keep working.",
        answer=str,
        errors=_READ,
    ),
    Operation(
        id="getUser",
        method="get",
        path="/user",
        tag=_STATUS,
        summary="Who is asking, with what role, and what server this is.",
        answer=models.UserResponse,
        addition=True,
    ),
    Operation(
        id="listEvents",
        method="get",
        path="/events",
        tag=_STATUS,
        summary="What changed after an event; waits until something does.",
        parameters=_EVENTS,
        answer=models.EventList,
        errors=(400, 401, 429, 503),
        addition=True,
    ),
    Operation(
        id="status",
        method="get",
        path="/status",
        tag=_STATUS,
        summary="State of the server and its parts.",
        answer=models.StatusResponse,
        errors=(401, 500),
    ),
    Operation(
        id="getMetrics",
        method="get",
        path="/metrics",
        tag=_STATUS,
        summary="Metrics of the server in the format of Prometheus, for owners and monitors.",
        answer=bytes,
        errors=(401, 403),
        produces="text/plain",
        addition=True,
    ),
    Operation(
        id="getComputeNodes",
        method="get",
        path="/computenodes",
        tag=_CONFIGURATION,
        summary="List the compute nodes; the server itself is the only one.",
        answer=models.GetComputeNodesResponse,
    ),
    Operation(
        id="setComputeNodes",
        method="post",
        path="/computenodes",
        tag=_CONFIGURATION,
        summary="Replace the list of compute nodes by one that is the same.",
        body=models.UpdateComputeNodesRequest,
        body_name="entries",
        errors=(400, 401, 403),
    ),
    Operation(
        id="addComputeNode",
        method="put",
        path="/computenodes",
        tag=_CONFIGURATION,
        summary="Add compute nodes that are in the list already; there can be no others.",
        body=models.UpdateComputeNodesRequest,
        body_name="entries",
        errors=(400, 401, 403),
    ),
    Operation(
        id="removeComputeNode",
        method="delete",
        path="/computenodes",
        tag=_CONFIGURATION,
        summary="Remove compute nodes; the only one can't be removed.",
        body=models.UpdateComputeNodesRequest,
        body_name="entries",
        errors=(400, 401, 403),
    ),
)

ERROR_BODY: Final = Problem
