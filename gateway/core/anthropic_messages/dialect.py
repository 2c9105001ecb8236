"""Anthropic's Messages API as a dialect."""

from typing import Final

from gateway.core.anthropic_messages.answer import read_messages_answer
from gateway.core.anthropic_messages.errors import error_body, error_in_messages, last_frames
from gateway.core.anthropic_messages.meter import MessagesMeter
from gateway.core.anthropic_messages.request import read_messages_request
from gateway.core.anthropic_messages.splicing import splice_for
from gateway.core.dialect import Dialect

VERSION_HEADER: Final = "anthropic-version"
VERSION: Final = "2023-06-01"
"""The one version there is, for callers who name none."""

ANTHROPIC_MESSAGES: Final = Dialect(
    name="anthropic-messages",
    path="/messages",
    read_request=read_messages_request,
    splice=splice_for,
    meter=MessagesMeter,
    read_answer=read_messages_answer,
    error=error_in_messages,
    error_body=error_body,
    last_frames=last_frames,
    to_upstream=frozenset({VERSION_HEADER, "anthropic-beta"}),
    to_upstream_unasked=((VERSION_HEADER, VERSION),),
    key_header="x-api-key",
    request_id_header="request-id",
)
