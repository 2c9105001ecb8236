"""What a call can cost before it is made: from its facts, the targets' terms, and what prompts have cost so far."""

from collections.abc import Sequence
from typing import Final

from gateway.core.dialect import Facts
from gateway.core.errors import InvalidRequest
from gateway.core.estimate import IMAGE_TOKENS_EXPECTED, IMAGE_TOKENS_MAX, PromptRatios, prompt_hard_bound
from gateway.core.pricing import most
from gateway.core.reservation import Quote, Terms
from gateway.core.unstreamed.request import UnstreamedRequest
from gateway.core.usage import TOKENS_MAX, Usage
from gateway.relay.catalogue import CatalogueEntry, Target
from gateway.relay.settings import ReserveSettings

STANDARD_TIERS: Final = frozenset({"auto", "default", "standard", "standard_only", "on_demand", "flex"})
"""Service tiers that cost no more than the standard price where they have none of their own."""


class Quoter:
    """Quotes calls, and learns from their usage how many tokens a prompt's bytes make."""

    def __init__(self, settings: ReserveSettings) -> None:
        self._settings = settings
        self._ratios = PromptRatios()

    def quote(self, request: Facts, entry: CatalogueEntry, said: Sequence[Facts] | None = None) -> Quote:
        """The most this call can cost at every target that may serve it. Raises InvalidRequest: it is unknown.

        `said` is the request as it is said to each target, where it is not said to all as the caller did.
        """
        hidden = _more_than_text(request)
        bound = _hard_bound(request)
        terms = []
        unknown_max = False
        for at, target in enumerate(entry.targets):
            if said is None:
                terms.append(self._terms(request, target, bound))
            else:
                terms.append(self._terms(said[at], target, _hard_bound(said[at])))
                hidden |= _more_than_text(said[at])
            unknown_max |= target.output_tokens_max is None
            hidden |= target.hides_reasoning
        return Quote(
            terms=tuple(terms),
            choices=request.n if said is None else max(each.n for each in said),
            limit_asked=request.output_limit is not None,
            limit_must_be_sent=request.output_limit is None and unknown_max,
            progressive=request.stream and not hidden,
        )

    def _terms(self, request: Facts, target: Target, bound: int | None) -> Terms:
        if self._settings.unpriced == "refuse":
            _refuse_unpriced(request, target)
        if request.n != 1 and not target.upstream.counts_every_answer:
            _refuse_uncounted(request)
        unknown = False
        window = target.context_tokens
        if window is not None and request.prompts != 1:
            window = min(window * request.prompts, TOKENS_MAX)
        upper, expected = self._ratios.estimate(target.model, request.prompt_bytes)
        if bound is None or target.upstream.hidden_context:
            if window is None or self._settings.by_reference == "refuse":
                raise InvalidRequest(
                    "This request refers to content that is not in its body (an image address, a file), "
                    "so the most it can cost is not known; nothing was reserved or sent.",
                    param="messages",
                    code="content_by_reference",
                )
            bound = learned = window
            unknown = True
        else:
            bound = min(bound, window) if window is not None else bound
            learned = min(bound, upper + request.images * IMAGE_TOKENS_MAX + request.token_ids)
        expected += request.images * IMAGE_TOKENS_EXPECTED + request.token_ids
        want = request.output_limit
        if want is None:
            want = target.output_tokens_max or self._settings.default_output_limit_tokens
        prices = target.prices if not request.cache_writes_1h else target.prices.writing_for_an_hour()
        if request.service_tier is not None:
            # The provider chooses the tier in the end; the dearer of what it may choose is held.
            asked = target.prices_at(request.service_tier)
            if request.cache_writes_1h:
                asked = asked.writing_for_an_hour()
            prices = max(prices, asked, key=lambda prices: most(prices, bound, want, messages=request.n))
        return Terms(
            prices=prices,
            prompt_bound=bound,
            prompt_learned=learned,
            prompt_expected=min(bound, expected),
            prompt_unknown=unknown,
            want_tokens=want,
        )

    def likely_prompt(self, request: Facts, target: Target) -> int:
        """Tokens that the prompt has if it is like half of those before. Raises InvalidRequest: it is not all there."""
        if request.by_reference:
            raise InvalidRequest(
                "This request refers to content that is not in its body (an image address, a file), so its tokens "
                "cannot be estimated; nothing was sent.",
                param="messages",
                code="content_by_reference",
            )
        tokens = self._ratios.estimate(target.model, request.prompt_bytes)[1]
        return min(tokens + request.images * IMAGE_TOKENS_EXPECTED + request.token_ids, TOKENS_MAX)

    def learn(self, model: str, request: Facts, usage: Usage) -> None:
        """What the prompt really cost in tokens makes the next estimate for that model better."""
        # Else the ratio says nothing of a text's.
        by_bytes = not (request.images or request.by_reference or request.token_ids)
        if usage.prompt_tokens and not usage.estimated and by_bytes:
            self._ratios.observe(model, request.prompt_bytes, usage.prompt_tokens)


def _hard_bound(request: Facts) -> int | None:
    """Tokens that its prompt can never exceed; None: unknown."""
    bound = prompt_hard_bound(
        prompt_bytes=request.prompt_bytes,
        message_count=request.message_count,
        images=request.images,
        tools=request.tools,
        by_reference=request.by_reference or _more_than_text(request),
    )
    return bound if bound is None or not request.token_ids else min(bound + request.token_ids, TOKENS_MAX)


def _more_than_text(request: Facts) -> bool:
    """Something is billed that is neither in the body nor visible in the stream."""
    return request.audio or request.other_output or request.hosted_tools


def _refuse_uncounted(request: Facts) -> None:
    """The provider tells the usage of one answer, whatever was asked for. What makes no output has no answers."""
    if not isinstance(request, UnstreamedRequest):
        raise InvalidRequest(
            "Where this model is served the usage of one answer is reported, however many are asked for, "
            "so several cannot be charged for; nothing was reserved or sent.",
            param="prompt" if request.prompts != 1 else "n",
            code="answers_not_counted",
        )


def _refuse_unpriced(request: Facts, target: Target) -> None:
    """By policy: what a provider bills by another measure than the tokens that we charge."""
    so = "so it cannot be charged for; nothing was reserved or sent."
    if request.audio:
        raise InvalidRequest(f"Audio is not metered yet, {so}", param="modalities", code="audio_not_priced")
    if request.other_output:
        raise InvalidRequest(
            f"Output other than text is not metered yet, {so}", param="modalities", code="output_not_priced"
        )
    if request.hosted_tools:
        raise InvalidRequest(
            f"A tool that the provider runs is billed by the call, {so}", param="tools", code="hosted_tool_not_priced"
        )
    tier = request.service_tier
    if tier and tier not in target.service_tiers and tier not in STANDARD_TIERS:
        raise InvalidRequest(
            f"This service tier has no price here, {so}", param="service_tier", code="service_tier_not_priced"
        )
