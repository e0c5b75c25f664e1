"""Services: code and a snapshot under a name and a version, called over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.answer_items import EVENT_STREAM, AnswerItems
from jupyter_mlsvc.client.api import Api, Form, form, json_body
from jupyter_mlsvc.client.arrow_calls import consume_stream, may_be_stream
from jupyter_mlsvc.client.contents import ServiceContents
from jupyter_mlsvc.client.parameters import Parameters, definitions, plain_values
from jupyter_mlsvc.client.recent_calls import RecentCall, RecentCalls
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.service_log import ServiceLog
from jupyter_mlsvc.client.statistics import COLUMNS, ServiceStatistics
from jupyter_mlsvc.client.versions import next_version
from jupyter_mlsvc.errors import NotFound
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.model_file import serialize_model
from jupyter_mlsvc.wire.onnx_file import is_onnx
from jupyter_mlsvc.wire.suggestions import did_you_mean


class Services:
    """All services that you may see; ``client.services``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def publish(  # noqa: PLR0913 - what a service is made of
        self,
        name: str,
        version: str | None = None,
        *,
        code: str,
        inputs: Parameters = (),
        outputs: Parameters = (),
        snapshot_id: str | None = None,
        description: str | None = None,
        init_code: str | None = None,
        alias: str | None = None,
        output_files: Sequence[str] = (),
        runtime_type: str = "Python",
        setup_code: str | None = None,
        isolation: models.Isolation | None = None,
        effects: bool = False,
        network: bool = True,
        read_only: bool = False,
        keep_bodies: bool = False,
        concurrency: int | None = None,
        deadline_seconds: float | None = None,
        check: Mapping[str, object] | None = None,
        as_example: bool = False,
        force: bool = False,
        replace: bool = False,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        examples: Sequence[models.ServiceExample] | None = None,
    ) -> Service:
        """Publish a service (contract: ``publishWebServiceVersion``, ``publishWebService``).

        Parameters
        ----------
        version : str, optional
            The one after the newest of that name where it is left out.
        code : str
            Runs for each request; its variables named like the outputs are the answer.
        inputs, outputs : mapping or sequence
            Names and types: ``{"flower_data": "vector"}`` or ``["flower_data:vector"]``; or
            ``ParameterDefinition``, which may say more.
        snapshot_id : str, optional
            A snapshot of yours that the code finds its objects and files in.
        init_code : str, optional
            Runs before ``code``.
        alias : str, optional
            Name of the call in generated clients (``operationId``).
        output_files : sequence of str
            Files that the code writes and the answer carries.
        runtime_type : str
            Language of the code and of the snapshot, ``Python`` or ``R``.
        setup_code : str, optional
            Runs once in each worker, before the first request: for what no snapshot can hold, such
            as connections and devices. Python only.
        isolation : str, optional
            What a call sees of the calls before it. ``worker``, the default: nothing; what can't
            be put back has the worker replaced. ``call``: nothing, by a process for each call.
            ``none``: what they keep on purpose, such as caches.
        effects : bool
            Whether a call may change what is elsewhere, such as a table or an account. Where the
            process of such a call is lost, the caller is told, and the call is not run again.
        network : bool
            False keeps the code from the network, also where the server lets code use it.
        read_only : bool
            Whether the code may write nothing but temporary files, and ``output_files`` where
            there are any.
        keep_bodies : bool
            Whether the server keeps what the newest calls sent and got, for :meth:`call_details`.
        concurrency : int, optional
            Calls that a worker runs at a time. 1 where it is left out, and 100 where the code
            awaits; code that does not runs in so many threads.
        deadline_seconds : float, optional
            Seconds that a call may take; as many as the server allows where it is left out.
        check : mapping, optional
            Values of the inputs. With them the server calls the code once before it publishes it,
            in a clean process; ``Service.publish_check`` has the answer.
        as_example : bool
            Show that call, with its answer, to callers.
        force : bool
            Publish even if that call fails.
        replace : bool
            Take the place of a version of yours that has never answered a call.
        group : str, optional
            One of your groups, which the name with all its versions is to belong to. Its members
            may change and delete them, and publish more.
        tags : sequence of str, optional
            Words to find the service by.
        examples : sequence of ServiceExample, optional
            Calls with their answers, for callers to look at.

        Raises
        ------
        Conflict
            The version exists, and can't be replaced.
        BadRequest
            A name or the code is invalid, or the call failed; the message says where.
        """
        request = models.PublishWebServiceRequest(
            snapshot_id=UNSET if snapshot_id is None else snapshot_id,
            code=code,
            description=UNSET if description is None else description,
            operation_id=UNSET if alias is None else alias,
            input_parameter_definitions=definitions(inputs, runtime_type),
            output_parameter_definitions=definitions(outputs, runtime_type),
            runtime_type=runtime_type,
            init_code=UNSET if init_code is None else init_code,
            output_file_names=list(output_files),
            setup_code=UNSET if setup_code is None else setup_code,
            isolation=UNSET if isolation is None else isolation,
            effects=effects or UNSET,
            network=UNSET if network else False,
            read_only=read_only or UNSET,
            keep_bodies=keep_bodies or UNSET,
            concurrency=UNSET if concurrency is None else concurrency,
            deadline_seconds=UNSET if deadline_seconds is None else deadline_seconds,
            check=UNSET if check is None else _check(check, force=force, as_example=as_example),
            replace=replace or UNSET,
            group=UNSET if group is None else group,
            tags=UNSET if tags is None else list(tags),
            examples=UNSET if examples is None else list(examples),
        )
        version = version or self.next_version(name)
        # The server tries the service in a clean worker first: its snapshot has to load.
        patient = (self._api.timeout[0], None)
        self._api.call("POST", "services", name, version, json=request, timeout=patient).read()
        return self.get(name, version)

    def next_version(self, name: str) -> str:
        """Return the version after the newest of a service; the first one where there is none.

        Versions that the server made up are unique ids, which say nothing about their order.
        """
        try:
            return next_version([each.version for each in self.versions(name)])
        except NotFound:
            return next_version([])

    def update(  # noqa: PLR0913 - as publish
        self,
        name: str,
        version: str,
        *,
        code: str | UnsetType = UNSET,
        inputs: Parameters | UnsetType = UNSET,
        outputs: Parameters | UnsetType = UNSET,
        snapshot_id: str | UnsetType = UNSET,
        description: str | UnsetType = UNSET,
        init_code: str | UnsetType = UNSET,
        alias: str | UnsetType = UNSET,
        output_files: Sequence[str] | UnsetType = UNSET,
        setup_code: str | UnsetType = UNSET,
        isolation: models.Isolation | UnsetType = UNSET,
        effects: bool | UnsetType = UNSET,
        network: bool | UnsetType = UNSET,
        read_only: bool | UnsetType = UNSET,
        keep_bodies: bool | UnsetType = UNSET,
        concurrency: int | UnsetType = UNSET,
        deadline_seconds: float | UnsetType = UNSET,
        group: str | UnsetType = UNSET,
        tags: Sequence[str] | UnsetType = UNSET,
        examples: Sequence[models.ServiceExample] | UnsetType = UNSET,
        check: Mapping[str, object] | None = None,
        as_example: bool = False,
        force: bool = False,
    ) -> Service:
        """Change a service in place; what is left out stays (contract: ``patchWebServiceVersion``).

        An empty sequence takes the inputs, outputs, files, tags or examples away. A ``concurrency``
        of 0 is what the code is good for, and ``deadline_seconds`` of 0 the server's. ``group``
        gives the name with all its versions to one of your groups, and an empty text takes it back.
        With ``check`` the server calls the changed code once before it takes it, as :meth:`publish`
        does.
        """
        request = models.PublishWebServiceRequest(
            snapshot_id=snapshot_id,
            code=code,
            description=description,
            operation_id=alias,
            input_parameter_definitions=UNSET if inputs is UNSET else definitions(inputs),
            output_parameter_definitions=UNSET if outputs is UNSET else definitions(outputs),
            init_code=init_code,
            output_file_names=UNSET if output_files is UNSET else list(output_files),
            setup_code=setup_code,
            isolation=isolation,
            effects=effects,
            network=network,
            read_only=read_only,
            keep_bodies=keep_bodies,
            concurrency=concurrency,
            deadline_seconds=deadline_seconds,
            group=group,
            tags=UNSET if tags is UNSET else list(tags),
            examples=UNSET if examples is UNSET else list(examples),
            check=UNSET if check is None else _check(check, force=force, as_example=as_example),
        )
        patient = (self._api.timeout[0], None)
        self._api.call("PATCH", "services", name, version, json=request, timeout=patient).read()
        return self.get(name, version)

    def publish_realtime(  # noqa: PLR0913 - as publish
        self,
        name: str,
        version: str | None = None,
        model: object = None,
        *,
        description: str | None = None,
        alias: str | None = None,
        response: str | Sequence[str] = (),
        like: object = None,
        check: Mapping[str, object] | None = None,
        as_example: bool = False,
        force: bool = False,
        replace: bool = False,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        examples: Sequence[models.ServiceExample] | None = None,
        input_definition: models.ParameterDefinition | None = None,
        network: bool = True,
        read_only: bool = False,
        keep_bodies: bool = False,
    ) -> Service:
        """Publish a model instead of code (``publishRealtimeWebServiceByNameVersion``).

        The service takes a DataFrame ``inputData`` and answers ``outputData``, with the prediction
        in the column ``<response>_Pred``.

        Parameters
        ----------
        version : str, optional
            The one after the newest of that name where it is left out.
        model : object, bytes or path
            A fitted estimator with a method ``predict``, or what ``serialize_model`` made of one;
            or an ONNX model: a ``ModelProto``, its bytes, or the path of its file.
        alias : str, optional
            Name of the call in generated clients (``operationId``).
        response : str or sequence of str
            What the model predicts, by default ``y``; not with bytes, which tell it themselves.
        like : pandas.DataFrame, optional
            Some rows as the model was fitted with, whose dtypes it gets (see ``serialize_model``).
        check, as_example, force, replace, group, tags, examples, network, read_only, keep_bodies
            As in :meth:`publish`; the input is ``inputData``.
        input_definition : ParameterDefinition, optional
            Its description and example, and descriptions of its columns.

        Raises
        ------
        TypeError
            It is no model.
        ValueError
            The model can't be served with columns like those.
        OSError
            The file can't be read.
        Conflict
            The version exists.
        BadRequest
            The server cannot load the model; the message says why.

        Examples
        --------
        >>> iris = client.services.publish_realtime("Iris", "V1.0", clf, response="species")
        >>> iris(flowers).outputData
        {'species_Pred': ['versicolor', 'setosa']}
        """
        fields = _realtime_form(_model_bytes(model, response, like), description, alias)
        if check is not None:
            call = _check(check, force=force, as_example=as_example)
            fields["check"] = msgspec.json.encode(call).decode()
        if replace:
            fields["replace"] = "true"
        if group is not None:
            fields["group"] = group
        fields |= _said(tags, examples, input_definition)
        fields |= _flags(
            network=None if network else False,
            readOnly=read_only or None,
            keepBodies=keep_bodies or None,
        )
        version = version or self.next_version(name)
        self._send_form("POST", ("realtime-services", name, version), fields)
        return self.get(name, version)

    def update_realtime(  # noqa: PLR0913 - as publish
        self,
        name: str,
        version: str,
        model: object = None,
        *,
        description: str | None = None,
        alias: str | None = None,
        response: str | Sequence[str] = (),
        like: object = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        examples: Sequence[models.ServiceExample] | None = None,
        input_definition: models.ParameterDefinition | None = None,
        network: bool | None = None,
        read_only: bool | None = None,
        keep_bodies: bool | None = None,
    ) -> Service:
        """Change a realtime service; what is left out stays (``patchRealtimeWebServiceBy…``).

        An empty alias or group takes it away. The parameters are those of :meth:`publish_realtime`.
        """
        data = None if model is None else _model_bytes(model, response, like)
        fields = _realtime_form(data, description, alias)
        if group is not None:
            fields["group"] = group
        fields |= _said(tags, examples, input_definition)
        fields |= _flags(network=network, readOnly=read_only, keepBodies=keep_bodies)
        self._send_form("PATCH", ("realtime-services", name, version), fields)
        return self.get(name, version)

    def _send_form(self, method: str, path: Sequence[str], fields: Form) -> None:
        body, content_type = form(fields)
        # The server tries the model in a clean worker first.
        patient = (self._api.timeout[0], None)
        self._api.call(method, *path, body=body, content_type=content_type, timeout=patient).read()

    def set_pool(
        self, name: str, version: str, initial: int | None = None, maximum: int | None = None
    ) -> None:
        """Give a service workers of its own (contract: ``createOrUpdateServicePool``).

        The server answers at once; :meth:`pool_status` tells when they are there.

        Parameters
        ----------
        initial, maximum : int, optional
            How many are kept, and how many there may be. What is left out stays as it is.
        """
        size = models.CreateOrUpdateServicePoolRequest(
            initial_pool_size=initial, max_pool_size=maximum
        )
        self._api.call("POST", "services", name, version, "pool", json=size).read()

    def pool_status(self, name: str, version: str) -> models.PoolStatus:
        """Tell how far a pool is (contract: ``getServicePoolStatus``).

        Returns
        -------
        str
            ``Success``, ``Pending``, or ``NotFound`` where the service has the usual workers.
        """
        kind = list[models.ServicePoolStatusResponse]
        states = {row.status for row in self._api.get(kind, "services", name, version, "pool")}
        # All compute nodes have to be ready for the whole to be.
        return next(state for state in _WORST_FIRST if state in states)

    def delete_pool(self, name: str, version: str) -> None:
        """Give a service the usual workers again (contract: ``deleteServicePool``)."""
        self._api.delete("services", name, version, "pool")

    def statistics(self) -> formatting.Listing[ServiceStatistics]:
        """Tell how the services do that are loaded or were called since the server started."""
        rows = self._api.get(list[models.ServiceStatistics], "statistics")
        return formatting.Listing(map(ServiceStatistics, rows), COLUMNS, "No service was called.")

    def statistics_of(
        self, name: str, version: str, period: models.Period | None = None
    ) -> ServiceStatistics:
        """Tell how a service does, with its memory and its past (our addition).

        Parameters
        ----------
        period
            ``hour``, ``day`` or ``week``, which are kept when the server is started anew; else
            the history is of the last ten minutes.

        Raises
        ------
        NotFound
            No such service or version.
        """
        kind = models.ServiceStatisticsWithHistory
        path = ("services", name, version, "statistics")
        query = None if period is None else {"period": period}
        return ServiceStatistics(self._api.get(kind, *path, query=query))

    def logs(
        self, name: str, version: str, *, limit: int = 100, after: int | None = None
    ) -> ServiceLog:
        """Return what the calls of a service of yours have printed, oldest first (our addition).

        The server keeps the newest entries in memory. Calls that print nothing have none.

        Parameters
        ----------
        limit : int
            How many entries at most, up to 1000.
        after : int, optional
            ``id`` of the last entry that you have. The entries are those that followed it; without
            it they are the newest.

        Returns
        -------
        ServiceLog
            A list of entries, each with ``id``, ``time``, ``level``, ``problem``, ``text`` and
            ``request_id``.

        Raises
        ------
        Forbidden
            The service is another user's.
        NotFound
            No such service or version.
        """
        query = {"limit": str(limit)} | ({} if after is None else {"after": str(after)})
        rows = self._api.get(
            list[models.ServiceLogEntry], "services", name, version, "logs", query=query
        )
        return ServiceLog(rows)

    def calls(
        self, name: str, version: str, *, limit: int = 100, errors: bool = False
    ) -> RecentCalls:
        """Return the newest calls of a service of yours, the newest first (our addition).

        The server keeps them in memory, until it ends.

        Parameters
        ----------
        limit : int
            How many calls at most, up to 1000.
        errors : bool
            Only those that failed.

        Returns
        -------
        RecentCalls
            A list of calls, each with ``id``, ``time``, ``caller``, ``status``, ``success``,
            ``milliseconds``, ``request_id`` and ``problem``.

        Raises
        ------
        Forbidden
            The service is another user's.
        NotFound
            No such service or version.
        """
        query = {"limit": str(limit)} | ({"errors": "true"} if errors else {})
        rows = self._api.get(
            list[models.ServiceCall], "services", name, version, "calls", query=query
        )
        return RecentCalls(rows)

    def call_details(self, name: str, version: str, call_id: int) -> RecentCall:
        """Return one of these calls with what its code printed and raised (our addition).

        It has the bodies, too, where the version was published with ``keep_bodies``.

        Raises
        ------
        Forbidden
            The service is another user's.
        NotFound
            No such service or version, or the call is not kept any more.
        """
        path = ("services", name, version, "calls", str(call_id))
        return RecentCall(self._api.get(models.ServiceCallDetails, *path))

    def contents(self, name: str, version: str) -> ServiceContents:
        """Tell what the snapshot behind a service of yours holds, without values (our addition).

        A service that a notebook or a model was published as has one that is in nobody's list.

        Raises
        ------
        Forbidden
            The service is another user's.
        NotFound
            No such service or version.
        """
        path = ("services", name, version, "contents")
        return ServiceContents(self._api.get(models.ServiceContents, *path))

    def list(self) -> formatting.Listing[Service]:
        """List all services (contract: ``getAllWebServices``)."""
        return self._listing("services")

    def versions(self, name: str) -> formatting.Listing[Service]:
        """List versions, oldest first (contract: ``getAllWebServiceVersionsByName``)."""
        return self._listing("services", name)

    def get(self, name: str, version: str | None = None) -> Service:
        """Find a service (contract: ``getWebServiceVersion``).

        Parameters
        ----------
        version : str, optional
            The newest where it is left out.

        Raises
        ------
        NotFound
            No such service or version.
        """
        path = ("services", name) if version is None else ("services", name, version)
        found = self._listing(*path)
        if not found:
            meant = did_you_mean(name, {service.name for service in self.list()})
            raise NotFound(
                f"There is no service {name!r}.{meant}",
                status=404,
                exception_type="NotFoundException",
            )
        return found[-1]

    def delete(self, name: str, version: str) -> None:
        """Delete a version of a service (contract: ``deleteWebServiceVersion``)."""
        self._api.delete("services", name, version)

    def swagger(self, name: str, version: str) -> formatting.Document:
        """Swagger document of a service (contract: ``GetWebServiceSwagger``)."""
        return formatting.Document(
            self._api.get(dict[str, Any], "api", name, version, "swagger.json")
        )

    def openapi(self, name: str, version: str) -> formatting.Document:
        """OpenAPI 3.1 document of a service (our addition)."""
        return formatting.Document(
            self._api.get(dict[str, Any], "api", name, version, "openapi.json")
        )

    def core_swagger(self) -> formatting.Document:
        """Swagger document of the server itself, for generating clients."""
        return formatting.Document(self._api.get(dict[str, Any], "swagger.json"))

    def consume(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, object] | None = None,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
        timeout: float | None = None,
    ) -> ServiceResult:
        """Call a service.

        Where the service's code raises, the result says so (``success``, ``raise_for_error``).

        Parameters
        ----------
        inputs : mapping, optional
            Values of the inputs; arrays and frames become lists and columns. Large ones go as a
            stream of Arrow where pyarrow is installed here and on the server.
        outputs : sequence of ParameterDefinition, optional
            What the service declares (``Service.outputs``). Those of the type ``data.frame`` are
            then DataFrames in the result, as they are where a ``Service`` is called.
        timeout : float, optional
            Seconds to wait for the answer instead of the client's.
        """
        patience = None if timeout is None else (self._api.timeout[0], timeout)
        if inputs and may_be_stream(inputs) and self._api.takes_arrow:
            result = consume_stream(self._api, name, version, inputs, outputs, patience)
            if result is not None:
                return result
        self._api.require_room(inputs or {})
        body = json_body(plain_values(inputs or {}))
        _, result = self.consume_json(name, version, body, outputs=outputs, timeout=timeout)
        return result

    def consume_json(
        self,
        name: str,
        version: str,
        body: bytes,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
        timeout: float | None = None,
    ) -> tuple[bytes, ServiceResult]:
        """Call a service with a body that is JSON already, as a front end writes it.

        Returns
        -------
        tuple
            The answer as the server wrote it, and the same as an object.
        """
        response = self._api.call(
            "POST",
            "api",
            name,
            version,
            body=body,
            timeout=None if timeout is None else (self._api.timeout[0], timeout),
        )
        content = response.read()
        answer = self._api.decode(models.WebServiceResult, content)
        request_id = response.headers.get("X-Request-Id", "")
        return content, ServiceResult(f"{name} {version}", answer, outputs, request_id=request_id)

    def stream(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, object] | None = None,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
    ) -> AnswerItems:
        """Call a service and take the items of its answer as they come.

        Parameters
        ----------
        inputs : mapping, optional
            Values of the inputs; arrays and frames become lists and columns.
        outputs : sequence of ParameterDefinition, optional
            What the service declares; items of a ``data.frame`` are then DataFrames.
        """
        self._api.require_room(inputs or {})
        body = json_body(plain_values(inputs or {}))
        return self.stream_json(name, version, body, outputs=outputs)

    def stream_json(
        self,
        name: str,
        version: str,
        body: bytes,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
    ) -> AnswerItems:
        """Take the items of an answer to a body that is JSON already."""
        response = self._api.call("POST", "api", name, version, body=body, accept=EVENT_STREAM)
        return AnswerItems(self._api, response, f"{name} {version}", outputs)

    def address(self, name: str, version: str) -> str:
        """Where programs call a service: at the public API, if that is known."""
        return f"{self._api.public_url}/api/{quote(name, safe='')}/{quote(version, safe='')}"

    def _listing(self, *path: str) -> formatting.Listing[Service]:
        rows = self._api.get(list[models.WebService], *path)
        return formatting.Listing((Service(self, row) for row in rows), _COLUMNS, "No services.")


def _model_bytes(model: object, response: str | Sequence[str], like: object) -> bytes:
    if not isinstance(model, bytes | bytearray) or is_onnx(bytes(model)):
        return serialize_model(model, response=response, like=like)
    if response or like is not None:
        raise TypeError("Bytes tell response and columns themselves: give them to serialize_model.")
    return bytes(model)


def _check(
    values: Mapping[str, object], *, force: bool, as_example: bool
) -> models.PublishCheckRequest:
    return models.PublishCheckRequest(
        inputs=plain_values(values), force=force, as_example=as_example
    )


def _said(
    tags: Sequence[str] | None,
    examples: Sequence[models.ServiceExample] | None,
    definition: models.ParameterDefinition | None,
) -> Form:
    """Write what is said of a realtime service as parts of a form."""
    parts = {
        "tags": None if tags is None else list(tags),
        "examples": None if examples is None else list(examples),
        "inputParameterDefinitions": None if definition is None else [definition],
    }
    return {
        name: msgspec.json.encode(part).decode() for name, part in parts.items() if part is not None
    }


def _flags(**given: bool | None) -> Form:
    """Give the parts of a form; none for what is not said."""
    return {name: str(value).lower() for name, value in given.items() if value is not None}


def _realtime_form(model: bytes | None, description: str | None, alias: str | None) -> Form:
    texts = {"description": description, "operationId": alias}
    fields: Form = {name: text for name, text in texts.items() if text is not None}
    return fields if model is None else fields | {"model": ("model", model, _BYTES)}


def _parameters(items: Sequence[models.ParameterDefinition]) -> str:
    return ", ".join(f"{item.name}:{item.type}" for item in items)


_BYTES: Final = "application/octet-stream"
_WORST_FIRST: Final[Sequence[models.PoolStatus]] = ("NotFound", "Pending", "Success")

_COLUMNS: Final[Sequence[formatting.Column]] = (
    ("name", lambda service: service.name),
    ("version", lambda service: service.version),
    ("inputs", lambda service: _parameters(service.inputs)),
    ("outputs", lambda service: _parameters(service.outputs)),
    ("description", lambda service: service.description),
    ("published by", lambda service: service.published_by),
    ("created", lambda service: formatting.moment(service.creation_time)),
)
