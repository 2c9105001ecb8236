-- What providers keep under ids of their own: whose each is, and where. Organisations share the provider's account, so an id
-- alone proves nothing. The provider forgets it at its own time; the row goes when that time is over.
CREATE TABLE stored_object (
    org_id      uuid        NOT NULL REFERENCES org,
    id          text        NOT NULL CONSTRAINT stored_object_id_is_short CHECK (length(id) BETWEEN 1 AND 256),
    kind        text        NOT NULL CONSTRAINT stored_object_kind_is_known CHECK (kind IN ('response', 'conversation', 'item')),
    parent_id   text        NOT NULL,
    upstream    text        NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
COMMENT ON COLUMN stored_object.parent_id IS 'The response that it came with; a response''s is its own.';
CREATE INDEX stored_object_parent ON stored_object (org_id, parent_id);
CREATE INDEX stored_object_expires ON stored_object (expires_at);

-- Responses that go on behind their requests: asked for until they end, then settled. Reserved as a job's, so that neither a
-- process's death nor a provider's silence leaves one free: what is never settled is charged what it holds.
CREATE TABLE background_response (
    org_id         uuid        NOT NULL REFERENCES org,
    id             uuid        NOT NULL,
    response_id    text        NOT NULL,
    upstream       text        NOT NULL,
    upstream_model text        NOT NULL,
    model          text        NOT NULL,
    prices         jsonb       NOT NULL,
    service_tier   text        NOT NULL,
    prompt_tokens  bigint      NOT NULL CONSTRAINT background_response_prompt_is_no_debt CHECK (prompt_tokens >= 0),
    held_ucr       bigint      NOT NULL CONSTRAINT background_response_held_is_no_debt CHECK (held_ucr >= 0),
    tags           jsonb,
    polls          integer     NOT NULL DEFAULT 0,
    poll_at        timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
COMMENT ON COLUMN background_response.id IS 'The call: its job and its reservation have the same id.';
CREATE UNIQUE INDEX background_response_of ON background_response (org_id, response_id);
CREATE INDEX background_response_due ON background_response (poll_at);
