"""Generated calls of an operation, and what every answer has to be."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.contract.doors import Door

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
]

WHOLE_BODY = ""
_HOW = ("sensible", "half sensible", "on things that are there", "as generated")


class Values(Protocol):
    """Where sensible values come from, and who clears up."""

    def path(self, template: str, operation_id: str) -> dict[str, str]:
        """Values for the parameters of a path."""

    def members(self, operation_id: str) -> dict[str, list[Any]]:
        """Values for the members of a body or a query, or under ``WHOLE_BODY``."""

    def settle(self, operation_id: str, path: dict[str, str], answer: requests.Response) -> None:
        """Tidy up after a call."""


@dataclass(frozen=True)
class Effort:
    """How many calls of either kind are made up for an operation, and whether always the same."""

    examples: int
    explore: bool

    @classmethod
    def of(cls, examples: str | None) -> Self:
        """What somebody asked for, or little where nobody did."""
        return cls(int(examples), explore=True) if examples else cls(6, explore=False)

    def less(self) -> Self:
        """Enough for a door that shares all but its front with another one."""
        return self if self.explore else replace(self, examples=2)

    @property
    def timeout(self) -> float:
        """Seconds that a test may take."""
        return 120 + 3 * self.examples * self.explore

    def settings(self, *, costly: bool) -> settings:
        """Settings of one test."""
        return settings(
            max_examples=min(self.examples, 30 if self.explore else 4) if costly else self.examples,
            deadline=None,
            derandomize=not self.explore,
            database=None,
            phases=(set(Phase) - {Phase.explain}) if self.explore else {Phase.generate},
            suppress_health_check=list(HealthCheck),
        )


@dataclass
class Fuzzer:
    """Makes up calls to one door from a document.

    Parameters
    ----------
    door
        Where, and as whom.
    document
        OpenAPI 3.1, as it is served.
    values
        Sensible values.
    effort
        How many calls.
    """

    door: Door
    document: dict[str, Any]
    values: Values
    effort: Effort
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._schema = schemathesis.openapi.from_dict(_without_default(self.document))
        self._http = requests.Session()
        self._headers = {"Authorization": f"Bearer {self.door.token}"}

    def try_out(self, path: str, method: str, *, costly: bool = False) -> None:
        """Call an operation with what fits the document and with what does not.

        Parameters
        ----------
        path, method
            The operation.
        costly
            Make fewer calls, as each takes a second.
        """
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            run = given(self._cases(path, method, mode))(self._check)
            self.effort.settings(costly=costly)(run)()

    def _cases(self, path: str, method: str, mode: GenerationMode) -> st.SearchStrategy[Case[Any]]:
        operation = self._schema[path][method.upper()]
        identifier = operation.definition.raw["operationId"]

        @st.composite
        def cases(draw: st.DrawFn) -> Case[Any]:
            case = draw(operation.as_strategy(generation_mode=mode))
            how = draw(st.sampled_from(_HOW))
            if how != "as generated":
                case.path_parameters.update(self.values.path(path, identifier))
            if how != "as generated" and mode is GenerationMode.POSITIVE:
                self._make_sensible(case, identifier, draw, wholly=how == "sensible")
            return case

        return cases()

    def _make_sensible(
        self, case: Case[Any], identifier: str, draw: st.DrawFn, *, wholly: bool
    ) -> None:
        for member, values in self.values.members(identifier).items():
            if not (wholly or draw(st.booleans())):
                continue
            value = draw(st.sampled_from(values))
            if member == WHOLE_BODY:
                case.body = value
            elif isinstance(case.body, dict):
                case.body[member] = value
            else:
                case.query[member] = value

    def _check(self, case: Case[Any]) -> None:
        identifier = case.operation.definition.raw["operationId"]
        answer = case.call(
            base_url=self.door.url, session=self._http, headers=self._headers, timeout=60
        )
        self.seen[identifier, answer.status_code] += 1
        try:
            case.validate_response(
                answer,
                checks=CHECKS,
                headers=self._headers,
                transport_kwargs={"base_url": self.door.url, "session": self._http, "timeout": 60},
            )
        finally:
            self.values.settle(identifier, dict(case.path_parameters), _plain(answer))


def _plain(answer: Any) -> requests.Response:
    plain = requests.Response()
    plain.status_code = answer.status_code
    plain._content = answer.content
    plain.request = answer.request
    return plain


def _without_default(document: dict[str, Any]) -> dict[str, Any]:
    """Take away the answer that allows any status: those that come have to be listed."""
    strict = copy.deepcopy(document)
    for methods in strict["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("default", None)
    return strict
