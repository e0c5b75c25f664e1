"""What can go wrong with accounts and tokens."""

from __future__ import annotations

from pathlib import Path

from jupyter_mlsvc_server.errors import (
    Advice,
    BadRequest,
    Busy,
    Conflict,
    Forbidden,
    MlsvcServerError,
    NotFound,
    TooManyRequests,
    Unauthorized,
)


class WrongCredentials(Unauthorized):
    """The user is unknown, shut out, or gave another password; the answer is the same."""

    def __init__(self, name: str, address: str = "") -> None:
        super().__init__("The user name or the password is wrong.")
        self.logged = f"user={name[:64]!r} from={address or 'local'}"


class InvalidAccessToken(Unauthorized):
    """The token is forged, of another server, or was made invalid."""

    code = "InvalidAccessToken"

    def __init__(self) -> None:
        super().__init__(
            "The access token is not valid (any more).",
            advice=Advice("Get a new one with POST /login.", operation="login"),
            token_was_sent=True,
        )


class InvalidServiceKey(InvalidAccessToken):
    """The service key is made up, expired or revoked, or its maker was shut out."""

    def __init__(self) -> None:
        Unauthorized.__init__(
            self,
            "The service key is not valid (any more). Ask whoever gave it to you for another one.",
            token_was_sent=True,
        )


class InvalidHubToken(InvalidAccessToken):
    """JupyterHub does not know the token."""

    def __init__(self) -> None:
        Unauthorized.__init__(
            self,
            "JupyterHub does not know this access token (any more). Restart your server there, "
            "or request a new token on the hub's page of tokens.",
            token_was_sent=True,
        )


class ExpiredAccessToken(Unauthorized):
    """The token has had its time."""

    code = "ExpiredAccessToken"

    def __init__(self) -> None:
        super().__init__(
            "The access token has expired.",
            advice=Advice("Get a new one with POST /login/refreshToken.", operation="renewToken"),
            token_was_sent=True,
        )


class InvalidRefreshToken(Unauthorized):
    """The refresh token is unknown, expired, used already or revoked."""

    code = "InvalidRefreshToken"

    def __init__(self) -> None:
        super().__init__(
            "The refresh token is not valid (any more).",
            advice=Advice("Get a new one with POST /login.", operation="login"),
        )


class NoRole(Forbidden):
    """The provider knows the person, but none of their groups may use this server."""

    code = "NoRole"

    def __init__(self, user_name: str) -> None:
        super().__init__(
            "You are known, but none of your groups may use this server. Ask whoever runs it for "
            "access."
        )
        self.logged = f"user={user_name!r}"


class NoAccessToService(Forbidden):
    """The token is a person's of JupyterHub, but not for this server."""

    code = "NoRole"

    def __init__(self, user_name: str, scope: str) -> None:
        super().__init__(
            f"This token of JupyterHub is not for this server: it lacks the scope {scope}. Ask "
            "whoever runs the hub for it, then restart your server there."
        )
        self.logged = f"user={user_name!r}"


class IdentityProviderUnavailable(Busy):
    """Who would know the person does not answer; nobody's credentials are wrong."""

    code = "IdentityProviderUnavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(
            "The service that knows your account does not answer at the moment; try again in a "
            "moment. Who is logged in already can go on.",
            retry_after=10,
        )
        self.logged = reason


class UserExists(Conflict):
    """The name is in use."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a user {name!r} already; upper and lower case count as the same."
        )


class NameOwnsThings(Conflict):
    """A removed account of the name owns something."""

    def __init__(self, name: str, owned: str) -> None:
        super().__init__(
            f"A removed user {name!r} owns {owned}. Say --take-over with 'user add' to give them "
            "to the new user of that name, or take another name."
        )


class KeyExists(Conflict):
    """A service key has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a service key {name!r} already. Choose another name, or revoke it first."
        )


class KeyNotFound(NotFound):
    """No such service key."""

    code = "KeyNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no service key {name!r} of yours.",
            advice=Advice(
                "List them with GET /keys, or jupyter mlsvc key list.", operation="listServiceKeys"
            ),
        )


class TooManyKeys(TooManyRequests):
    """Somebody has as many service keys as one person may have."""

    code = "TooManyKeys"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most:,} service keys, which is the limit for one person "
            "(KeyManager.max_keys_per_user).",
            retry_after=60,
            advice=Advice(
                "Revoke one that nobody uses with DELETE /keys/NAME.", operation="revokeServiceKey"
            ),
        )


class UnknownService(NotFound):
    """A key is asked for a service that is not there."""

    def __init__(self, service: str) -> None:
        name, _, version = service.partition("/")
        which = f"version {version!r} of service {name!r}" if version else f"service {name!r}"
        super().__init__(f"There is no {which}; a key is for services that are published.")


class InvalidKeyOption(BadRequest):
    """A key is to have something that it can't have."""


class KeyRateExceeded(TooManyRequests):
    """A key makes more calls than it may."""

    def __init__(self, name: str, rate: str, retry_after: int) -> None:
        super().__init__(
            f"The service key {name!r} may make {rate.replace('/', ' calls a ')}. Try again in "
            f"{retry_after} s.",
            retry_after=retry_after,
        )


class OriginNotAllowed(Forbidden):
    """A page calls with a key that is not for pages of its origin."""

    def __init__(self, name: str, origin: str) -> None:
        super().__init__(
            f"The service key {name!r} is not for pages of {origin[:100]!r}. Whoever made it can "
            "make one that is."
        )


class UserNotFound(NotFound):
    """No such user."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no user {name!r}. List them with: jupyter mlsvc user list")


class AccountDisabled(Forbidden):
    """The account is shut out."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The account {name!r} is disabled on this server. Whoever runs the server can enable "
            "it."
        )


class NotAlone(Forbidden):
    """Accounts were added to a server that confines no code."""

    def __init__(self) -> None:
        super().__init__(
            "This server has more than one account by now, and nothing keeps anybody's code from "
            "the secrets of the server. Whoever runs it can remove the others, confine code, or "
            "set Confinement.allow_unconfined if all of them trust each other."
        )


class InvalidUserName(BadRequest):
    """The name breaks the rule."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is no valid user name: use 1 to 64 letters, digits, '.', '_', '-' or '@', "
            "starting with a letter or digit."
        )


class InvalidGroupName(BadRequest):
    """The name of a group breaks the rule."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is no valid name of a group: use 1 to 64 letters, digits, '.', '_', '-' or "
            "'@', starting with a letter or digit."
        )


class InvalidPassword(BadRequest):
    """The password is too short or too long."""

    def __init__(self, shortest: int, longest: int) -> None:
        super().__init__(f"A password has {shortest} to {longest} characters.")


class InvalidAdminPassword(BadRequest):
    """The password that the environment gives for the first user does not do."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable} gives a password that does not do. {reason}")


class UnusableSecretFile(MlsvcServerError):
    """A file with a secret is missing, damaged, or open to others."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
