"""An answer before it is played: every byte of it, where it may be cut, and what it costs."""

from itertools import accumulate

import msgspec

from gateway.core.dialect import DialectName
from gateway.replay.sent import Tokens
from gateway.replay.text import number_from

CUTS_MAX = 200
ID_DIGITS = 16
"""Of an invented answer's id, behind what its dialect begins ids with."""


class Script(msgspec.Struct, kw_only=True):
    """Status, headers and the pieces to write. A piece of a stream is one event, until it is cut."""

    id: str
    model: str
    status: int = 200
    headers: list[tuple[str, str]]
    streamed: bool
    pieces: list[bytes]
    """Of an answer that is no stream: its one body."""
    piece_tokens: list[int]
    """Output tokens that each piece brings."""
    usage_piece: int | None = None
    """The piece after which the receiver knows the usage."""
    lead: int = 0
    """How many pieces come before the first that has content."""
    tokens: Tokens = msgspec.field(default_factory=Tokens)
    dialect: DialectName = "openai-chat"
    recorded: bool = False


def repeated(script: Script, turn: int) -> Script:
    """The same answer under another id, as the `turn`-th to one question."""
    id = f"{script.id[:-ID_DIGITS]}{number_from(script.id, turn):0{ID_DIGITS}x}"
    old, new = script.id.encode(), id.encode()
    return msgspec.structs.replace(script, id=id, pieces=[piece.replace(old, new) for piece in script.pieces])


def cut(script: Script, seed: int) -> Script:
    """The same bytes in other pieces: cut at places that have nothing to do with events, lines or characters.

    Tokens and usage move to the piece that completes their event. Seed 0 leaves one single piece.
    """
    whole = b"".join(script.pieces)
    ends = list(accumulate(map(len, script.pieces)))
    step = max(1, len(whole) // 12, -(-len(whole) // CUTS_MAX))
    places: list[int] = []
    at = 0
    while seed and (at := at + 1 + number_from(seed, at) % (2 * step)) < len(whole):
        places.append(at)
    places.append(len(whole))
    tokens = [0] * len(places)
    usage_piece = None
    place = 0
    for event, end in enumerate(ends):
        while places[place] < end:
            place += 1
        tokens[place] += script.piece_tokens[event]
        if event == script.usage_piece:
            usage_piece = place
    pieces = [whole[start:end] for start, end in zip([0, *places], places, strict=False)]
    return msgspec.structs.replace(script, pieces=pieces, piece_tokens=tokens, usage_piece=usage_piece, lead=0)
