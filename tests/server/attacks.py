"""Attacks by code of a session or a service; each says in a word or two what it got, or raises.

The text of this module runs in the session or service: it has what stands here and no more.
"""

import ctypes
import glob
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_MANY_FILES = 8192
_SOCKETS = ""  # where kernels have theirs
_SHARED = ""  # shared memory of the victim
_OPENED = ""  # a folder that the operator lets code write into; it has a file ``kept``


def _parents() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1:
        with open(f"/proc/{pid}/status") as status:
            pid = int(status.read().split("PPid:")[1].split()[0])
        if pid > 1:
            yield pid


def _program(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as line:
        return line.read().replace(b"\0", b" ").decode()


def _strangers() -> list[int]:
    """List the processes above that are not the own service's: guard or forkserver first."""
    above = list(_parents())
    forks = [
        pid
        for pid in above
        if "worker.forkserver" in _program(pid) and "guard.py" not in _program(pid)
    ]
    return [pid for pid in above if pid not in forks[:-1]]


def _server() -> int:
    return next(pid for pid in _strangers() if "jupyter_mlsvc_server serve" in _program(pid))


def _got(path: str) -> str:
    with open(path, "rb") as file:
        return f"read {path}" if file.read(1) else ""


def _any(work: Callable[[Any], Any], things: Iterable[Any]) -> str:
    """Give what the first of some attacks got that was not refused."""
    for thing in things:
        try:
            if got := work(thing):
                return str(got)
        except (OSError, ValueError, StopIteration):
            continue
    return ""


def read_the_signing_key(data: str, _victim: str) -> str:
    return _got(f"{data}/secret.key")


def read_the_database(data: str, _victim: str) -> str:
    return _any(_got, [f"{data}/mlsvc.db", f"{data}/mlsvc.db-wal"])


def read_the_secret_of_hosts(data: str, _victim: str) -> str:
    return _got(f"{data}/server.secret")


def read_the_key_through_a_process(data: str, _victim: str) -> str:
    return _got(f"/proc/{_server()}/root{data}/secret.key")


def link_the_key_into_the_own_folder(data: str, _victim: str) -> str:
    os.link(f"{data}/secret.key", "linked")
    return _got("linked")


def move_the_key_into_the_own_folder(data: str, _victim: str) -> str:
    os.rename(f"{data}/secret.key", "moved")
    return "moved the key"


def list_the_data_folder(data: str, _victim: str) -> str:
    return " ".join(os.listdir(data))


def list_other_sessions(data: str, _victim: str) -> str:
    return _any(lambda folder: " ".join(os.listdir(folder)), [f"{data}/sessions", f"{data}/work"])


def read_a_file_of_another_session(_data: str, victim: str) -> str:
    return _got(f"{victim}/diary.txt")


def write_into_another_session(_data: str, victim: str) -> str:
    pathlib.Path(victim, "planted.py").write_text("1")
    return "planted a module"


def read_the_connection_file_of_another_kernel(_data: str, victim: str) -> str:
    return _got(f"{os.path.dirname(victim)}/connection.json")


def listen_to_another_kernel(_data: str, _victim: str) -> str:
    def connect(path: str) -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            return f"connected to {path}" if client.recv(1) else ""

    with open("/proc/net/unix") as table:
        paths = {line.split()[7] for line in table if len(line.split()) > 7}
    return _any(connect, [path for path in paths if path.startswith(_SOCKETS)])


def ask_the_server_as_a_host(data: str, _victim: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(f"{data}/server.sock")
        client.sendall(b"GET /user HTTP/1.1\r\nHost: localhost\r\nX-Mlsvc-User: admin\r\n\r\n")
        answer = client.recv(2**16).decode()
    return "is an owner" if "owner" in answer else ""


def read_a_blob(data: str, _victim: str) -> str:
    return _any(_got, glob.glob(f"{data}/blobs/*/*"))


def list_blobs(data: str, _victim: str) -> str:
    return " ".join(os.listdir(f"{data}/blobs"))


def read_environments(_data: str, _victim: str) -> str:
    return _any(_got, [f"/proc/{pid}/environ" for pid in _strangers()])


def read_memory(_data: str, _victim: str) -> str:
    return _any(lambda pid: os.open(f"/proc/{pid}/mem", os.O_RDWR), _strangers())


def read_descriptors(_data: str, _victim: str) -> str:
    def open_one(pid: int) -> str:
        return _any(_got, [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")])

    return _any(open_one, _strangers())


def trace(_data: str, _victim: str) -> str:
    attach = 16
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in _strangers():
        if libc.ptrace(attach, pid, None, None) == 0:
            os.waitpid(pid, 0)
            libc.ptrace(17, pid, None, None)
            return f"traces {_program(pid)}"
    return ""


def signal_the_server(_data: str, _victim: str) -> str:
    os.kill(_server(), signal.SIGURG)
    return "sent a signal"


def signal_what_guards_it(_data: str, _victim: str) -> str:
    def send(pid: int) -> str:
        os.kill(pid, signal.SIGURG)
        return f"sent {pid} a signal"

    return _any(send, _strangers())


def have_capabilities(_data: str, _victim: str) -> str:
    shown = subprocess.run(
        ["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=True
    ).stdout
    held = [line for line in shown.splitlines() if line.startswith(("CapPrm", "CapEff", "CapBnd"))]
    return "".join(line for line in held if int(line.split()[1], 16)) if os.geteuid() == 0 else ""


def change_the_system(_data: str, _victim: str) -> str:
    def write(path: str) -> str:
        with open(path, "a"):
            return f"may write {path}"

    return _any(write, ["/etc/passwd", f"{sys.prefix}/planted", "/usr/planted", "/planted"])


def read_the_accounts_secrets(_data: str, _victim: str) -> str:
    home = os.path.expanduser(f"~{os.environ.get('USER') or 'root'}")
    return _any(lambda path: _got(path) if os.path.isfile(path) else os.listdir(path), [
        "/etc/shadow", home, f"{home}/.ssh", f"{home}/.bashrc", f"{home}/.bash_history",
        f"{home}/.jupyter", f"{home}/.local/share/jupyter/runtime",
    ])  # fmt: skip


def write_the_servers_log(_data: str, _victim: str) -> str:
    written = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.endswith(".log"):
            written.append(target)
    return " ".join(written)


def replace_the_own_folder_by_a_link(_data: str, _victim: str) -> str:
    here = os.getcwd()
    os.rename(here, f"{here}.old")
    os.symlink("/etc", here)
    return "replaced the folder"


def use_the_network(_data: str, _victim: str) -> str:
    with socket.socket() as client:
        client.settimeout(10)
        try:
            client.connect(("127.0.0.1", 9))
        except ConnectionRefusedError:
            return "reached a port"
    return "connected"


def send_a_datagram(_data: str, _victim: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        return f"sent {client.sendto(b'hello', ('127.0.0.1', 9))} bytes"


def ask_for_addresses(_data: str, _victim: str) -> str:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as client:
        client.bind((0, 0))
        return f"is {client.getsockname()}"


def write_into_an_opened_folder(_data: str, _victim: str) -> str:
    path = pathlib.Path(_OPENED, f"by-{os.urandom(8).hex()}")
    path.write_text("written")
    return f"wrote {path}"


def cut_a_file_short(_data: str, _victim: str) -> str:
    os.truncate(f"{_OPENED}/kept", 1)
    return "cut a file short"


def link_out_of_the_own_folder(_data: str, _victim: str) -> str:
    os.link(f"{_OPENED}/kept", f"{_OPENED}/linked-{os.urandom(8).hex()}")
    return "linked a file"


def write_into_the_home_folder(_data: str, _victim: str) -> str:
    return str(pathlib.Path.home().joinpath("kept").write_text("for the next call"))


def write_into_the_working_folder(_data: str, _victim: str) -> str:
    return str(pathlib.Path("kept").write_text("by this call"))


def make_shared_memory(_data: str, _victim: str) -> str:
    path = pathlib.Path(f"/dev/shm/mlsvc-made-{os.getpid()}")
    path.touch()
    path.unlink()
    return "made shared memory"


def open_files_without_end(_data: str, _victim: str) -> str:
    files = []
    try:
        for _ in range(_MANY_FILES):
            files.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for each in files:
            os.close(each)
    return f"{len(files)} open files"


def write_a_file_without_end(_data: str, _victim: str) -> str:
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, 2**27)
        return "a large file"


def allocate_without_end(_data: str, _victim: str) -> str:
    try:
        return f"{len(bytearray(2**33))} bytes"
    except MemoryError:
        return ""


def dump_core(_data: str, _victim: str) -> str:
    import resource

    return (
        f"{resource.getrlimit(resource.RLIMIT_CORE)}"
        if any(resource.getrlimit(resource.RLIMIT_CORE))
        else ""
    )


# --- what only a sandbox keeps it from --------------------------------------------------------


def look_at_the_servers_files(data: str, _victim: str) -> str:
    return f"{os.stat(f'{data}/secret.key').st_size} bytes"


def change_a_mode(data: str, _victim: str) -> str:
    os.chmod(f"{data}/secret.key", 0o600)
    return "changed a mode"


def see_other_processes(_data: str, _victim: str) -> str:
    seen = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid > 1]
    return _any(lambda pid: pid if "serve" in _program(pid).split() else "", seen)


def connect_to_a_socket(data: str, _victim: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{data}/server.sock")
    return "connected"


def open_shared_memory_of_another(_data: str, _victim: str) -> str:
    return _got(f"/dev/shm/{_SHARED}")


def run_all(data: str, victim: str) -> dict[str, str]:
    """Try everything; gives what succeeded."""
    attacks = {
        name: each
        for name, each in list(globals().items())
        if callable(each) and not name.startswith("_") and name != "run_all"
        and getattr(each, "__code__", None) is not None and each.__code__.co_argcount == 2
    }  # fmt: skip
    got = {}
    for name, attack in attacks.items():
        try:
            got[name] = str(attack(data, victim) or "")
        except (OSError, ValueError, StopIteration):
            got[name] = ""
    return got
