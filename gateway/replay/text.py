"""Invented text in which one token is four characters, so that counts and texts can be compared."""

import hashlib
from typing import Final

TOKEN_CHARACTERS: Final = 4

_WORDS: Final = (
    "air ant arm ash bay bee bow box bus cap cat cow cup day dew dog ear egg elm eye fig fir fog fox gem hat hay hen "
    "hip ice ink ivy jam jar jay key lap leg lid log map mop nut oak owl pea pen pig pin pot rag ram ray red rye sea "
    "sky sun tea tin toy tub van vat way web wig yak yam"
)
_TOKENS: Final = tuple(_WORDS[at : at + 3] + " " for at in range(0, len(_WORDS), TOKEN_CHARACTERS))
# Coprime with the number of words, so that every word comes before one comes again.
_STRIDE: Final = 29


def words(count: int, seed: int) -> list[str]:
    """`count` tokens of four characters each, the same for the same seed."""
    size = len(_TOKENS)
    start = seed % size
    return [_TOKENS[(start + position * _STRIDE) % size] for position in range(count)]


def tokens_of(text: str) -> list[str]:
    """Any text in tokens of four characters; the last one may be shorter."""
    return [text[at : at + TOKEN_CHARACTERS] for at in range(0, len(text), TOKEN_CHARACTERS)]


def number_from(*parts: bytes | str | int) -> int:
    """A 63-bit number that depends on every part and on nothing else: the seed of a seed."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return int.from_bytes(digest.digest(), "big") >> 1
