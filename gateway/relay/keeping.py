"""What providers keep between calls: only who was handed an id may name it, and only where it is kept."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from gateway.core.dialect import Kept, Reference, Storage
from gateway.core.errors import InvalidRequest
from gateway.relay.call import Call
from gateway.relay.catalogue import CatalogueEntry, entry_of
from gateway.stored.objects import StoredObject, StoredObjects

REFERENCES_MAX: Final = 1_000
_NAMES: Final = {"response": "Previous response", "conversation": "Conversation", "item": "Item"}


class Keeper:
    """Writes down what one answer says is kept, before the caller reads it."""

    __slots__ = ("_objects", "_org_id", "_response_id", "_storage", "_upstream")

    def __init__(self, objects: StoredObjects, storage: Storage, org_id: UUID, upstream: str) -> None:
        self._objects = objects
        self._storage = storage
        self._org_id = org_id
        self._upstream = upstream
        self._response_id = ""

    async def hear(self, meter: Any) -> None:
        """What its stream has named since. Raises LedgerUnavailable."""
        kept = self._storage.kept_by_stream(meter)
        if kept:
            await self._remember(kept)

    async def read(self, body: bytes) -> None:
        """A whole answer. Raises LedgerUnavailable."""
        await self._remember(self._storage.kept_by_answer(body))

    async def _remember(self, kept: Sequence[Kept]) -> None:
        self._response_id = self._response_id or next((each.id for each in kept if each.kind == "response"), "")
        await self._objects.remember(self._org_id, self._upstream, self._response_id, kept)


class Keeping:
    """Of all calls."""

    def __init__(self, objects: StoredObjects) -> None:
        self._objects = objects

    async def narrowed(self, call: Call, entry: CatalogueEntry) -> CatalogueEntry:
        """The entry with those targets alone that can read what the request names: where it is kept, in its own words.

        Raises InvalidRequest where it is not the caller's or the model is not served there, and LedgerUnavailable.
        """
        storage, name = call.dialect.storage, call.dialect.name
        assert storage is not None
        references = storage.references(call.request)
        if not references and not storage.background(call.request):
            return entry
        places = await self._places(call.caller.org_id, references)
        targets = tuple(
            target
            for target in entry.targets
            if name in target.upstream.dialects and (not references or places == {target.upstream.name})
        )
        if targets:
            return entry if len(targets) == len(entry.targets) else entry_of(entry.name, targets)
        if references:
            raise InvalidRequest(
                f"`{references[0].param}` is kept by a provider that does not serve `{entry.name[:128]}` here; nothing "
                "was reserved or sent.",
                param=references[0].param,
                code="kept_elsewhere",
            )
        raise InvalidRequest(
            f"No provider of `{entry.name[:128]}` takes `background` here; nothing was reserved or sent.",
            param="background",
            code="unsupported_parameter",
        )

    async def _places(self, org_id: UUID, references: Sequence[Reference]) -> set[str]:
        if len(references) > REFERENCES_MAX:
            raise InvalidRequest(
                f"More than {REFERENCES_MAX} items are named by their ids alone; nothing was reserved or sent.",
                param="input",
            )
        if not references:
            return set()
        found = await self._objects.find(org_id, [each.id for each in references])
        for each in references:
            if not _is(found.get(each.id), each):
                raise _unknown(each)
        return {found[each.id].upstream for each in references}

    def keeper(self, call: Call, upstream: str) -> Keeper | None:
        """None where the provider keeps nothing."""
        storage = call.dialect.storage
        if storage is None or not storage.keeps(call.request):
            return None
        return Keeper(self._objects, storage, call.caller.org_id, upstream)


def _is(found: StoredObject | None, reference: Reference) -> bool:
    return found is not None and found.kind == reference.kind


def _unknown(reference: Reference) -> InvalidRequest:
    message = (
        f"{_NAMES[reference.kind]} with id '{reference.id[:64]}' not found: none of that id was handed out to this "
        "organisation, or it is kept no longer. Nothing was reserved or sent."
    )
    if reference.kind == "response":
        return InvalidRequest(message, param=reference.param, code="previous_response_not_found")
    return InvalidRequest(message, param=reference.param, code="unknown_id")
