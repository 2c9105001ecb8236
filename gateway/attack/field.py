"""Where an attack takes place: the client, what is known of the upstream, and what went wrong so far."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.attack.client import Answer, Client
from gateway.attack.loss import Loss

PLENTY_UCR: Final = 100_000_000

Directions = dict[str, Any]
"""What the replay provider is told: `{"output_tokens": 5}`."""


@dataclass
class Field:
    client: Client
    steered: bool
    """The replay provider is behind the gateway and hears what it is told."""
    loss: Loss = field(default_factory=Loss)

    def expect(self, true: bool, otherwise: str) -> None:
        """A fault, where it is not so."""
        if not true:
            self.loss.faults.append(otherwise)

    def expect_refused(self, answer: Answer, what: str) -> None:
        self.expect(400 <= answer.status < 500, f"{what} was answered with {answer.status}")


@dataclass(frozen=True)
class Attack:
    name: str
    tries: str
    """What for, in a sentence."""
    run: Callable[[Field], Awaitable[None]]
    needs_steering: bool = False
