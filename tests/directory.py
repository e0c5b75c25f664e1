"""OpenLDAP's slapd on loopback, with three people, for tests that need a directory."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any, Final, Self

from tests.waiting import wait_until

SLAPD: Final = Path("/usr/sbin/slapd")
BASE: Final = "dc=example,dc=org"
PEOPLE: Final = f"ou=people,{BASE}"
GROUPS: Final = f"ou=groups,{BASE}"
SEARCHER: Final = f"cn=searcher,{BASE}"
SEARCHERS_PASSWORD: Final = "looks people up"

_CONFIG: Final = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
allow bind_v2 bind_anon_dn
database mdb
suffix "{base}"
directory {folder}/db
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * auth
"""

_ENTRIES: Final = f"""
dn: {BASE}
objectClass: domain
dc: example

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {GROUPS}
objectClass: organizationalUnit
ou: groups

dn: {SEARCHER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: searcher
userPassword: {SEARCHERS_PASSWORD}

dn: uid=ann,{PEOPLE}
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Ann
userPassword: anns secret
memberOf: cn=data-science,{GROUPS}

dn: uid=eve,{PEOPLE}
objectClass: inetOrgPerson
uid: eve
cn: Eve
sn: Eve
userPassword: eves secret

dn: uid=o\\2Cla*(x),{PEOPLE}
objectClass: inetOrgPerson
uid: o,la*(x)
cn: Ola
sn: Ola
userPassword: olas secret
memberOf: cn=ML-Admins,{GROUPS}

dn: cn=ML-Admins,{GROUPS}
objectClass: groupOfNames
cn: ML-Admins
member: uid=o\\2Cla*(x),{PEOPLE}

dn: cn=data-science,{GROUPS}
objectClass: groupOfNames
cn: data-science
member: uid=ann,{PEOPLE}
"""


class Directory:
    """The directory; answers from ``with`` on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca_file = folder / "cert.pem"
        self.port, self.tls_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "db").mkdir()
        (folder / "slapd.conf").write_text(_CONFIG.format(folder=folder, base=BASE))
        (folder / "entries.ldif").write_text(_ENTRIES)
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", str(folder / "key.pem"), "-out", str(self.ca_file)),
            ],
            check=True,
            capture_output=True,
        )
        config, entries = str(folder / "slapd.conf"), str(folder / "entries.ldif")
        added = [str(SLAPD), "-T", "add", "-f", config, "-l", entries]
        subprocess.run(added, check=True, capture_output=True)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Settings of an authenticator that asks this directory."""
        return {
            "server_address": "localhost",
            "server_port": self.port,
            "tls_ca_file": str(self.ca_file),
            "bind_dn_template": f"uid={{username}},{PEOPLE}",
            "role_groups": {"owner": ["ml-admins"], "contributor": ["data-science"]},
            **changes,
        }

    def start(self) -> None:
        """Answer; again at the same ports."""
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        self._process = subprocess.Popen(
            [SLAPD, "-d", "0", "-f", self._folder / "slapd.conf", "-h", urls],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: _answers(self.port) and _answers(self.tls_port))

    def stop(self) -> None:
        """Answer no more."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
