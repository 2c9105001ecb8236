-- What a key is for, from where it may be used, and which key took its place.

ALTER TABLE api_key
    ADD COLUMN kind text NOT NULL DEFAULT 'inference'
        CONSTRAINT api_key_kind_known CHECK (kind IN ('inference', 'management', 'sandbox')),
    -- The last characters of the key, for people to recognise it by; NULL for keys made before this was kept.
    ADD COLUMN last_four text NULL CONSTRAINT api_key_last_four_are_four CHECK (char_length(last_four) = 4),
    -- The only networks it may be used from; NULL allows all.
    ADD COLUMN ip_allow cidr[] NULL CONSTRAINT api_key_ip_allow_is_bounded CHECK (cardinality(ip_allow) BETWEEN 1 AND 100),
    -- Grows with every change, so that nobody overwrites what they have not seen.
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    -- The key that rotation made of this one.
    ADD COLUMN replaced_by uuid NULL,
    ADD CONSTRAINT api_key_replaced_by_one_of_the_org FOREIGN KEY (org_id, replaced_by) REFERENCES api_key;
