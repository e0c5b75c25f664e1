"""Names of the classes whose settings count for the server, its own and some of Jupyter's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

SECTIONS: Final = frozenset(
    {
        "AccountManager",
        "AccountWatch",
        "Application",
        "AuditLog",
        "Authenticator",
        "BatchManager",
        "BlobStore",
        "ComputeNodes",
        "Confinement",
        "Database",
        "DiskSpace",
        "EventHub",
        "HubAuthenticator",
        "KernelFactory",
        "KeyManager",
        "KeyVerifier",
        "LdapAuthenticator",
        "LocalEngine",
        "MachineMonitor",
        "MetricsReporter",
        "MlsvcApp",
        "MlsvcSessionManager",
        "OidcAuthenticator",
        "PoolManager",
        "RevisionWatch",
        "ScoringSettings",
        "ServiceManager",
        "ServiceStatisticsReporter",
        "SessionManager",
        "SharedBlobStore",
        "SnapshotManager",
        "StatusReporter",
        "TokenAuthenticator",
        "TokenManager",
        "WarmKernels",
    }
)
"""Classes of the server that have settings, and two that had: it says what became of those."""

_OF_KERNELS: Final = frozenset(
    {
        "AsyncKernelManager",
        "AsyncMultiKernelManager",
        "ConnectionFileMixin",
        "KernelManager",
        "KernelProvisionerFactory",
        "KernelSpecManager",
        "LocalProvisioner",
        "MultiKernelManager",
        "Session",
    }
)
"""Classes of Jupyter's whose settings count for the kernels of sessions as well."""


def known_sections(config: Mapping[str, Any]) -> set[str]:
    """Name the classes whose settings count for a server.

    Parameters
    ----------
    config
        Settings by class; they may put other classes in place of the server's own.
    """
    return {*SECTIONS, *_OF_KERNELS, *_named_classes(config)}


def _named_classes(config: Mapping[str, Any]) -> Iterator[str]:
    """Give the names of classes that settings put in place of the server's own."""
    for name in SECTIONS:
        for key, value in config.get(name, {}).items():
            if key.endswith("_class"):
                yield value.__name__ if isinstance(value, type) else str(value).rpartition(".")[2]
