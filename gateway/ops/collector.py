"""Python's garbage collector, in a process that serves calls."""

import gc


def calm_collector() -> None:
    """What start-up made stays; calls make few cycles, so looking for them after every 700 objects is waste."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
