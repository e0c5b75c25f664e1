"""REST endpoints of services: publish, describe, change, delete, consume."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.models import (
    CreateOrUpdateServicePoolRequest,
    PublishCheckRequest,
    PublishWebServiceRequest,
    in_both_spellings,
)
from jupyter_mlsvc.wire.service_openapi import service_openapi
from jupyter_mlsvc.wire.swagger import BATCH_STATES, service_document
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.forms import FormEndpoint
from jupyter_mlsvc_server.services.realtime import RealtimeRequest
from jupyter_mlsvc_server.web import Endpoint, Routes


class AllServices(Endpoint):
    """All service versions of all users."""

    async def get(self) -> None:
        """List them, oldest first (contract: ``getAllWebServices``)."""
        self.answer(await self.parts.services.list(self.principal))


class NamedService(Endpoint):
    """All versions of one service."""

    async def get(self, name: str) -> None:
        """List them, oldest first (contract: ``getAllWebServiceVersionsByName``)."""
        self.answer(await self.parts.services.list(self.principal, name))

    async def post(self, name: str) -> None:
        """Publish under a new GUID as version (contract: ``publishWebService``)."""
        request = self.parse(PublishWebServiceRequest)
        record = await self.parts.services.publish(self.principal, name, None, request)
        self.answer_text(f"Published version {record.key.version} of service {name}.", status=201)


class ServiceVersion(Endpoint):
    """One version of a service."""

    async def get(self, name: str, version: str) -> None:
        """Describe it, as a list of one (contract: ``getWebServiceVersion``)."""
        self.answer([await self.parts.services.get(self.principal, name, version)])

    async def post(self, name: str, version: str) -> None:
        """Publish it (contract: ``publishWebServiceVersion``)."""
        request = self.parse(PublishWebServiceRequest)
        await self.parts.services.publish(self.principal, name, version, request)
        self.answer_text(f"Published version {version} of service {name}.", status=201)

    async def patch(self, name: str, version: str) -> None:
        """Change it (contract: ``patchWebServiceVersion``)."""
        request = self.parse(PublishWebServiceRequest)
        await self.parts.services.change(self.principal, name, version, request)
        self.answer_text(f"Changed version {version} of service {name}.")

    async def delete(self, name: str, version: str) -> None:
        """Delete it (contract: ``deleteWebServiceVersion``)."""
        await self.parts.services.delete(self.principal, name, version)
        self.answer_text(f"Deleted version {version} of service {name}.")


class AllStatistics(Endpoint):
    """Figures of all service versions."""

    async def get(self) -> None:
        """List those that are loaded or were called (our addition)."""
        self.answer(await self.parts.statistics.list(self.principal))


class ServiceStatistics(Endpoint):
    """Figures of one service version."""

    async def get(self, name: str, version: str) -> None:
        """Give them, with the last ten minutes (our addition)."""
        self.answer(await self.parts.statistics.get(self.principal, name, version))


class RealtimeEndpoint(FormEndpoint):
    """Base of what takes a model."""

    async def read(self) -> RealtimeRequest:
        """Read the form; the model has to come as a file."""
        form = await self.form("description", "operationId", "model", "check", "replace")
        if "model" in form.fields:
            raise BadRequest("The part 'model' has no file name; send it as a file.")
        return RealtimeRequest(
            description=form.fields.get("description"),
            operation_id=form.fields.get("operationId"),
            model=form.files["model"].path if "model" in form.files else None,
            check=_field(form.fields.get("check"), PublishCheckRequest | None, "check"),
            replace=_field(form.fields.get("replace"), bool, "replace") or False,
        )


def _field(text: str | None, kind: Any, name: str) -> Any:
    """Read a part of a form that is JSON; None where there is none."""
    if text is None or not text.strip():
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"The part {name!r} of the form does not fit: {error}.") from None


class NamedRealtimeService(RealtimeEndpoint):
    """Realtime services of a name."""

    async def post(self, name: str) -> None:
        """Publish under a new GUID (contract: ``publishRealtimeWebServiceByName``)."""
        services = self.parts.services
        record = await services.publish_realtime(self.principal, name, None, await self.read())
        self.answer_text(f"Published version {record.key.version} of service {name}.", status=201)


class RealtimeServiceVersion(RealtimeEndpoint):
    """One version of a realtime service."""

    async def post(self, name: str, version: str) -> None:
        """Publish it (contract: ``publishRealtimeWebServiceByNameVersion``)."""
        await self.parts.services.publish_realtime(self.principal, name, version, await self.read())
        self.answer_text(f"Published version {version} of service {name}.", status=201)

    async def patch(self, name: str, version: str) -> None:
        """Change it (contract: ``patchRealtimeWebServiceByNameVersion``)."""
        # That it is not there says more than what is wrong with the form.
        await self.parts.services.get(self.principal, name, version)
        await self.parts.services.change_realtime(self.principal, name, version, await self.read())
        self.answer_text(f"Changed version {version} of service {name}.")


class ServicePool(Endpoint):
    """The dedicated pool of a service version."""

    async def get(self, name: str, version: str) -> None:
        """Tell how far it is (contract: ``getServicePoolStatus``)."""
        status = await self.parts.pools.status(self.principal, name, version)
        nodes = self.parts.compute_nodes.list()
        self.answer([in_both_spellings(node, status) for node in nodes])

    async def post(self, name: str, version: str) -> None:
        """Create or resize it (contract: ``createOrUpdateServicePool``)."""
        # That it is not there says more than what is wrong with the size.
        await self.parts.services.get(self.principal, name, version)
        request = self.parse(CreateOrUpdateServicePoolRequest)
        await self.parts.pools.set(self.principal, name, version, request)
        self.answer_text(f"The pool of version {version} of service {name} gets its size.")

    async def delete(self, name: str, version: str) -> None:
        """Give it up (contract: ``deleteServicePool``)."""
        await self.parts.pools.remove(self.principal, name, version)
        self.answer_text(f"Version {version} of service {name} has no pool of its own any more.")


class ServiceSwagger(Endpoint):
    """The document that describes one service version."""

    async def get(self, name: str, version: str) -> None:
        """Serve it as indented text (contract: ``GetWebServiceSwagger``)."""
        service = await self.parts.services.get(self.principal, name, version)
        model = await self.parts.services.model_input(name, version)
        states = [self.parts.batches.spell(state) for state in BATCH_STATES]
        document = msgspec.json.encode(service_document(service, model, states))
        self.answer_bytes(msgspec.json.format(document, indent=2), "application/json")


class ServiceOpenApi(Endpoint):
    """The same as OpenAPI 3.1 (our addition)."""

    async def get(self, name: str, version: str) -> None:
        """Serve it as indented text."""
        service = await self.parts.services.get(self.principal, name, version)
        model = await self.parts.services.model_input(name, version)
        document = msgspec.json.encode(service_openapi(service, model))
        self.answer_bytes(msgspec.json.format(document, indent=2), "application/json")


_REJECTED: Final = frozenset({400, 413, 415})


class Consume(Endpoint):
    """The call that an application makes."""

    _is_submitted = False

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Count a call that was refused for how it was sent."""
        super().write_error(status_code, **kwargs)
        if self.get_status() in _REJECTED and not self._is_submitted:
            self.parts.scoring.reject(self.path_kwargs["name"], self.path_kwargs["version"])

    async def post(self, name: str, version: str) -> None:
        """Run the service's code on the inputs in the body."""
        require(self.principal, Action.CONSUME, None, "consume services")
        body = self.body
        self._is_submitted = True
        answer = await self.parts.scoring.consume(name, version, body)
        self.answer_bytes(answer.body, "application/json", answer.status)


routes: Routes = [
    (r"/services", AllServices),
    (r"/services/(?P<name>[^/]+)", NamedService),
    (r"/services/(?P<name>[^/]+)/(?P<version>[^/]+)", ServiceVersion),
    (r"/services/(?P<name>[^/]+)/(?P<version>[^/]+)/pool", ServicePool),
    (r"/services/(?P<name>[^/]+)/(?P<version>[^/]+)/statistics", ServiceStatistics),
    (r"/statistics", AllStatistics),
    (r"/realtime-services/(?P<name>[^/]+)", NamedRealtimeService),
    (r"/realtime-services/(?P<name>[^/]+)/(?P<version>[^/]+)", RealtimeServiceVersion),
    (r"/api/(?P<name>[^/]+)/(?P<version>[^/]+)/swagger\.json", ServiceSwagger),
    (r"/api/(?P<name>[^/]+)/(?P<version>[^/]+)/openapi\.json", ServiceOpenApi),
    (r"/api/(?P<name>[^/]+)/(?P<version>[^/]+)", Consume),
]
