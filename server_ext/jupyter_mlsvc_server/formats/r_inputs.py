"""Requests to the helper in an R session, and the process that writes large ones.

As a program this module reads the values and types of inputs, and writes the request that sets
them. What is wrong with them is its output::

    python -I -m jupyter_mlsvc_server.formats.r_inputs INPUTS REQUEST
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.values import ValueProblem, plain_input
from jupyter_mlsvc_server.formats.r_code import r_json

_NICE: Final = 10


def r_request(op: str, data: dict[str, Any]) -> bytes:
    """Write a request; its inputs that have a type are what R makes of that type.

    Raises
    ------
    ValueProblem
        An input is not of its type, or R cannot hold it.
    """
    if types := data.get("types"):
        typed = {
            name: plain_input(
                ParameterDefinition(name=name, type=type_name), data["values"][name], name
            )
            for name, type_name in types.items()
        }
        data = {**data, "values": {**data["values"], **typed}}
    return r_json({"op": op, **data})


def write_apart(inputs: Path, request: Path) -> str:
    """Have the request written that sets large inputs, while the server goes on; blocks.

    Returns
    -------
    str
        What is wrong with the inputs; empty where the request is written.

    Raises
    ------
    OSError
        The request could not be written.
    """
    command = [sys.executable, "-I", "-m", __name__, str(inputs), str(request)]
    written = subprocess.run(  # noqa: S603 - our own module, no shell
        command, stdout=subprocess.PIPE, check=False, text=True, encoding="utf-8"
    )
    if written.returncode in errno.errorcode:
        raise OSError(written.returncode, os.strerror(written.returncode))
    written.check_returncode()
    return written.stdout


def main(inputs: str, request: str) -> None:
    """Write a request, or what is wrong."""
    try:
        body = r_request("set", msgspec.json.decode(Path(inputs).read_bytes()))
    except ValueProblem as problem:
        sys.stdout.buffer.write(str(problem).encode(errors="backslashreplace"))
        return
    try:
        with Path(request).open("xb") as file:
            file.write(body)
    except OSError as error:
        sys.exit(error.errno)


if __name__ == "__main__":
    os.nice(_NICE)
    main(*sys.argv[1:])
