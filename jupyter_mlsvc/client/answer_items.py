"""An answer of a service, item by item as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.results import ServiceResult, as_frame
from jupyter_mlsvc.client.transport import ApiResponse
from jupyter_mlsvc.errors import ConnectionFailed
from jupyter_mlsvc.wire.models import ParameterDefinition, WebServiceResult

EVENT_STREAM: Final = "text/event-stream"


class AnswerItem(msgspec.Struct, frozen=True):
    """An item of an output that is a stream.

    Attributes
    ----------
    output : str
        Name of the output.
    value : Any
        The item, as JSON gives it.
    """

    output: str
    value: Any


class AnswerItems(Iterator[Any]):
    """The items of an answer, each as soon as it is there; an iterator and a context manager.

    Closing it, or the end of a ``with``, has the code of the service stop. So does leaving a loop
    over it, once nothing refers to it any more.

    Attributes
    ----------
    output : str
        Name of the output that the last item is of; of use where several are streams.
    result : ServiceResult or None
        What the service answered beside the items, once they are all here.
    answer : WebServiceResult or None
        The same, as the server has it.

    Examples
    --------
    >>> for word in client.service("Chat").stream(prompt="Hello"):
    ...     print(word, end=" ")
    """

    def __init__(
        self,
        api: Api,
        response: ApiResponse,
        service: str,
        declared: Sequence[ParameterDefinition],
    ) -> None:
        self.output = ""
        self.result: ServiceResult | None = None
        self.answer: WebServiceResult | None = None
        self._api = api
        self._response = response
        self._service = service
        self._declared = declared
        self._tables = {each.name for each in declared if each.type == "data.frame"}
        self._events = _events(response)

    def __next__(self) -> Any:
        """Wait for the next item.

        Raises
        ------
        ServiceFailed
            The code of the service raised; items may have come before.
        ApiError
            The server had to stop it.
        ConnectionFailed
            The connection broke before the end.
        """
        if self.result is not None:
            raise StopIteration
        for event, data in self._events:
            if event == "item":
                item = self._api.decode(AnswerItem, data)
                self.output = item.output
                return as_frame(item.value) if item.output in self._tables else item.value
            if event == "error":
                self.close()
                raise self._api.error_in(data, self._response)
            if event == "result":
                self._end(data)
                raise StopIteration
        raise ConnectionFailed(self._api.url, "the answer ended before its last part")

    def parts(self) -> Iterator[bytes]:
        """Give items and result as the server wrote them; for what shows them to somebody.

        Afterwards ``result`` has all outputs, those that were streamed too, and is a result also
        where the code raised.

        Raises
        ------
        ApiError
            The server had to stop it.
        ConnectionFailed
            The connection broke before the end.
        """
        items: dict[str, list[Any]] = {}
        for event, data in self._events:
            if event == "item":
                item = self._api.decode(AnswerItem, data)
                items.setdefault(item.output, []).append(item.value)
            elif event == "error":
                self.close()
                raise self._api.error_in(data, self._response)
            elif event == "result":
                self._take(data, self._wholes(items))
            yield data
            if self.result is not None:
                return
        raise ConnectionFailed(self._api.url, "the answer ended before its last part")

    def close(self) -> None:
        """Read no further; the code of the service stops at its next item."""
        self._events.close()
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _end(self, data: bytes) -> None:
        self._take(data, {}).raise_for_error()

    def _take(self, data: bytes, wholes: Mapping[str, Any]) -> ServiceResult:
        answer = self._api.decode(WebServiceResult, data)
        answer.output_parameters.update(wholes)
        request_id = self._response.headers.get("X-Request-Id", "")
        self.close()
        self.answer = answer
        self.result = ServiceResult(self._service, answer, self._declared, request_id=request_id)
        return self.result

    def _wholes(self, items: Mapping[str, list[Any]]) -> dict[str, Any]:
        kinds = {each.name: each.type for each in self._declared}
        return {name: _whole(found, kinds.get(name, "")) for name, found in items.items()}


def _whole(items: list[Any], kind: str) -> Any:
    """Return the value that a caller who takes no stream gets."""
    if kind == "character":
        return "".join(item for item in items if item is not None)
    if kind == "data.frame":
        return {name: [cell for item in items for cell in item[name]] for name in items[0]}
    return items


def _events(response: ApiResponse) -> Any:
    """Give the events of a stream as kind and data; comments are passed over."""
    kind, data = b"", b""
    for line in response.lines():
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value
        elif name == b"data":
            data = value
        elif not line and kind:
            yield kind.decode(), data
            kind = b""
