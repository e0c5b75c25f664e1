"""An OpenID provider on loopback, by TLS: Authlib's server with the flows that clients use.

It knows the device code, client credentials and refresh tokens, and signs access tokens as RFC 9068
has them. A test approves a code in place of the person at the address.
"""

from __future__ import annotations

import secrets
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Final, Self

import flask
import jwt
import werkzeug.serving
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import (
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
    DeviceCredentialDict,
)
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from joserfc.jwk import KeySet

AUDIENCE: Final = "api://mlsvc"
NOTEBOOKS: Final = "notebooks"
"""Public client of people."""
PAGE: Final = "https://app.example.org/callback"
"""Where a page of people gets its code."""
ROBOT: Final = "robot"
ROBOTS_SECRET: Final = "robots secret"
TENANT: Final = "contoso"
ROLES: Final = {"owner": ["ml-admins"], "contributor": ["data-science"], "reader": ["robots"]}


class SigningKey:
    """A key pair of the provider."""

    def __init__(self, key_id: str) -> None:
        self.id = key_id
        self.private: RSAPrivateKey = generate_private_key(65537, 2048)

    @property
    def public(self) -> dict[str, Any]:
        """The public half, as the provider shows it."""
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.id, "use": "sig", "alg": "RS256"}

    @property
    def jwk(self) -> dict[str, Any]:
        """Both halves."""
        return {
            **jwt.algorithms.RSAAlgorithm.to_jwk(self.private, as_dict=True),
            "kid": self.id,
            "use": "sig",
            "alg": "RS256",
        }

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Make a token."""
        return jwt.encode(
            claims, self.private, algorithm="RS256", headers={"kid": self.id, **header}
        )


class Application(ClientMixin):
    """A client of the provider."""

    def __init__(self, client_id: str, secret: str = "") -> None:
        self.id, self.secret = client_id, secret

    def get_client_id(self) -> str:
        return self.id

    def get_default_redirect_uri(self) -> None:
        return None

    def get_allowed_scope(self, scope: str) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return not self.secret and redirect_uri == PAGE

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret) and client_secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method == "none") is not bool(self.secret)

    def check_response_type(self, response_type: str) -> bool:
        return not self.secret and response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return (grant_type == "client_credentials") is bool(self.secret)


class Person:
    """Somebody with an account at the provider."""

    def __init__(self, name: str, groups: list[str]) -> None:
        self.name, self.groups = name, groups

    def get_user_id(self) -> str:
        return f"subject-of-{self.name}"


class IdentityProvider:
    """The provider; serves from ``with`` on."""

    def __init__(self, folder: Path, *, token_seconds: int = 600) -> None:
        self.ca_file = folder / "provider.pem"
        keyfile = folder / "provider.key"
        _make_certificate(self.ca_file, keyfile)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca_file, keyfile)
        self.token_seconds = token_seconds
        self.people = {
            "ann": Person("ann", ["data-science"]),
            "olga": Person("olga", ["ML-Admins"]),
            "eve": Person("eve", []),
        }
        self.key = SigningKey("first")
        self.waiting: dict[str, DeviceCredentialDict] = {}
        self.grants: dict[str, tuple[Person, bool]] = {}
        self.codes: dict[str, _Code] = {}
        self.refresh_tokens: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self._port = 0
        self._server: werkzeug.serving.BaseWSGIServer | None = None

    @property
    def issuer(self) -> str:
        return f"https://127.0.0.1:{self._port}/{TENANT}"

    def rotate(self, key_id: str) -> None:
        """Sign with another key, and show the old one no more."""
        self.key = SigningKey(key_id)

    def settings(self) -> list[str]:
        """Options of a server that trusts this provider."""
        return [
            "--MlsvcApp.authenticators=oidc",
            f"--OidcAuthenticator.issuer={self.issuer}",
            f"--OidcAuthenticator.audience={AUDIENCE}",
            f"--OidcAuthenticator.client_id={NOTEBOOKS}",
            f"--OidcAuthenticator.ca_file={self.ca_file}",
            f"--OidcAuthenticator.role_groups={ROLES}",
        ]

    def claims(self, person: str, **changes: Any) -> dict[str, Any]:
        """Claims of an access token."""
        now = int(time.time())
        found = self.people[person]
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": found.get_user_id(),
            "iat": now,
            "exp": now + self.token_seconds,
            "preferred_username": person,
            "groups": found.groups,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, person: str, **changes: Any) -> str:
        """An access token."""
        return self.key.sign(self.claims(person, **changes))

    def decide(self, user_code: str, person: str, *, approves: bool = True) -> None:
        """Do what a person does at the address: type the code, and allow the client."""
        self.grants[user_code] = (self.people[person], approves)

    def start(self) -> None:
        """Serve; again at the same port."""
        self._server = werkzeug.serving.make_server(
            "127.0.0.1",
            self._port,
            self._app(),
            threaded=True,
            request_handler=_Quiet,
            ssl_context=self._context,
        )
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _app(self) -> flask.Flask:
        app = flask.Flask(__name__)
        oauth = self._authorization_server(app)

        @app.before_request
        def note() -> None:
            self.asked.append(flask.request.path)

        @app.get(f"/{TENANT}/.well-known/openid-configuration")
        def metadata() -> dict[str, Any]:
            root = f"https://{flask.request.host}/{TENANT}"
            return {
                "issuer": root,
                "jwks_uri": f"{root}/jwks",
                "authorization_endpoint": f"{root}/authorize",
                "token_endpoint": f"{root}/token",
                "device_authorization_endpoint": f"{root}/device",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }

        @app.get(f"/{TENANT}/jwks")
        def jwks() -> dict[str, Any]:
            return {"keys": [self.key.public]}

        @app.post(f"/{TENANT}/device")
        def device() -> Any:
            return oauth.create_endpoint_response("device_authorization")

        @app.get(f"/{TENANT}/authorize")
        def authorize() -> Any:
            # Somebody who is logged in already is sent back at once.
            person = self.people[flask.request.args["login_hint"]]
            grant = oauth.get_consent_grant(end_user=person)
            return oauth.create_authorization_response(grant_user=person, grant=grant)

        @app.post(f"/{TENANT}/token")
        def token() -> Any:
            return oauth.create_token_response()

        return app

    def _authorization_server(self, app: flask.Flask) -> AuthorizationServer:
        applications = {
            NOTEBOOKS: Application(NOTEBOOKS),
            ROBOT: Application(ROBOT, ROBOTS_SECRET),
        }

        def save_token(token: dict[str, Any], request: Any) -> None:
            if "refresh_token" in token:
                self.refresh_tokens[token["refresh_token"]] = {
                    "person": request.user.name,
                    "scope": token.get("scope", ""),
                }

        server = AuthorizationServer(app, query_client=applications.get, save_token=save_token)
        server.register_endpoint(_device_endpoint(self))
        for grant in (_device_code(self), _refresh(self), grants.ClientCredentialsGrant):
            server.register_grant(grant)
        server.register_grant(_authorization_code(self), [CodeChallenge(required=True)])
        made = _token_generator(self)
        server.register_token_generator("default", made)
        return server


def _device_endpoint(provider: IdentityProvider) -> type[DeviceAuthorizationEndpoint]:
    class Device(DeviceAuthorizationEndpoint):
        INTERVAL = 1

        def get_verification_uri(self) -> str:
            return f"{provider.issuer}/activate"

        def save_device_credential(self, client_id: str, scope: str, data: Any) -> None:
            provider.waiting[data["device_code"]] = DeviceCredentialDict(
                {
                    **data,
                    "client_id": client_id,
                    "scope": scope,
                    "expires_at": time.time() + data["expires_in"],
                }
            )

    return Device


def _device_code(provider: IdentityProvider) -> type[DeviceCodeGrant]:
    class DeviceCode(DeviceCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012

        def query_device_credential(self, device_code: str) -> DeviceCredentialDict | None:
            return provider.waiting.get(device_code)

        def query_user_grant(self, user_code: str) -> tuple[Person, bool] | None:
            return provider.grants.get(user_code)

        def should_slow_down(self, credential: DeviceCredentialDict) -> bool:
            return False

    return DeviceCode


def _authorization_code(provider: IdentityProvider) -> type[grants.AuthorizationCodeGrant]:
    class AuthorizationCode(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012

        def save_authorization_code(self, code: str, request: Any) -> None:
            provider.codes[code] = _Code(code, request.user, request.payload)

        def query_authorization_code(self, code: str, client: Any) -> _Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: _Code) -> None:
            del provider.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: _Code) -> Person:
            return authorization_code.person

    return AuthorizationCode


def _refresh(provider: IdentityProvider) -> type[grants.RefreshTokenGrant]:
    class Refresh(grants.RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Any:
            found = provider.refresh_tokens.pop(refresh_token, None)
            return None if found is None else _Credential(found)

        def authenticate_user(self, refresh_token: Any) -> Person:
            return provider.people[refresh_token.person]

        def revoke_old_credential(self, refresh_token: Any) -> None:
            """Nothing to do: it was taken out when it was used."""

    return Refresh


def _token_generator(provider: IdentityProvider) -> JWTBearerTokenGenerator:
    class Tokens(JWTBearerTokenGenerator):
        @property
        def issuer(self) -> str:
            return provider.issuer

        @issuer.setter
        def issuer(self, issuer: str) -> None:
            """Stay with the provider's: its port is not known yet."""

        def get_jwks(self) -> KeySet:
            return KeySet.import_key_set({"keys": [provider.key.jwk]})

        def get_audiences(self, client: Any, user: Any, scope: str) -> list[str]:
            return [AUDIENCE]

        def get_extra_claims(
            self, client: Any, grant_type: str, user: Person | None, scope: str
        ) -> dict[str, Any]:
            if user is None:
                return {"groups": ["robots"]}
            return {"preferred_username": user.name, "groups": user.groups}

        def _get_expires_in(self, client: Any, grant_type: str) -> int:
            return provider.token_seconds

    return Tokens(
        provider.issuer, refresh_token_generator=lambda *_, **__: secrets.token_urlsafe(24)
    )


class _Quiet(werkzeug.serving.WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Log nothing."""


class _Code:
    def __init__(self, code: str, person: Person, payload: Any) -> None:
        self.code, self.person = code, person
        self._redirect_uri, self._scope = payload.redirect_uri, payload.scope
        self.code_challenge = payload.data["code_challenge"]
        self.code_challenge_method = payload.data["code_challenge_method"]

    def get_redirect_uri(self) -> str:
        return str(self._redirect_uri)

    def get_scope(self) -> str:
        return str(self._scope)


class _Credential:
    def __init__(self, kept: dict[str, Any]) -> None:
        self.person, self._scope = kept["person"], kept["scope"]

    def check_client(self, client: Any) -> bool:
        return True

    def get_scope(self) -> str:
        return str(self._scope)


def _make_certificate(certfile: Path, keyfile: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(keyfile), "-out", str(certfile)),
        ],
        check=True,
        capture_output=True,
    )
