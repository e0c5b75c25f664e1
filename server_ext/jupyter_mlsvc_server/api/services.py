"""Routes of services: publish, describe, change and delete them; ``score`` calls them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response

from jupyter_mlsvc.wire.arrow_stream import is_installed
from jupyter_mlsvc.wire.models import (
    CreateOrUpdateServicePoolRequest,
    ParameterDefinition,
    PublishCheckRequest,
    PublishWebServiceRequest,
    ServiceExample,
    in_both_spellings,
)
from jupyter_mlsvc.wire.service_openapi import service_openapi
from jupyter_mlsvc.wire.swagger import BATCH_STATES, service_document
from jupyter_mlsvc_server.api.etag import list_unless_known
from jupyter_mlsvc_server.api.forms import FormUploads
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import indented_json, json_response
from jupyter_mlsvc_server.api.routing import Routes, counted, document, large, route, upload
from jupyter_mlsvc_server.batches.manager import BatchManager
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.scoring.compute_nodes import ComputeNodes
from jupyter_mlsvc_server.scoring.recent_calls import MAX_CALLS
from jupyter_mlsvc_server.scoring.service_log import MAX_ENTRIES
from jupyter_mlsvc_server.services.bodies import INPUTS
from jupyter_mlsvc_server.services.contents import ServiceContentReader
from jupyter_mlsvc_server.services.logs import ServiceLogReader
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.pools import PoolManager
from jupyter_mlsvc_server.services.realtime import RealtimeRequest
from jupyter_mlsvc_server.services.recent_calls import RecentCallReader
from jupyter_mlsvc_server.services.statistics import ServiceStatisticsReporter

_PARTS: Final = (
    *("description", "operationId", "model", "check", "replace", "group"),
    *("tags", "examples", INPUTS, "network", "readOnly", "keepBodies"),
)
"""Parts of the form that publishes or changes a realtime service."""

_MAX_DIGITS: Final = 18
"""Digits of the number of a call."""

_VERSIONS: Final = "ServiceManager.max_versions_per_user"
_WORKERS: Final = "ScoringSettings.max_workers_per_user"


class ServiceRoutes:
    """Manages service versions and tells what they are."""

    def __init__(
        self, *, services: ServiceManager, batches: BatchManager, forms: FormUploads
    ) -> None:
        self._services = services
        self._batches = batches
        self._forms = forms

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/services", get=document(self.list)),
            route(
                "/services/{name}",
                get=document(self.list),
                post=counted(_VERSIONS, large(self.publish_next)),
            ),
            route(
                "/services/{name}/{version}",
                get=document(self.get),
                post=counted(_VERSIONS, large(self.publish)),
                patch=large(self.change),
                delete=self.delete,
            ),
            route(
                "/realtime-services/{name}",
                post=counted(_VERSIONS, upload(self.publish_next_realtime)),
            ),
            route(
                "/realtime-services/{name}/{version}",
                post=counted(_VERSIONS, upload(self.publish_realtime)),
                patch=upload(self.change_realtime),
            ),
            route("/api/{name}/{version}/swagger.json", get=document(self.swagger)),
            route("/api/{name}/{version}/openapi.json", get=document(self.openapi)),
        ]

    async def list(self, request: ApiRequest, name: str | None = None) -> Response:
        """List versions, oldest first.

        All of them (contract: ``getAllWebServices``), or those of a name (contract:
        ``getAllWebServiceVersionsByName``).
        """
        found = await self._services.list(request.principal, name)
        return await list_unless_known(request.headers, found)

    async def get(self, request: ApiRequest, name: str, version: str) -> Response:
        """Describe a version, as a list of one (contract: ``getWebServiceVersion``)."""
        return json_response([await self._services.get(request.principal, name, version)])

    async def publish_next(self, request: ApiRequest, name: str) -> Response:
        """Publish under a new GUID as version (contract: ``publishWebService``)."""
        order = await request.parse(PublishWebServiceRequest)
        record = await self._services.publish(request.principal, name, None, order)
        return _published(name, record.key.version)

    async def publish(self, request: ApiRequest, name: str, version: str) -> Response:
        """Publish a version (contract: ``publishWebServiceVersion``)."""
        order = await request.parse(PublishWebServiceRequest)
        await self._services.publish(request.principal, name, version, order)
        return _published(name, version)

    async def change(self, request: ApiRequest, name: str, version: str) -> Response:
        """Change a version (contract: ``patchWebServiceVersion``)."""
        order = await request.parse(PublishWebServiceRequest)
        await self._services.change(request.principal, name, version, order)
        return json_response(f"Changed version {version} of service {name}.")

    async def delete(self, request: ApiRequest, name: str, version: str) -> Response:
        """Delete a version (contract: ``deleteWebServiceVersion``)."""
        await self._services.delete(request.principal, name, version)
        return json_response(f"Deleted version {version} of service {name}.")

    # --- realtime ----------------------------------------------------------------------------

    async def publish_next_realtime(self, request: ApiRequest, name: str) -> Response:
        """Publish a model under a new GUID (contract: ``publishRealtimeWebServiceByName``)."""
        order = await self._realtime_order(request)
        record = await self._services.publish_realtime(request.principal, name, None, order)
        return _published(name, record.key.version)

    async def publish_realtime(self, request: ApiRequest, name: str, version: str) -> Response:
        """Publish a model (contract: ``publishRealtimeWebServiceByNameVersion``)."""
        order = await self._realtime_order(request)
        await self._services.publish_realtime(request.principal, name, version, order)
        return _published(name, version)

    async def change_realtime(self, request: ApiRequest, name: str, version: str) -> Response:
        """Change a realtime version (contract: ``patchRealtimeWebServiceByNameVersion``)."""
        # That it is not there says more than what is wrong with the form.
        await self._services.get(request.principal, name, version)
        order = await self._realtime_order(request)
        await self._services.change_realtime(request.principal, name, version, order)
        return json_response(f"Changed version {version} of service {name}.")

    async def _realtime_order(self, request: ApiRequest) -> RealtimeRequest:
        """Read the form; the model has to come as a file."""
        form = await self._forms.read(request, *_PARTS)
        if "model" in form.fields:
            raise BadRequest("The part 'model' has no file name; send it as a file.")
        return RealtimeRequest(
            description=form.fields.get("description"),
            operation_id=form.fields.get("operationId"),
            model=form.files["model"].path if "model" in form.files else None,
            check=_field(form.fields.get("check"), PublishCheckRequest | None, "check"),
            replace=_field(form.fields.get("replace"), bool, "replace") or False,
            group=form.fields.get("group"),
            tags=_field(form.fields.get("tags"), list[str] | None, "tags"),
            examples=_field(form.fields.get("examples"), list[ServiceExample] | None, "examples"),
            inputs=_field(form.fields.get(INPUTS), list[ParameterDefinition] | None, INPUTS),
            network=_field(form.fields.get("network"), bool, "network"),
            read_only=_field(form.fields.get("readOnly"), bool, "readOnly"),
            keep_bodies=_field(form.fields.get("keepBodies"), bool, "keepBodies"),
        )

    # --- documents ---------------------------------------------------------------------------

    async def swagger(self, request: ApiRequest, name: str, version: str) -> Response:
        """Describe a version in Swagger 2.0 (contract: ``GetWebServiceSwagger``)."""
        service = await self._services.get(request.principal, name, version)
        model = await self._services.model_input(name, version)
        states = [self._batches.spell(state) for state in BATCH_STATES]
        return Response(indented_json(service_document(service, model, states)))

    async def openapi(self, request: ApiRequest, name: str, version: str) -> Response:
        """Describe a version in OpenAPI 3.1 (our addition)."""
        service = await self._services.get(request.principal, name, version)
        model = await self._services.model_input(name, version)
        document = service_openapi(service, model, has_arrow=is_installed())
        return Response(indented_json(document))


class PoolRoutes:
    """Manages the dedicated pools of service versions."""

    def __init__(
        self, *, services: ServiceManager, pools: PoolManager, compute_nodes: ComputeNodes
    ) -> None:
        self._services = services
        self._pools = pools
        self._compute_nodes = compute_nodes

    def table(self) -> Routes:
        """Return the routes."""
        pool = "/services/{name}/{version}/pool"
        return [route(pool, get=self.status, post=counted(_WORKERS, self.set), delete=self.remove)]

    async def status(self, request: ApiRequest, name: str, version: str) -> Response:
        """Answer how far it is (contract: ``getServicePoolStatus``)."""
        status = await self._pools.status(request.principal, name, version)
        nodes = self._compute_nodes.list()
        return json_response([in_both_spellings(node, status) for node in nodes])

    async def set(self, request: ApiRequest, name: str, version: str) -> Response:
        """Create or resize it (contract: ``createOrUpdateServicePool``)."""
        # That it is not there says more than what is wrong with the size.
        await self._services.get(request.principal, name, version)
        order = await request.parse(CreateOrUpdateServicePoolRequest)
        await self._pools.set(request.principal, name, version, order)
        return json_response(f"The pool of version {version} of service {name} gets its size.")

    async def remove(self, request: ApiRequest, name: str, version: str) -> Response:
        """Give it up (contract: ``deleteServicePool``)."""
        await self._pools.remove(request.principal, name, version)
        return json_response(
            f"Version {version} of service {name} has no pool of its own any more."
        )


class StatisticsRoutes:
    """Gives the figures of service versions."""

    def __init__(self, *, statistics: ServiceStatisticsReporter) -> None:
        self._statistics = statistics

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/statistics", get=self.list),
            route("/services/{name}/{version}/statistics", get=self.get),
        ]

    async def list(self, request: ApiRequest) -> Response:
        """List those that are loaded or were called (our addition)."""
        found = await self._statistics.list(request.principal)
        return await list_unless_known(request.headers, found)

    async def get(self, request: ApiRequest, name: str, version: str) -> Response:
        """Give those of one version, with its past (our addition)."""
        period = request.query("period")
        return json_response(await self._statistics.get(request.principal, name, version, period))


class LogRoutes:
    """Gives what the code of service versions has printed."""

    def __init__(self, *, logs: ServiceLogReader) -> None:
        self._logs = logs

    def table(self) -> Routes:
        """Return the routes."""
        return [route("/services/{name}/{version}/logs", get=self.read)]

    async def read(self, request: ApiRequest, name: str, version: str) -> Response:
        """Answer the newest entries, or those after the one with an id (our addition)."""
        after, limit = request.query_number("after"), request.query_number("limit", MAX_ENTRIES)
        found = await self._logs.read(request.principal, name, version, after=after, limit=limit)
        return json_response(found)


class ContentRoutes:
    """Tells what service versions hold."""

    def __init__(self, *, contents: ServiceContentReader) -> None:
        self._contents = contents

    def table(self) -> Routes:
        """Return the routes."""
        return [route("/services/{name}/{version}/contents", get=self.read)]

    async def read(self, request: ApiRequest, name: str, version: str) -> Response:
        """Describe objects, files and packages of a version (our addition)."""
        return json_response(await self._contents.read(request.principal, name, version))


class CallRoutes:
    """Gives the newest calls of service versions."""

    def __init__(self, *, calls: RecentCallReader) -> None:
        self._calls = calls

    def table(self) -> Routes:
        """Return the routes."""
        calls = "/services/{name}/{version}/calls"
        return [route(calls, get=self.list), route(calls + "/{call_id}", get=self.get)]

    async def list(self, request: ApiRequest, name: str, version: str) -> Response:
        """Answer the newest ones, or those of them that failed (our addition)."""
        limit, errors = request.query_number("limit", MAX_CALLS), request.query_flag("errors")
        found = await self._calls.list(
            request.principal, name, version, limit=limit, only_errors=errors
        )
        return json_response(found)

    async def get(self, request: ApiRequest, name: str, version: str, call_id: str) -> Response:
        """Answer one with what it printed, and with bodies that are kept (our addition)."""
        is_number = call_id.isascii() and call_id.isdigit() and len(call_id) <= _MAX_DIGITS
        number = int(call_id) if is_number else 0
        return json_response(await self._calls.get(request.principal, name, version, number))


def _published(name: str, version: str) -> Response:
    return json_response(f"Published version {version} of service {name}.", status=201)


def _field(text: str | None, kind: Any, name: str) -> Any:
    """Read a part of a form that is JSON; None where there is none."""
    if text is None or not text.strip():
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"The part {name!r} of the form does not fit: {error}.") from None
