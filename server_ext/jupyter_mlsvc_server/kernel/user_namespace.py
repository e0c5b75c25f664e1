"""The user's names in a kernel, apart from IPython's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

# Outputs (_, _5), inputs (_i, _i5), histories (_oh, _ih, _dh) and names like __builtins__.
_IPYTHONS: Final = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h|_exit_code|__\w+__")
_MISSING: Final = object()


class UserSpace:
    """Reads and changes the names of the user's code.

    Parameters
    ----------
    shell
        The IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    @property
    def namespace(self) -> dict[str, Any]:
        """The globals of the user's code, with IPython's names in it."""
        namespace: dict[str, Any] = self._shell.user_ns
        return namespace

    def items(self) -> Iterator[tuple[str, Any]]:
        """Give the user's names, in order of definition, with their objects."""
        return ((name, value) for name, value in list(self.namespace.items()) if self._is_own(name))

    def foreign_names(self) -> set[str]:
        """Give the names that are not the user's."""
        return {name for name in list(self.namespace) if not self._is_own(name)}

    def get(self, name: str) -> Any:
        """Give the object of a name.

        Raises
        ------
        KeyError
            There is none, or it is IPython's.
        """
        if not self._is_own(name):
            raise KeyError(name)
        return self.namespace[name]

    def update(self, values: Mapping[str, Any]) -> None:
        """Set names."""
        self._shell.push(dict(values))

    def claim(self, names: Iterable[str]) -> None:
        """Note that names which were set are the user's."""
        for name in names:
            self._shell.user_ns_hidden.pop(name, None)

    def delete(self, name: str) -> None:
        """Remove a name, and its object from IPython's list of results."""
        self._shell.del_var(name)

    def similar_to(self, name: str) -> list[str]:
        """Give the user's names that look like a name, the most similar first."""
        from difflib import get_close_matches

        return get_close_matches(name, [own for own, _ in self.items()])

    def _is_own(self, name: object) -> bool:
        if not isinstance(name, str) or name not in self.namespace or _IPYTHONS.fullmatch(name):
            return False
        # A name of IPython's that the user gave to something else is the user's.
        hidden = self._shell.user_ns_hidden.get(name, _MISSING)
        return hidden is _MISSING or hidden is not self.namespace[name]
