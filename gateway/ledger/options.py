"""What an operator may choose about the ledger. Every time is a setting, so that a test need not wait for it."""

import msgspec


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, amounts in µcr."""

    lanes: int = 4
    """Connections that batches travel on. An organisation has one batch under way at most, on whichever is free."""
    batch_max: int = 100
    """Items in one batch. Larger ones make the loop's turns longer, in which nobody else is served: with 200 a quiet
    organisation beside a flood waited 12 ms (p99, data in memory), with 100 it waits 7, and the flood is as fast."""
    statement_timeout_s: float = 5.0
    connect_timeout_s: float = 3.0
    retry_first_s: float = 0.05
    retry_most_s: float = 1.0
    """Pauses between attempts while the database does not answer: from the first, doubling to the most."""
    hold_timeout_s: float = 5.0
    """How long a reservation or extension waits for a database that does not answer."""
    holds_waiting_max: int = 20_000
    """Reservations and extensions of one organisation waiting for their batch; more are refused as unavailable."""
    endings_waiting_max: int = 100_000
    """Endings waiting to be posted; beyond it nothing new is reserved. An ending itself is never refused."""

    queue_wait_s: float = 2.0
    """How long a call waits for credits that others hold before it is told so."""
    queue_max: int = 1_000
    """Calls waiting so, for one account."""
    queue_poll_s: float = 0.1
    """The net under being woken: how often a waiting account is tried although nothing was heard."""
    refusal_memory_s: float = 0.2
    refusal_memory_accounts: int = 10_000

    receivable_max_ucr: int = 100_000_000
    """What an account may owe for costs above its reservations; the operator waives the rest."""

    beat_s: float = 2.0
    dead_after_s: float = 30.0
    """Silence after which an instance is declared dead, and what was open there is ended."""
    sweep_s: float = 5.0
    sweep_rows: int = 500
    """Reservations that one sweeping statement ends."""
    reconcile_s: float = 30.0
    due_s: float = 5.0
    """How often grants are looked for that became effective or expired on accounts that nobody uses."""
    partitions_s: float = 3600.0
    months_ahead: int = 3
    audit_s: float = 300.0
    audit_accounts: int = 200
    """Accounts checked in one statement."""
    parked_max: int = 3
    """Accounts that the audit may park by itself."""
    reservation_life_s: float = 600.0
    """How long a reservation of an outside caller lives unless it asks otherwise; a call's lives with its process."""
    reservation_life_max_s: float = 86_400.0
    job_life_max_s: float = 691_200.0
    """Work that outlives its request: eight days, so that a provider's batch of a week fits."""
    late_window_s: float = 86_400.0
    """How long after the longest life the real cost of what was swept or expired may still come; a month that is older
    may be archived, and what comes for it then goes to quarantine."""
    expire_s: float = 5.0
    """How often reservations and jobs whose time is over are ended."""
    snapshots_s: float = 15.0
    """How often it is looked for snapshots that stay open, which slow hot accounts."""
    outbox_s: float = 15.0
    """How often the rows that wait in the outbox are counted."""
    sole_owner: bool = False
    """The data folder's lock proves that no other process lives on this database."""
