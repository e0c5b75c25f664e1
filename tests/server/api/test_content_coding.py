"""Decoding of bodies, however they are cut into pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.api.content_coding import PIECE_BYTES, BodyDecoder, codings_of
from jupyter_mlsvc_server.api.responses import BodyLimit
from jupyter_mlsvc_server.errors import BadRequest, PayloadTooLarge, UnsupportedContentCoding

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}
LIMIT = 2**20


def decoded(body: bytes, codings: list[str], limit: int) -> bytes:
    """Decode a whole body."""
    decoder = BodyDecoder(codings, BodyLimit(limit))
    whole = b"".join(decoder.feed(body))
    decoder.finish()
    return whole


@given(
    members=st.lists(st.binary(max_size=200), min_size=1, max_size=3),
    names=st.lists(st.sampled_from([*ENCODERS]), min_size=1, max_size=3),
    size=st.integers(1, 60),
)
def test_a_body_is_decoded_however_it_is_cut(
    members: list[bytes], names: list[str], size: int
) -> None:
    first, *others = names
    if first == "deflate":  # it has no members
        members = members[:1]
    body = b"".join(map(ENCODERS[first], members))
    for name in others:
        body = ENCODERS[name](body)
    decoder = BodyDecoder(names, BodyLimit(LIMIT))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert b"".join(b"".join(decoder.feed(piece)) for piece in pieces) == b"".join(members)
    decoder.finish()


@pytest.mark.parametrize("name", ENCODERS)
def test_a_piece_is_small_and_the_whole_within_the_limit(name: str) -> None:
    bomb = ENCODERS[name](bytes(100 * 2**20))
    sizes = []
    with pytest.raises(PayloadTooLarge):
        sizes += [len(piece) for piece in BodyDecoder([name], BodyLimit(5 * 2**20)).feed(bomb)]
    decoder = BodyDecoder([name], BodyLimit(2**30))
    sizes = [len(piece) for piece in decoder.feed(bomb)]
    assert sum(sizes) == 100 * 2**20
    assert max(sizes) <= PIECE_BYTES


def test_a_bomb_in_a_bomb_is_stopped_at_the_outer_one() -> None:
    bomb = gzip.compress(gzip.compress(bytes(2**28)))
    with pytest.raises(PayloadTooLarge):
        decoded(bomb, ["gzip", "gzip"], 2**16)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_body_that_ends_early_is_refused(name: str) -> None:
    whole = ENCODERS[name](b"0123456789" * 9)
    for end in range(1, len(whole)):
        with pytest.raises(BadRequest):
            decoded(whole[:end], [name], LIMIT)


@pytest.mark.parametrize("name", ENCODERS)
def test_nothing_at_all_is_an_empty_body(name: str) -> None:
    assert decoded(b"", [name], LIMIT) == b""


def test_a_zstd_body_that_asks_for_much_memory_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    body = zstd.compress(bytes(2**25), options=options)
    with pytest.raises(BadRequest):
        decoded(body, ["zstd"], 2**30)


@pytest.mark.parametrize("header", ["", "identity", " identity , "])
def test_no_coding_is_none(header: str) -> None:
    assert codings_of(header) == ()


@pytest.mark.parametrize("header", ["br", "gzip,br", "gzip, gzip, gzip, gzip", "gzip;q=1", "g zip"])
def test_what_is_not_known_is_refused(header: str) -> None:
    with pytest.raises(UnsupportedContentCoding):
        codings_of(header)
