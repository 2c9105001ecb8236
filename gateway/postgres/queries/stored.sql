-- What providers keep for organisations, and responses that go on in the background.

-- name: remember
INSERT INTO stored_object (org_id, id, kind, parent_id, upstream, expires_at)
SELECT o.org_id, o.id, o.kind, o.parent_id, o.upstream, clock_timestamp() + make_interval(secs => $6)
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) AS o (org_id, id, kind, parent_id, upstream)
    ON CONFLICT (org_id, id) DO NOTHING;

-- name: find
SELECT id, kind, upstream FROM stored_object WHERE org_id = $1 AND id = ANY($2::text[]) AND expires_at > clock_timestamp();

-- name: forget
DELETE FROM stored_object WHERE org_id = $1 AND (id = $2 OR parent_id = $2);

-- name: purge
DELETE FROM stored_object
 WHERE (org_id, id) IN (SELECT org_id, id FROM stored_object WHERE expires_at <= clock_timestamp() LIMIT $1);

-- name: count_background
SELECT count(*) FROM background_response WHERE org_id = $1;

-- name: open_background
INSERT INTO background_response (org_id, id, response_id, upstream, upstream_model, model, prices, service_tier, prompt_tokens,
                                 held_ucr, tags, poll_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp() + make_interval(secs => $12),
        clock_timestamp() + make_interval(secs => $13))
    ON CONFLICT DO NOTHING;

-- name: find_background
SELECT org_id, id, response_id, upstream, upstream_model, model, prices::text, service_tier, prompt_tokens, held_ucr, tags::text,
       polls, expires_at <= clock_timestamp() AS expired
  FROM background_response
 WHERE org_id = $1 AND response_id = $2;

-- name: take_background
-- Those that are due, for whoever asks first: each is due again after a while, should he not come back.
UPDATE background_response b
   SET polls = b.polls + 1,
       poll_at = clock_timestamp() + make_interval(secs => least($3, $2 * power(1.5, least(b.polls, 20))))
 WHERE (b.org_id, b.id) IN (SELECT d.org_id, d.id FROM background_response d WHERE d.poll_at <= clock_timestamp()
                             ORDER BY d.poll_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING b.org_id, b.id, b.response_id, b.upstream, b.upstream_model, b.model, b.prices::text, b.service_tier, b.prompt_tokens,
          b.held_ucr, b.tags::text, b.polls, b.expires_at <= clock_timestamp() AS expired;

-- name: end_background
DELETE FROM background_response WHERE org_id = $1 AND id = $2;
