-- Who may call: organisations and their API keys. Small tables, read through a cache and changed by people.

CREATE TABLE org (
    org_id uuid PRIMARY KEY,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT org_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT org_status_is_known CHECK (status IN ('active', 'suspended'))
);

CREATE INDEX org_name ON org (name);

CREATE TABLE api_key (
    org_id uuid NOT NULL REFERENCES org,
    key_id uuid NOT NULL,
    name text NOT NULL,
    -- SHA-256 of the whole key. A key is 256 random bits: no list of likely keys exists that a slow hash would have to
    -- protect, and a fast one can be looked up by index.
    hash bytea NOT NULL,
    -- The first characters of the key, for people to recognise it by.
    prefix text NOT NULL,
    -- The only models the key may use; NULL allows all.
    models text[] NULL,
    user_id uuid NULL,
    expires_at timestamptz NULL,
    revoked_at timestamptz NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, key_id),
    CONSTRAINT api_key_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT api_key_hash_is_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT api_key_models_are_bounded CHECK (cardinality(models) BETWEEN 1 AND 1000)
);

CREATE UNIQUE INDEX api_key_hash ON api_key (hash);

-- Every process caches keys. A change, whoever makes it (psql too), tells them which entries to forget: `key <hash>` or
-- `org <id>`. NOTIFY takes a lock at commit that all notifying transactions share, so it belongs to rare changes such
-- as these and never to a call's path.

CREATE FUNCTION announce_api_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('tollgate_identity', 'key ' || encode(OLD.hash, 'hex'));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('tollgate_identity', 'key ' || encode(NEW.hash, 'hex'));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER api_key_changed AFTER INSERT OR UPDATE OR DELETE ON api_key
    FOR EACH ROW EXECUTE FUNCTION announce_api_key();

CREATE FUNCTION announce_org() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tollgate_identity', 'org ' || OLD.org_id);
    RETURN NULL;
END $$;

CREATE TRIGGER org_changed AFTER UPDATE OR DELETE ON org
    FOR EACH ROW EXECUTE FUNCTION announce_org();
