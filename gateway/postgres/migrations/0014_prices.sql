-- Prices that are set while the gateway runs, from when to when they hold, and what is put on top of them for whom. The
-- functions that change them are in ../functions/prices.sql.

-- One price of one model for one stretch of time. Stretches of one model do not overlap: the functions see to it, under
-- the lock of price_revision. What has begun is never altered but for its end.
CREATE TABLE price (
    price_id        uuid        PRIMARY KEY,
    provider        text        NOT NULL CONSTRAINT price_provider_is_named CHECK (char_length(provider) BETWEEN 1 AND 64),
    -- '*': every model of the provider that has no price of its own here.
    model           text        NOT NULL CONSTRAINT price_model_is_named CHECK (char_length(model) BETWEEN 1 AND 256),
    -- Also the price of the provider's models that have none anywhere.
    is_default      boolean     NOT NULL,
    -- core.pricing.Tariff.
    tariff          jsonb       NOT NULL CONSTRAINT price_has_tiers CHECK (tariff #> '{prices,tiers,0}' IS NOT NULL),
    effective_from  timestamptz NOT NULL,
    effective_until timestamptz,
    -- api, or set:<name>.
    source          text        NOT NULL CONSTRAINT price_source_is_named CHECK (char_length(source) BETWEEN 1 AND 100),
    actor           text        NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT price_ends_after_it_begins CHECK (effective_until > effective_from),
    CONSTRAINT price_begins_once UNIQUE (provider, model, effective_from)
);

-- What processes load.
CREATE INDEX price_to_come ON price (effective_until);

-- One row: grows with every change of prices and mark-ups, and is what they wait for.
CREATE TABLE price_revision (
    one      boolean PRIMARY KEY DEFAULT true CONSTRAINT price_revision_is_one CHECK (one),
    revision bigint  NOT NULL
);
INSERT INTO price_revision (revision) VALUES (1);

-- When the prices of a model were last changed: what If-Match is compared with.
CREATE TABLE price_model (
    provider text   NOT NULL,
    model    text   NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (provider, model)
);

-- In basis points, on everything that is charged by tokens, messages and requests. Of those that apply to an organisation
-- the narrowest holds: its own, its plan's, the one for all.
CREATE TABLE markup (
    scope        text        NOT NULL CONSTRAINT markup_scope_known CHECK (scope IN ('all', 'plan', 'org')),
    -- '' for all, else the plan's id or the organisation's.
    scope_id     text        NOT NULL CONSTRAINT markup_of_all_names_nobody CHECK ((scope_id = '') = (scope = 'all')),
    basis_points integer     NOT NULL CONSTRAINT markup_within_bounds CHECK (basis_points BETWEEN -9999 AND 100000),
    revision     bigint      NOT NULL,
    actor        text        NOT NULL,
    changed_at   timestamptz NOT NULL,
    PRIMARY KEY (scope, scope_id)
);

-- How many tokens of a provider's model an organisation has used by calendar month, in its own time zone: rolled up from
-- the ledger when a price asks for it.
CREATE TABLE model_month (
    org_id         uuid   NOT NULL,
    -- The month's first day.
    month          date   NOT NULL,
    upstream       text   NOT NULL,
    upstream_model text   NOT NULL,
    tokens         bigint NOT NULL,
    PRIMARY KEY (org_id, month, upstream, upstream_model)
) WITH (fillfactor = 50);

-- Up to which version an account's rows are in model_month.
CREATE TABLE model_month_progress (
    org_id     uuid   NOT NULL,
    account_id uuid   NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (org_id, account_id)
) WITH (fillfactor = 50);
