"""Bodies as clients send them: a byte order mark, compressed, in other encodings."""

from __future__ import annotations

import gzip
import json
import pickle
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from backports import zstd

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door

pytestmark = pytest.mark.kernel

MARK = b"\xef\xbb\xbf"


def raw_deflate(data: bytes) -> bytes:
    """Compress without zlib's header, as some clients do."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in capitals": ("GZip", gzip.compress),
    "gzip by its old name": ("x-gzip", gzip.compress),
    "gzip of two members": ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd.compress),
    "one after the other": ("gzip, zstd", lambda data: zstd.compress(gzip.compress(data))),
    "identity": ("identity", lambda data: data),
}


@pytest.fixture(scope="module")
def session_id(door: Door) -> Iterator[str]:
    """A session that all tests here share."""
    answer = door.post("/sessions", json={"runtimeType": "Python"})
    yield answer.json()["sessionId"]
    door.delete(f"/sessions/{answer.json()['sessionId']}")


@pytest.fixture(scope="module")
def published(door: Door) -> Iterator[str]:
    """The name of a service that all tests here share; its version 1.0 adds two numbers."""
    name = f"svc-{uuid.uuid4().hex[:8]}"
    integers = [{"name": name, "type": "integer"} for name in ("a", "b")]
    body = {
        "code": "total = a + b",
        "inputParameterDefinitions": integers,
        "outputParameterDefinitions": [{"name": "total", "type": "integer"}],
        "runtimeType": "Python",
    }
    assert door.post(f"/services/{name}/1.0", json=body).ok
    yield name
    door.delete(f"/services/{name}/1.0")


def error_of(answer: requests.Response, status: int) -> str:
    """Check the status of an error and give its message."""
    assert answer.status_code == status, answer.text
    message: str = answer.json()["message"]
    return message


def execute(door: Door, session_id: str, body: bytes, **headers: str) -> requests.Response:
    """Execute in a session with a body of any kind."""
    return door.post(f"/sessions/{session_id}/execute", data=body, headers=headers)


# --- a byte order mark -----------------------------------------------------------------------


def test_a_mark_before_a_login_is_skipped(door: Door, mlsvc_server: ServerProcess) -> None:
    body = json.dumps({"username": "admin", "password": mlsvc_server.admin_password}).encode()
    assert door.with_token(None).post("/login", data=MARK + body).status_code == 200


def test_a_mark_before_a_call_is_skipped(door: Door, published: str) -> None:
    answer = door.post(f"/api/{published}/1.0", data=MARK + b'{"a": 1, "b": 2}')
    assert answer.json()["outputParameters"] == {"total": 3}


def test_a_mark_before_code_is_skipped(door: Door, session_id: str) -> None:
    assert execute(door, session_id, MARK + b'{"code": "print(7)"}').json()["success"]


def test_a_mark_alone_is_an_empty_body(door: Door, published: str) -> None:
    answer = door.post("/sessions", data=MARK)
    assert answer.status_code == 201
    door.delete(f"/sessions/{answer.json()['sessionId']}")
    assert "'a'" in error_of(door.post(f"/api/{published}/1.0", data=MARK), 400)


def test_only_one_mark_is_skipped(door: Door, published: str) -> None:
    answer = door.post(f"/api/{published}/1.0", data=MARK * 1000 + b'{"a": 1, "b": 2}')
    assert "JSON" in error_of(answer, 400)


def finished_batch(door: Door, path: str, body: bytes, **headers: str) -> list[Any]:
    """Run a batch and give the outputs."""
    started = door.post(f"{path}/batch", data=body, headers=headers)
    assert started.status_code == 202, started.text
    url = f"{path}/batch/{started.json()['batchExecutionId']}"
    while (status := door.get(url).json())["state"].lower() != "complete":
        assert status["state"].lower() != "failed", status
    door.delete(url)
    return [each["outputParameters"] for each in status["batchExecutionResults"]]


def test_a_mark_before_the_records_of_a_batch_is_skipped(door: Door, published: str) -> None:
    outputs = finished_batch(door, f"/api/{published}/1.0", MARK + b'[{"a": 1, "b": 2}]')
    assert outputs == [{"total": 3}]


# --- Content-Encoding ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "encode"), CODINGS.values(), ids=CODINGS)
def test_encoded_bodies_are_decoded(
    door: Door, published: str, session_id: str, name: str, encode: Callable[[bytes], bytes]
) -> None:
    coded = {"Content-Encoding": name}
    call = f"/api/{published}/1.0"
    body = encode(b'{"a": 1, "b": 2}')
    for _ in range(2):  # the second one's head has been seen before
        answer = door.post(call, data=body, headers=coded)
        assert answer.json()["outputParameters"] == {"total": 3}
    pieces = door.post(call, data=iter([body[:9], body[9:]]), headers=coded)
    assert pieces.json()["outputParameters"] == {"total": 3}
    assert execute(door, session_id, encode(b'{"code": "x = 6"}'), **coded).json()["success"]
    pickled = encode(pickle.dumps(7))
    assert door.post(f"/sessions/{session_id}/workspace/y", data=pickled, headers=coded).ok
    answer = execute(door, session_id, b'{"code": "", "outputParameters": ["x", "y"]}')
    assert [each["value"] for each in answer.json()["outputParameters"]] == [6, 7]


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_encoded_forms_are_decoded(door: Door, session_id: str, name: str) -> None:
    content = b"0123456789" * 500_000
    form = requests.Request("POST", "http://x", files={"file": ("digits.txt", content)}).prepare()
    assert isinstance(form.body, bytes)
    headers = {"Content-Type": form.headers["Content-Type"], "Content-Encoding": name}
    body = CODINGS[name][1](form.body)
    answer = door.post(f"/sessions/{session_id}/files", data=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert door.get(f"/sessions/{session_id}/files/digits.txt").content == content


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_encoded_batches_are_decoded(door: Door, published: str, name: str) -> None:
    records = json.dumps([{"a": number, "b": 1} for number in range(50)]).encode()
    body = CODINGS[name][1](records)
    outputs = finished_batch(door, f"/api/{published}/1.0", body, **{"Content-Encoding": name})
    assert outputs == [{"total": number + 1} for number in range(50)]


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd"])
def test_a_small_body_that_stands_for_a_large_one_is_413(
    door: Door, published: str, session_id: str, name: str
) -> None:
    bomb = CODINGS[name][1](b'{"a": 1, "b": ' + b" " * (80 * 2**20) + b"2}")
    assert len(bomb) < 2**18
    coded = {"Content-Encoding": name}
    answer = door.post(f"/api/{published}/1.0", data=bomb, headers=coded)
    assert "decoded" in error_of(answer, 413)
    assert "decoded" in error_of(execute(door, session_id, bomb, **coded), 413)


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd"])
def test_a_body_that_is_not_what_its_header_says_is_400(
    door: Door, published: str, name: str
) -> None:
    path = f"/api/{published}/1.0"
    coded = {"Content-Encoding": name}
    whole = CODINGS[name][1](b'{"a": 1, "b": 2}')
    for sent, word in ((b'{"a": 1, "b": 2}', "no " + name), (whole[:-3], "ends")):
        assert word in error_of(door.post(path, data=sent, headers=coded), 400)
        assert word in error_of(door.post("/sessions", data=sent, headers=coded), 400)


@pytest.mark.parametrize("name", ["br", "compress", "gzip, br", "aws-chunked"])
def test_an_unknown_coding_is_415_and_named(door: Door, published: str, name: str) -> None:
    coded = {"Content-Encoding": name}
    for path in (f"/api/{published}/1.0", "/sessions", f"/api/{published}/1.0/batch"):
        answer = door.post(path, data=b"{}", headers=coded)
        assert name.rsplit(maxsplit=1)[-1] in error_of(answer, 415)
        assert answer.headers["Accept-Encoding"] == "gzip, deflate, zstd"
        assert answer.json()["exceptionType"] == "UnsupportedMediaTypeException"


def test_nobody_has_a_body_decoded_without_a_token(door: Door, published: str) -> None:
    answer = door.with_token(None).post(
        f"/api/{published}/1.0", data=b"{}", headers={"Content-Encoding": "br"}
    )
    assert answer.status_code == 401


# --- charsets and encodings ------------------------------------------------------------------


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii", "ASCII"])
def test_charsets_that_are_utf_8_are_read(door: Door, published: str, charset: str) -> None:
    typed = {"Content-Type": f"application/json; charset={charset}"}
    answer = door.post(f"/api/{published}/1.0", data=b'{"a": 1, "b": 2}', headers=typed)
    assert answer.json()["outputParameters"] == {"total": 3}


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", '"windows-1252"', "cp850"])
def test_another_charset_is_415_and_named(door: Door, published: str, charset: str) -> None:
    typed = {"Content-Type": f"application/json; charset={charset}"}
    path = f"/api/{published}/1.0"
    for _ in range(2):  # a call that goes well may teach the server a short way
        assert door.post(path, json={"a": 1, "b": 2}).ok
    for each in (path, "/sessions"):
        answer = door.post(each, data=b"{}", headers=typed)
        assert charset.strip('"') in error_of(answer, 415)


def test_the_charset_of_bytes_does_not_matter(door: Door, session_id: str) -> None:
    typed = {"Content-Type": "application/octet-stream; charset=binary"}
    path = f"/sessions/{session_id}/workspace/x"
    assert door.post(path, data=pickle.dumps(1), headers=typed).ok


TEXT = '{"a": 1, "b": "caf\u00e9"}'
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-be"), "UTF-16"),
    "UTF-16, the other way": (TEXT.encode("utf-16-le"), "UTF-16"),
    "UTF-32": (TEXT.encode("utf-32"), "UTF-32"),
    "Latin-1": (TEXT.encode("latin-1"), "Latin-1"),
    "NaN": (b'{"a": 1, "b": NaN}', "NaN"),
    "nan": (b'{"a": 1, "b": nan}', "nan"),
    "Infinity": (b'{"a": 1, "b": Infinity}', "Infinity"),
    "-Infinity": (b'{"a": 1, "b": -Infinity}', "-Infinity"),
    "NaN in a list": (b'{"a": [1.5,NaN,2], "b": 1}', "NaN"),
    "True": (b'{"a": True, "b": 1}', "write true"),
    "None": (b'{"a": 1, "b": None}', "write null"),
    "unfinished": (b'{"a": 1, "b": ', "truncated"),
}


@pytest.mark.parametrize(("body", "word"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_wrong_with_a_text_is_named(
    door: Door, published: str, session_id: str, body: bytes, word: str
) -> None:
    call = f"/api/{published}/1.0"
    assert word in error_of(door.post(call, data=body), 400)
    records = body if "UTF" in word else b"[" + body
    assert word in error_of(door.post(f"{call}/batch", data=records), 400)
    code = body.replace(b'"b"', b'"code"')
    assert word in error_of(execute(door, session_id, code), 400)
