"""Changes to bytes at the places where their old values were read."""

Edit = tuple[int, int, bytes]
"""Replace [start, end) by these bytes."""


def edited(body: bytes, edits: list[Edit]) -> bytes:
    """The body with the edits, which do not overlap, made; else byte for byte."""
    pieces: list[bytes] = []
    at = 0
    for start, end, text in sorted(edits):
        pieces += (body[at:start], text)
        at = end
    pieces.append(body[at:])
    return b"".join(pieces)
