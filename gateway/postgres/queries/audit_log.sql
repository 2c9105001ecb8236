-- name: chain
SELECT chain_audit_log($1);

-- Of the three parts of each list one is run: an object's or an actor's entries have an index of their own.
-- $1 organisation · $2 first id · $3 id past the last · $4 object · $5 actor · $6 entries to look at

-- name: newest_first
-- $10: whether mark-ups may be told
SELECT id, org_id, at, actor, address, action, object_kind, object_id, reason, request_id,
       CASE WHEN is_of_erased(org_id, object_kind, object_id) THEN without_person(before) ELSE before END AS before,
       CASE WHEN is_of_erased(org_id, object_kind, object_id) THEN without_person(after) ELSE after END AS after
  FROM ((SELECT * FROM audit_log WHERE $4::uuid IS NULL AND $5::text IS NULL AND org_id = $1 AND id >= $2 AND id < $3
          ORDER BY id DESC LIMIT $6)
        UNION ALL
        (SELECT * FROM audit_log WHERE org_id = $1 AND object_id = $4 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $6)
        UNION ALL
        (SELECT * FROM audit_log WHERE $4 IS NULL AND org_id = $1 AND actor = $5 AND id >= $2 AND id < $3
          ORDER BY id DESC LIMIT $6)) AS looked
 WHERE ($5 IS NULL OR actor = $5)
   AND ($7::text IS NULL OR action = $7)
   AND ($8::text IS NULL OR object_kind = $8)
   AND ($10 OR object_kind <> 'markup')
 ORDER BY id DESC
 LIMIT $9;

-- name: about
-- Of these objects, or by these actors: $2 objects · $3 actors · $4 entries.
SELECT id, org_id, at, actor, address, action, object_kind, object_id, reason, request_id,
       CASE WHEN is_of_erased(org_id, object_kind, object_id) THEN without_person(before) ELSE before END AS before,
       CASE WHEN is_of_erased(org_id, object_kind, object_id) THEN without_person(after) ELSE after END AS after
  FROM (SELECT e.*
          FROM unnest($2::uuid[]) AS object
         CROSS JOIN LATERAL (SELECT * FROM audit_log WHERE org_id = $1 AND object_id = object ORDER BY id DESC LIMIT $4) AS e
        UNION
        SELECT e.*
          FROM unnest($3::text[]) AS who
         CROSS JOIN LATERAL (SELECT * FROM audit_log WHERE org_id = $1 AND actor = who ORDER BY id DESC LIMIT $4) AS e
         ORDER BY id DESC
         LIMIT $4) AS found
 ORDER BY id DESC;

-- name: look_back
WITH looked AS MATERIALIZED (
    SELECT id
      FROM ((SELECT id FROM audit_log WHERE $4::uuid IS NULL AND $5::text IS NULL AND org_id = $1 AND id >= $2 AND id < $3
              ORDER BY id DESC LIMIT $6)
            UNION ALL
            (SELECT id FROM audit_log WHERE org_id = $1 AND object_id = $4 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $6)
            UNION ALL
            (SELECT id FROM audit_log WHERE $4 IS NULL AND org_id = $1 AND actor = $5 AND id >= $2 AND id < $3
              ORDER BY id DESC LIMIT $6)) AS parts
)
SELECT count(*) AS looked, (SELECT id FROM looked ORDER BY id LIMIT 1) AS last_id FROM looked;

-- name: chain_end
SELECT position, hash, (SELECT count(*) FROM audit_waiting) AS waiting FROM audit_chain;

-- name: links
-- After $1, up to $2 of them, each with what its entry says now: NULL where there is none.
SELECT k.position, k.org_id, k.id, k.content_hash, k.hash,
       CASE WHEN l.id IS NOT NULL THEN audit_content_hash(l) END AS content_hash_now
  FROM audit_link k
  LEFT JOIN audit_log l ON l.org_id = k.org_id AND l.id = k.id
 WHERE k.position > $1 AND k.position <= $2
 ORDER BY k.position;

-- name: unlinked
-- Entries that are neither chained nor wait for it, and what waits without an entry.
SELECT l.org_id, l.id, true AS is_there
  FROM audit_log l
 WHERE NOT EXISTS (SELECT FROM audit_link k WHERE k.org_id = l.org_id AND k.id = l.id)
   AND NOT EXISTS (SELECT FROM audit_waiting w WHERE w.org_id = l.org_id AND w.id = l.id)
UNION ALL
SELECT w.org_id, w.id, false
  FROM audit_waiting w
 WHERE NOT EXISTS (SELECT FROM audit_log l WHERE l.org_id = w.org_id AND l.id = w.id)
 ORDER BY id, org_id
 LIMIT 1;
