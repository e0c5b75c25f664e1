"""What people's code may reach: settings, and the policies that follow from them.

A policy is made for each kernel and each template, and ``formats.confine`` carries it out. What is
the same for all is found once: where interpreters, libraries and devices are.

The folders that all may read must not hold what nobody may. Rules only allow, so a folder above the
data folder is replaced by what else is in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import stat
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psutil
from jupyter_core.paths import jupyter_config_dir, jupyter_runtime_dir
from traitlets import Bool, Enum, Float, Integer, Unicode, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.cgroups import Cgroups, NoCgroups
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats import sandbox
from jupyter_mlsvc_server.formats.confine import (
    LINK,
    READ_ONLY_ABI,
    SCOPES_ABI,
    Policy,
    can_close_network,
    landlock_abi,
)
from jupyter_mlsvc_server.formats.private_files import private_directory
from jupyter_mlsvc_server.id_range import IdRange, closed_to_others, why_no_users
from jupyter_mlsvc_server.storage.traits import TextList

NONE: Final = "none"
BASIC: Final = "basic"
SANDBOX: Final = "sandbox"
USER: Final = "user"

_SYSTEM: Final = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix/store", "/gnu/store",
    "/proc", "/sys", "/var/cache/fontconfig", "/var/lib/texmf",
)  # fmt: skip
"""Folders of programs and libraries, and what the system says of itself."""

_SYSTEM_SETTINGS: Final = (
    "R", "alternatives", "bash.bashrc", "ca-certificates", "crypto-policies", "debian_version",
    "default/locale", "fonts", "gai.conf", "gitconfig", "group", "host.conf", "hostname", "hosts",
    "inputrc", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "krb5.conf", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "lsb-release",
    "machine-id", "magic", "matplotlibrc", "mime.types", "nsswitch.conf", "OpenCL", "odbc.ini",
    "odbcinst.ini", "os-release", "passwd", "pip.conf", "pki/ca-trust", "pki/tls/certs", "profile",
    "profile.d", "protocols", "redhat-release", "resolv.conf", "services", "skel", "ssl/cert.pem",
    "ssl/certs", "ssl/openssl.cnf", "terminfo", "texmf", "timezone", "vulkan", "xattr.conf",
)  # fmt: skip
"""What programs read in ``/etc``, where other things are secret."""

_DEVICES: Final = (
    "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "dri", "kfd", "fuse",
    "nvidia*",
)  # fmt: skip

_PATH_VARIABLES: Final = (
    "PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX",
    "R_HOME", "R_LIBS", "R_LIBS_SITE", "R_LIBS_USER", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
"""Variables that code inherits, and that name folders or files, with colons between them."""

_CONFINES_NOTHING: Final = "this server confines no code (Confinement.level is none)"


class CannotConfine(MlsvcServerError):
    """The configured level is not possible here; the message says what to do."""


class Confinement(LoggingConfigurable):
    """Settings of what the code of sessions and services may reach."""

    level = Enum(
        [NONE, BASIC, SANDBOX, USER],
        help="How the code of sessions and services is confined. basic: it may read programs, "
        "libraries and what is its own, write into its own folders, and neither signal nor read "
        "other processes (Linux 5.13 or later, with Landlock). sandbox: besides, it sees no other "
        "files and processes, and has shared memory of its own (user namespaces). user: besides, "
        "it has a user id of the range uids for each person (root; without the sandbox where the "
        "system has no room for one, as the status says). none: it may do "
        "what the server's account may do. Default: basic where the system can do it, else none.",
    ).tag(config=True)
    allow_unconfined = Bool(
        False,
        help="Whether the server starts at level none although there is more than one account, or "
        "a provider of identities; all of them can then become owners.",
    ).tag(config=True)
    uids = Unicode(
        "",
        help="At level user, the ids of users and groups that nobody else has, such as "
        "2000000-2065535. The first is a group of them all, each other one a person's, for good.",
    ).tag(config=True)
    readable_paths = TextList(
        help="Folders and files that the code of sessions and services may read besides, such as "
        "those with data.",
    ).tag(config=True)
    writable_paths = TextList(
        help="Folders that the code of sessions and services may write into besides.",
    ).tag(config=True)
    network = Bool(
        True,
        help="Whether the code of sessions and services may use the network. Without it, code has "
        "Unix sockets alone, and a version can't ask for more.",
    ).tag(config=True)
    max_open_files = Integer(
        4096, min=64, help="Files that a process of a session or service may have open."
    ).tag(config=True)
    max_file_bytes = Integer(
        64 * 2**30,
        min=2**20,
        help="Largest file, in bytes, that a process of a session or service may write.",
    ).tag(config=True)
    max_memory_bytes = Integer(
        min=2**26,
        help="Bytes that a process of a session or service may allocate; code that needs more gets "
        "a MemoryError. Default: the memory of the machine.",
    ).tag(config=True)
    max_total_memory_bytes = Integer(
        0,
        min=0,
        help="Bytes that all processes of a session or service version may have together, at level "
        "user where the server has a cgroup that it may divide. 0 sets no limit.",
    ).tag(config=True)
    max_processors = Float(
        0.0,
        min=0,
        help="Processors that a session or service version may keep busy, at level user where the "
        "server has a cgroup that it may divide. 0 sets no limit.",
    ).tag(config=True)
    max_processes = Integer(
        4096,
        min=16,
        help="Processes and threads that a session or a service version may have; one with more is "
        "ended. Where the server does not run as root, its code can start no more either when the "
        "account has so many.",
    ).tag(config=True)

    def __init__(self, *, data_dir: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._abi = landlock_abi()
        hidden = [str(data_dir), jupyter_runtime_dir(), jupyter_config_dir()]
        self._hidden = [_real(path) for path in (*hidden, *self._files_with_secrets())]
        self._data_dir = _real(data_dir)
        self._user_of: Callable[[str], Awaitable[int]] = _nobody
        self._cgroups: Cgroups | None = None
        self._why_no_cgroups = "that is for level user"

    @default("level")
    def _default_level(self) -> str:
        return BASIC if landlock_abi() else NONE

    @default("max_memory_bytes")
    def _default_max_memory_bytes(self) -> int:
        return int(psutil.virtual_memory().total)

    def require(self, accounts: int, *, lets_others_in: bool = False) -> None:
        """See to it that code is confined as configured.

        Parameters
        ----------
        accounts
            How many accounts there are.
        lets_others_in
            Whether providers of identities let people in who have none yet.

        Raises
        ------
        CannotConfine
            It can't be, or it is not and has to be.
        """
        if self.level != NONE and not self._abi:
            raise CannotConfine(
                f"Confinement.level is {self.level}, which needs Landlock: Linux 5.13 or later, "
                "where the administrator has not turned it off. Leave the setting out, or set it "
                "to none."
            )
        if self.level == SANDBOX and (problem := why_no_sandbox()):
            raise CannotConfine(
                f"Confinement.level is sandbox, which needs user namespaces ({problem}). Allow "
                "them, or set it to basic."
            )
        if self.level == USER:
            if problem := self.why_no_users():
                raise CannotConfine(
                    f"Confinement.level is user, and can't be had: {problem}, or set the level to "
                    "basic."
                )
            try:
                self._cgroups = Cgroups()
            except NoCgroups as why:
                self._why_no_cgroups = str(why)
        if not self.network and (problem := self._why_no_closed_network()):
            raise CannotConfine(
                f"Confinement.network is false, and code can't be kept from it: {problem}. Leave "
                "the setting out."
            )
        if self.must_be_alone and (accounts > 1 or lets_others_in):
            some = "providers of identities" if lets_others_in else f"{accounts} accounts"
            raise CannotConfine(
                f"There are {some}, and nothing keeps anybody's code from the secrets of the "
                "server: each could become an owner. Run a server for each "
                "person, or set Confinement.allow_unconfined if all of them trust each other."
            )
        self._report()

    @property
    def must_be_alone(self) -> bool:
        """Whether there may be one account only, as any could become an owner."""
        return self.level == NONE and not self.allow_unconfined

    def why_no_users(self) -> str:
        """Say why people can't have users of their own here; empty where they can."""
        if not self.uids:
            return (
                "it needs ids of users and groups that nobody else has. Name them, as in "
                "Confinement.uids=2000000-2065535"
            )
        try:
            problem = why_no_users(IdRange.read(self.uids))
        except ValueError as error:
            problem = f"Confinement.uids does not fit: {error}"
        needed = (
            *(Path("/etc"), Path(tempfile.gettempdir()), self._data_dir.parent),
            *(Path(sys.prefix), Path(sys.base_prefix)),
        )
        if not problem and (folder := closed_to_others(map(_real, needed))):
            problem = (
                f"other users can't enter {folder}, where the system's settings, temporary files, "
                "the data folder or Python are. Let them enter it (chmod o+x), or have these "
                "elsewhere"
            )
        return problem

    @property
    def group(self) -> int | None:
        """The group that all users of code belong to; None where code has the server's user."""
        return IdRange.read(self.uids).group if self.level == USER else None

    async def user_of(self, account_id: str) -> int:
        """Return the id of the user that an account's code runs as; 0 for the server's own."""
        return await self._user_of(account_id) if self.level == USER else 0

    def take_users(self, user_of: Callable[[str], Awaitable[int]]) -> None:
        """Be told who finds the ids of users by those of accounts."""
        self._user_of = user_of

    @property
    def shared_limits(self) -> str:
        """Say what the processes of a session or service have limits of together."""
        if self._cgroups is not None:
            return ", ".join(self._cgroups.controllers)
        return f"none: {self._why_no_cgroups}"

    def described(self) -> dict[str, str]:
        """Describe it for the server's status."""
        if self.level != USER:
            return {"confinement": self.level}
        return {
            "confinement": self.level,
            "namespaces": self.namespaces,
            "sharedLimits": self.shared_limits,
        }

    def open_cgroup(self, name: str) -> str:
        """Make a group of processes for a session or service; empty where there is none.

        Raises
        ------
        OSError
            The system refuses.
        """
        if self._cgroups is None:
            return ""
        limits = {
            "memory": self.max_total_memory_bytes,
            "pids": self.max_processes,
            "cpu": self.max_processors,
        }
        return str(self._cgroups.open(name, limits))

    def close_cgroup(self, folder: str) -> None:
        """Remove what :meth:`open_cgroup` made."""
        if folder and self._cgroups is not None:
            self._cgroups.close(Path(folder))

    def make_enterable(self, folder: Path) -> Path:
        """Let code enter a folder of the server's, which it can't list; its own are below it."""
        return folder if self.group is None else private_directory(folder, self.group)

    def _report(self) -> None:
        if self.level == NONE:
            self.log.warning(
                "code of sessions and services is not confined: it may do what the server's "
                "account may do (Confinement.level is none)"
            )
            return
        how = ", without the rights of root" if os.geteuid() == 0 else ""
        if self.level == USER:
            how += f", a user of {self.uids} for each person"
        self.log.info("code of sessions and services is confined: level %s%s", self.level, how)
        if self.level == USER:
            self.log.info("limits of all processes together: %s", self.shared_limits)
            if self._why_no_namespaces:
                self.log.warning(
                    "code sees the names of other files and processes, since it can't have "
                    "namespaces of its own (%s)",
                    self._why_no_namespaces,
                )
        if self._abi < SCOPES_ABI:
            self.log.warning(
                "this system (Landlock ABI %d) does not keep code of sessions and services from "
                "sending signals to the server; Linux 6.12 or later does",
                self._abi,
            )

    @property
    def process_limit(self) -> int:
        """Processes and threads that a session or service version may have; 0 for any number."""
        return 0 if self.level == NONE else self.max_processes

    @property
    def may_share(self) -> bool:
        """Whether versions of one person may have processes with one policy in common.

        They may not where that has the processes of each apart, or counts them together.
        """
        return self.level in {NONE, BASIC}

    @property
    def hides_processes(self) -> bool:
        """Whether code has process ids of its own."""
        return not self._why_no_namespaces

    @property
    def namespaces(self) -> str:
        """Say whether code has files and processes of its own, and why not."""
        return f"none: {self._why_no_namespaces}" if self._why_no_namespaces else "own"

    @cached_property
    def _why_no_namespaces(self) -> str:
        if self.level == USER:
            return why_no_sandbox(as_root=True)
        # At level sandbox the server does not start without.
        return "" if self.level == SANDBOX else "that is for levels sandbox and user"

    def refusal(self, *, network: bool, read_only: bool) -> str:
        """Say why a version can't have the confinement that it asks for; empty where it can.

        Parameters
        ----------
        network
            Whether it may use the network.
        read_only
            Whether it may write only what it has to.
        """
        if not network and (problem := self._why_no_closed_network()):
            return f"The version is to have no network, and can't be kept from it: {problem}."
        if read_only and (problem := self._why_not_read_only()):
            return f"The version is to be read-only, and can't be kept from writing: {problem}."
        return ""

    def _why_no_closed_network(self) -> str:
        if self.level == NONE:
            return _CONFINES_NOTHING
        return "" if can_close_network() else "that needs Linux on x86-64 or ARM64, with seccomp"

    def _why_not_read_only(self) -> str:
        if self.level == NONE:
            return _CONFINES_NOTHING
        return "" if self._abi >= READ_ONLY_ABI else "that needs Linux 6.2 or later"

    def policy(
        self,
        *,
        read: Iterable[Path] = (),
        write: Iterable[Path] = (),
        program: str = "",
        network: bool = True,
        read_only: bool = False,
        user: int = 0,
        cgroup: str = "",
    ) -> Policy | None:
        """Make the policy of a process; None where it is not confined.

        Parameters
        ----------
        read, write
            What is its own: files and folders.
        program
            The program that it runs, where that need not be this interpreter.
        network, read_only
            Whether it may use the network, where others may, and writes its own alone.
        user
            Whose it is, as of :meth:`user_of`.
        cgroup
            Group that it joins, as of :meth:`open_cgroup`.
        """
        if self.level == NONE:
            return None
        shared = self._read_only_files if read_only else self._shared_files
        files = [*shared, *(("read", path) for path in self._installation_of(program))]
        files += [("read", str(path)) for path in read]
        files += [("write", str(path)) for path in write]
        if self.hides_processes:
            files += self._links_to(program)
        return Policy(
            tuple(dict.fromkeys(files)),
            self._limits,
            network=self.network and network,
            sandboxed=self.hides_processes,
            user=user,
            group=self.group or 0,
            cgroup=cgroup,
        )

    def _links_to(self, program: str) -> list[tuple[str, str]]:
        """Name the paths by which programs look for what is found elsewhere."""
        found = shutil.which(program) if program else None
        named = [*self._libraries(), *self.readable_paths, *self.writable_paths, sys.executable]
        paths = [Path(each).expanduser() for each in ([*named, found] if found else named)]
        # A link is shown with all that it leads to.
        return [
            (LINK, str(path))
            for path in paths
            if path != (real := _real(path)) and self._without_hidden(real) == [real]
        ]

    @cached_property
    def _limits(self) -> tuple[tuple[str, int], ...]:
        limits = {
            "files": self.max_open_files,
            "file_bytes": self.max_file_bytes,
            "memory": self.max_memory_bytes,
            "core": 0,
            "processes": self.max_processes,
        }
        return tuple(limits.items())

    @cached_property
    def _shared_files(self) -> tuple[tuple[str, str], ...]:
        readable = [*self._libraries(), *self.readable_paths]
        visible = {each for path in readable for each in self._without_hidden(_real(path))}
        devices = [str(each) for name in _DEVICES for each in Path("/dev").glob(name)]
        written = [
            each for path in self.writable_paths for each in self._without_hidden(_real(path))
        ]
        # Python finds what is in a folder of its path by listing that, as in a checkout that holds
        # the data folder as well. It shows names that are hidden otherwise, and no content.
        libraries = {_real(path) for path in self._libraries()} - visible
        listed = {path for path in libraries if not self._is_hidden(path)}
        return (
            *(("read", str(path)) for path in sorted(visible)),
            *(("list", str(path)) for path in sorted(listed)),
            *(("device", path) for path in devices),
            ("shared", "/dev/shm"),  # noqa: S108  # where semaphores are, by names that are not seen
            *(("write", str(path)) for path in written),
        )

    @cached_property
    def _read_only_files(self) -> tuple[tuple[str, str], ...]:
        """Leave nothing to write that belongs to others."""
        kept = (each for each in self._shared_files if each[0] != "shared")
        return tuple(("read" if access == "write" else access, path) for access, path in kept)

    def _files_with_secrets(self) -> Iterator[str]:
        """Name configuration files, and files that settings name and others may not read."""
        yield from getattr(self.parent, "loaded_config_files", ())
        named = [
            value
            for section in self.config.values()
            for name, value in (section.items() if isinstance(section, dict) else ())
            if name.endswith("file") and isinstance(value, str)
        ]
        own = [name for name in os.environ if name.startswith("MLSVC_") and name.endswith("_FILE")]
        for path in (*named, *map(os.environ.__getitem__, own)):
            with contextlib.suppress(OSError):
                if not Path(path).expanduser().stat().st_mode & stat.S_IROTH:
                    yield path

    def _libraries(self) -> Iterator[str]:
        yield from _SYSTEM
        yield from (f"/etc/{name}" for name in _SYSTEM_SETTINGS)
        yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, site.getusersitepackages())
        yield from _installed(sys.path)
        yield str(Path(__file__).parents[1])
        if (client := find_spec("jupyter_mlsvc")) is not None and client.origin:
            yield str(Path(client.origin).parents[1])
        yield from _named_by(os.environ)

    def _installation_of(self, program: str) -> Iterator[str]:
        """Name the folder that a program such as ``/opt/env/bin/python`` is installed in."""
        found = shutil.which(program) if program else None
        for path in {Path(found), _real(found)} if found else set[Path]():
            if path.parent.name == "bin" and path.parent.parent != Path("/"):
                yield from map(str, self._without_hidden(_real(path.parent.parent)))

    def _without_hidden(self, path: Path) -> list[Path]:
        """Name a path, or all that is in it but what is hidden."""
        if self._is_hidden(path):
            return []
        if not any(hidden.is_relative_to(path) for hidden in self._hidden):
            return [path]
        try:
            with os.scandir(path) as entries:
                inner = [Path(entry.path) for entry in entries if not entry.is_symlink()]
        except OSError:
            return []
        return [each for entry in inner for each in self._without_hidden(entry)]

    def _is_hidden(self, path: Path) -> bool:
        return any(path.is_relative_to(hidden) for hidden in self._hidden)


def own_places(environment: Mapping[str, str], home: Path, temporary: Path) -> dict[str, str]:
    """Give the variables by which programs put what they keep into folders of their own.

    Parameters
    ----------
    environment
        The server's own environment.
    home
        What stands for the home folder; packages that the account has installed in its own are
        found all the same.
    temporary
        Where temporary files go.
    """
    account = Path.home()
    return {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "MPLCONFIGDIR": str(home / ".cache" / "matplotlib"),
        "JOBLIB_TEMP_FOLDER": str(temporary),
        "PYTHONUSERBASE": site.getuserbase(),
        "R_LIBS_USER": environment.get("R_LIBS_USER", f"{account}/R/%p-library/%v"),
    }


async def _nobody(account_id: str) -> int:
    raise CannotConfine(f"Nobody knows the user of {account_id}.")


def hand_over(folder: Path, user: int) -> None:
    """Give a folder that nobody else can enter yet, and all that is in it, to a user."""
    if user:
        os.chown(folder, user, user)
        for path in folder.rglob("*"):
            os.chown(path, user, user, follow_symlinks=False)


def seed_caches(home: Path) -> None:
    """Copy into a folder that stands for the home folder what takes long to find out."""
    account = os.environ.get("MPLCONFIGDIR") or Path.home() / ".cache" / "matplotlib"
    folder = home / ".cache" / "matplotlib"
    # Without its list of fonts, matplotlib looks at all of them when it is imported.
    for path in Path(account).glob("fontlist-*.json"):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.name)


def why_no_sandbox(*, as_root: bool = False) -> str:
    """Try what a sandbox needs; gives what the system says against it.

    Parameters
    ----------
    as_root
        Whether root makes it, for code that becomes another user.
    """
    command = [sys.executable, "-I", "-S", sandbox.__file__, *(["root"] if as_root else [])]
    tried = subprocess.run(  # noqa: S603  # our own program
        command, capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else tried.stderr.strip() or "it was ended"


def _real(path: str | Path) -> Path:
    return Path(path).expanduser().resolve()


def _installed(search_path: Iterable[str]) -> Iterator[str]:
    """Name the entries of a search path that are not where this process happens to be."""
    here = Path.cwd()
    return (path for path in search_path if Path(path).is_absolute() and Path(path) != here)


def _named_by(environment: Mapping[str, str]) -> Iterator[str]:
    for name in _PATH_VARIABLES:
        for path in environment.get(name, "").split(os.pathsep):
            if Path(path).is_absolute() and path != "/":
                yield path
    yield "~/R"  # R's own library of the account
