"""A clock that was set back refuses nobody, and lets nobody in for longer."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from jupyter_mlsvc_server.auth.errors import ExpiredAccessToken, InvalidAccessToken
from jupyter_mlsvc_server.auth.keys import signing_key
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.database import Database
from tests.server.auth.conftest import PASSWORD


async def issued(tokens: TokenManager, data_dir: Path, *, ago: float) -> str:
    """Give a token as it would have been issued so many seconds ago; less than 0: to come."""
    pair = await tokens.login("ann", PASSWORD)
    key = signing_key(data_dir / "secret.key")
    claims = jwt.decode(pair.access_token, options={"verify_signature": False})
    times = {name: int(claims[name] - ago) for name in ("iat", "exp")}
    return jwt.encode(claims | times, key, algorithm="HS512")


@pytest.mark.parametrize("back", [0, 1, 30, 55])
async def test_a_clock_set_back_by_less_than_a_minute_refuses_no_token(
    tokens: TokenManager, database: Database, back: float
) -> None:
    token = await issued(tokens, database.data_dir, ago=-back)
    assert (await tokens.principal_of(token)).name == "ann"


@pytest.mark.parametrize("back", [70, 3600, 10**9])
async def test_a_token_of_the_future_is_refused(
    tokens: TokenManager, database: Database, back: float
) -> None:
    token = await issued(tokens, database.data_dir, ago=-back)
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(token)


@pytest.mark.parametrize("late", [2, 30, 59, 3600])
async def test_a_token_that_has_expired_is_refused_at_once(
    tokens: TokenManager, database: Database, late: float
) -> None:
    token = await issued(tokens, database.data_dir, ago=tokens.access_token_lifetime + late)
    with pytest.raises(ExpiredAccessToken):
        await tokens.principal_of(token)
