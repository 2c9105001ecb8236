"""How each target of a call is spoken to: in the caller's dialect, or in the provider's own, translated."""

import msgspec

from gateway.core.caller import UnsupportedFields
from gateway.core.dialect import Dialect, DialectName, Facts
from gateway.core.dialects import DIALECTS
from gateway.core.errors import InvalidRequest
from gateway.core.modes import dialects_of
from gateway.core.translation.own_reasoning import MARK, OWN_REASONING
from gateway.core.translation.pairs import TRANSLATIONS, Abilities, Translation
from gateway.relay.catalogue import CatalogueEntry, Target, entry_of, not_of_its_kind
from gateway.relay.settings import ReserveSettings


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The dialect that a target is asked in, and the request as it is said in it."""

    dialect: Dialect
    request: Facts
    translation: Translation | None = None
    """None: the caller's own dialect, and the bytes pass through."""
    dropped: tuple[str, ...] = ()
    """What of the caller's request could not be said, by path."""

    def headers(self, dialect: Dialect, forwarded: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that go with the request: without what is only of the caller's dialect."""
        if self.translation is None:
            return forwarded
        passing = [each for each in forwarded if each[0] not in dialect.to_upstream]
        return [*passing, *self.dialect.to_upstream_unasked]

    def path(self, target: Target) -> str:
        path_of = self.dialect.path_of
        return self.dialect.path if path_of is None else path_of(self.request, target.model)


class Interpreter:
    """Finds the ways of calls that not every target can be asked in the words of the caller."""

    def __init__(self, settings: ReserveSettings) -> None:
        self._settings = settings

    def ways(
        self, dialect: Dialect, request: Facts, entry: CatalogueEntry, unsupported_fields: UnsupportedFields
    ) -> tuple[CatalogueEntry, tuple[Way, ...]]:
        """The entry with those targets alone that can be asked this, and the way of each.

        Raises InvalidRequest, which names the field, where none can: the refusal of the first.
        """
        drop = self._settings.drop_unsupported if unsupported_fields == "default" else unsupported_fields == "drop"
        targets, ways = [], []
        refusal: InvalidRequest | None = None
        for target in entry.targets:
            try:
                way = self._way(dialect, request, target, drop=drop)
            except InvalidRequest as error:
                refusal = refusal or error
                continue
            if way is not None:
                targets.append(target)
                ways.append(way)
        if not targets:
            raise refusal or _not_spoken(dialect.name, entry)
        if len(targets) < len(entry.targets):
            entry = entry_of(entry.name, tuple(targets))
        return entry, tuple(ways)

    def _way(self, dialect: Dialect, request: Facts, target: Target, *, drop: bool) -> Way | None:
        spoken = target.dialects
        if dialect.name in spoken:
            return Way(dialect=dialect, request=as_it_came(dialect, request))
        refusal: InvalidRequest | None = None
        for translation in TRANSLATIONS.get(dialect.name, ()):
            if translation.provider in spoken:
                try:
                    return self._translated(request, target, translation, drop=drop)
                except InvalidRequest as error:
                    refusal = refusal or error
        if refusal is not None:
            raise refusal
        return None

    def _translated(self, request: Facts, target: Target, translation: Translation, *, drop: bool) -> Way:
        said = translation.request(request.body, self._abilities(target), drop)
        own = DIALECTS[translation.provider]
        return Way(dialect=own, request=own.read_request(said.body), translation=translation, dropped=said.dropped)

    def _abilities(self, target: Target) -> Abilities:
        return Abilities(
            output_limit_default=target.output_tokens_max or self._settings.default_output_limit_tokens,
            adaptive_thinking=target.adaptive_thinking,
            extended_chat=target.upstream.extended_chat,
            output_limit_field=target.upstream.output_limit_field,
        )


def as_it_came(dialect: Dialect, request: Facts) -> Facts:
    """For a provider who speaks the caller's dialect: the request itself, but for reasoning that is only ours to read.

    Raises InvalidRequest where nothing is left without it.
    """
    without = OWN_REASONING.get(dialect.name)
    if without is None or MARK not in request.body:
        return request
    return dialect.read_request(without(request.body))


def _not_spoken(dialect: DialectName, entry: CatalogueEntry) -> InvalidRequest:
    sayable = {dialect, *(translation.provider for translation in TRANSLATIONS.get(dialect, ()))}
    if not any(sayable & dialects_of(target.mode) for target in entry.targets):
        return not_of_its_kind(entry, dialect)
    spoken = ", ".join(sorted({name for target in entry.targets for name in target.upstream.dialects}))
    return InvalidRequest(
        f"The model `{entry.name[:128]}` cannot be called in the dialect `{dialect}`: where it is served, `{spoken}` "
        "is spoken, and nothing translates between them. Nothing was reserved or sent.",
        param="model",
        code="dialect_not_spoken",
    )
