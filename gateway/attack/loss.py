"""What an attack got out of a gateway, or made it lose."""

from dataclasses import dataclass, field


@dataclass
class Loss:
    """Microcredits by the way they went; all zero, and no fault, on a sound gateway."""

    overspent_ucr: int = 0
    """Served and not charged, or credits that nobody gave."""
    double_charged_ucr: int = 0
    """Charged for nothing, or above what the answer's usage costs."""
    lost_ucr: int = 0
    """Given, and not in the books; or a balance that its own history does not explain."""
    leaked_ucr: int = 0
    """Still held after every call had ended."""
    faults: list[str] = field(default_factory=list)
    """What went wrong and is no amount: another's data shown, a server error, somebody who was starved."""

    @property
    def any(self) -> bool:
        amounts = (self.overspent_ucr, self.double_charged_ucr, self.lost_ucr, self.leaked_ucr)
        return bool(self.faults) or any(amounts)

    def add(self, other: "Loss") -> None:
        self.overspent_ucr += other.overspent_ucr
        self.double_charged_ucr += other.double_charged_ucr
        self.lost_ucr += other.lost_ucr
        self.leaked_ucr += other.leaked_ucr
        self.faults += other.faults
