from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.transport import ApiRequest, ApiResponse
from jupyter_mlsvc.errors import ConnectionFailed
from jupyter_mlsvc.magics.connection import MlsvcConnection

from ..client.fake import answer  # noqa: TID252 - tests are no installed package

SESSIONS = [
    {"id": name, "name": name, "owner": "maria", "runtimeType": "Python"}
    for name in ("train", "try out")
]
COLUMNS = [{"name": "rooms", "type": "int64"}, {"name": "größe", "type": "float64"}]
SERVICES = [
    {
        "name": name,
        "version": version,
        "versionPublishedBy": "maria",
        "creationTime": "2026-11-23T13:38:07.1234560",
        "snapshotId": None,
        "runtimeType": "Python",
        "description": "",
        "operationId": None,
        "inputParameterDefinitions": [given],
        "outputParameterDefinitions": [],
        "outputFileNames": [],
        "myPermissionOnService": "read/write",
    }
    for name, version, given in (
        ("Iris", "V1.0", {"name": "flower_data", "type": "vector"}),
        ("Iris", "V2.0", {"name": "petals", "type": "vector"}),
        ("bos-rf", "1", {"name": "homes", "type": "data.frame", "columns": COLUMNS}),
    )
]


SNAPSHOTS = [
    {
        "id": "s1",
        "name": "Iris-1",
        "owner": "maria",
        "creationTime": "2026-11-23T13:38:07.1234560",
        "contentSize": 2048,
    }
]
KEY = {
    "id": "k1",
    "name": "billing",
    "services": ["Iris"],
    "note": "",
    "maker": "maria",
    "state": "active",
    "creationTime": "2026-11-23T13:38:07.1234560",
    "expirationTime": None,
    "rate": None,
    "origins": [],
    "calls": 3,
    "lastUse": None,
}
ANSWERS = {
    "/keys": [KEY],
    "/sessions": SESSIONS,
    "/snapshots": SNAPSHOTS,
    "/sessions/train/workspace": ["clf", "counts", "iris"],
    "/sessions/train/files": ["data.csv", "notes.txt"],
}


class Names:
    """A server that knows some names, and may be slow or broken."""

    def __init__(self) -> None:
        self.calls = 0
        self.answers = threading.Event()
        self.answers.set()
        self.is_broken = False

    def send(self, request: ApiRequest) -> ApiResponse:
        self.calls += 1
        assert self.answers.wait(60)
        if self.is_broken:
            raise ConnectionFailed("https://fake:1")
        return answer(ANSWERS.get(request.path, SERVICES))


@pytest.fixture
def names(connection: MlsvcConnection) -> Iterator[Names]:
    names = Names()
    client = Client("https://fake:1", "token", transport=names)
    connection._client = client
    connection._current = client.sessions.with_id("train")
    connection.namespace.update(mine_a=1, mine_b=2)
    yield names
    names.answers.set()


def complete(shell: InteractiveShell, text: str) -> list[str]:
    """What a user can choose at the end of the text: the whole words."""
    # Jedi takes seconds to start and has no part in this.
    shell.Completer.use_jedi = False
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, len(text)))
    start = len(text) - len(text.rpartition(" ")[2])
    return [text[start : item.start] + item.text for item in found]


CASES = {
    "%mlsvc ses": ["sessions", "session"],
    "%mlsvc get c": ["clf", "counts"],
    "%mlsvc get clf,i": ["clf,iris"],
    "%mlsvc get clf, i": ["iris"],
    "%mlsvc get --session train cl": ["clf"],
    "%mlsvc get --se": ["--session"],
    "%mlsvc put mine": ["mine_a", "mine_b"],
    "%mlsvc put mine_a,mine": ["mine_a,mine_a", "mine_a,mine_b"],
    "%mlsvc download d": ["data.csv"],
    "%mlsvc load I": ["Iris-1"],
    "%mlsvc snapshot I": ["Iris-1"],
    "%mlsvc session new --snapshot I": ["Iris-1"],
    "%mlsvc session ": ["new", "switch", "close", "train", "try out"],
    "%mlsvc session close tra": ["train"],
    "%mlsvc attach tra": ["train"],
    "%mlsvc service I": ["Iris"],
    "%mlsvc key ": ["create", "list", "revoke"],
    "%mlsvc key create page --services Ir": ["Iris"],
    "%mlsvc key revoke ": ["billing"],
    "%mlsvc service Iris ": ["V1.0", "V2.0"],
    "%mlsvc service Iris V1.0 ": [],
    "svc = %mlsvc service bos-": ["bos-rf"],
    "%mlsvc delete Iris V2": ["V2.0"],
    "%mlsvc update Iris V1.0 --descript": ["--description"],
    "%mlsvc services ": ["Iris", "bos-rf"],
    "%consume Iris V": ["V1.0", "V2.0"],
    "%consume Iris V1.0 fl": ["flower_data="],
    "%consume Iris pet": ["petals="],
    "%consume bos-rf 1 ho": ["homes=", 'homes={"rooms":[],"größe":[]}'],
    "r = %consume bo": ["bos-rf"],
    "frame = %batch bo": ["bos-rf"],
    "%batch Iris V": ["V1.0", "V2.0"],
    "%batch Iris V1.0 ": [],
    "%batch Iris frame --par": ["--parallel"],
    "%publish Ir": ["Iris"],
    "%publish Iris V3.0 --snap": ["--snapshot"],
    "%publish Iris V3.0 --session tr": ["train", "try out"],
    "%%remote_exec --session tra": ["train"],
    "%%remote_exec -s tra": ["train"],
    "%%remote_exec --out": ["--outputs"],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items(), ids=list(CASES))
@pytest.mark.usefixtures("names")
def test_what_can_follow_is_offered(
    shell: InteractiveShell, text: str, expected: list[str]
) -> None:
    assert [item for item in complete(shell, text) if item in expected] == expected
    if expected:
        assert complete(shell, text) == expected


def test_the_server_is_asked_once_for_many_keys(shell: InteractiveShell, names: Names) -> None:
    for text in ("%consume I", "%consume Ir", "%consume Iri"):
        assert complete(shell, text) == ["Iris"]
    assert names.calls == 1


def test_a_slow_server_does_not_hold_the_keys_up(shell: InteractiveShell, names: Names) -> None:
    names.answers.clear()
    complete(shell, "%consume I")
    # Nothing was answered yet, and the keys are free.
    assert not names.answers.is_set()
    assert names.calls == 1


def test_a_broken_server_is_not_shown(
    shell: InteractiveShell, names: Names, capfd: pytest.CaptureFixture[str]
) -> None:
    names.is_broken = True
    complete(shell, "%consume I")
    assert capfd.readouterr() == ("", "")


def test_where_nobody_is_logged_in_nothing_is_asked(
    shell: InteractiveShell, connection: MlsvcConnection
) -> None:
    names = Names()
    connection._client = Client("https://fake:1", transport=names)
    complete(shell, "%consume I")
    assert names.calls == 0


def test_other_lines_are_left_alone(shell: InteractiveShell, names: Names) -> None:
    complete(shell, "x = consume")
    complete(shell, "%timeit I")
    assert names.calls == 0
