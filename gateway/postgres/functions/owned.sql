-- Reservations that no process of the gateway answers for: of outside callers (api) and of jobs. They end by being settled,
-- or by the database's clock; who owns one is asked for with every change.

-- The one place where these become items of the batch functions; by name, so that it does not matter what else those have.
CREATE OR REPLACE FUNCTION plain_wish(p_id uuid, p_accounts uuid[], p_ucr bigint, p_user uuid, p_key_id uuid, p_model text,
                                      p_feature text, p_ends_at timestamptz) RETURNS wish_item
LANGUAGE plpgsql AS $$
DECLARE
    w wish_item;
BEGIN
    w.id := p_id;
    w.account_ids := p_accounts;
    w.amount_ucr := p_ucr;
    w.learned_ucr := p_ucr;
    w.prompt_ucr := 0;
    w.user_id := p_user;
    w.key_id := p_key_id;
    w.model := coalesce(p_model, '');
    w.feature := p_feature;
    w.ends_at := p_ends_at;
    RETURN w;
END
$$;

-- So much and no more, in one line: for what ends without saying what it used.
CREATE OR REPLACE FUNCTION plainly_used(p_ucr bigint, p_line text) RETURNS used_item LANGUAGE plpgsql AS $$
DECLARE
    u used_item;
BEGIN
    u.cost_ucr := p_ucr;
    u.numerator := (p_ucr * 1000000::numeric)::text;
    u.lines := CASE WHEN p_ucr = 0 THEN '[]' ELSE jsonb_build_array(jsonb_build_array(p_line, p_ucr, 1000000))::text END;
    RETURN u;
END
$$;

-- Of nothing, it is a release.
CREATE OR REPLACE FUNCTION plain_ending(p_id uuid, p_account uuid, p_ended text, p_used used_item, p_bounded boolean, p_user uuid,
                             p_key_id uuid, p_model text, p_feature text) RETURNS settlement_item
LANGUAGE plpgsql AS $$
DECLARE
    s settlement_item;
BEGIN
    s.id := p_id;
    s.account_id := p_account;
    s.ended := p_ended;
    s.delivered := p_used.cost_ucr > 0;
    s.cost_ucr := p_used.cost_ucr;
    s.numerator := p_used.numerator;
    s.lines := p_used.lines;
    s.waive_above_held := p_bounded;
    s.user_id := p_user;
    s.key_id := p_key_id;
    s.model := coalesce(nullif(p_used.model, ''), p_model, '');
    s.feature := coalesce(nullif(p_used.feature, ''), p_feature);
    s.prompt_tokens := p_used.prompt_tokens;
    s.cached_tokens := p_used.cached_tokens;
    s.cache_write_tokens := p_used.cache_write_tokens;
    s.output_tokens := p_used.output_tokens;
    s.tags := p_used.tags;
    s.streamed := false;
    RETURN s;
END
$$;

-- What the audit log keeps of one that is open.
CREATE OR REPLACE FUNCTION reservation_terms(r reservation) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('account_id', r.account_id, 'user_id', r.user_id, 'model', r.model, 'held_ucr', r.amount_ucr,
                              'spent_ucr', r.spent_ucr, 'expires_at', r.expires_at)
$$;


-- Reserves for an owner, each wish with an answer of its own: what reserve_batch answers, or conflict (another's id).
-- Refused as a whole: no_job. nothing_held: each has an answer that says why not. With p_by, what is new is audited.
CREATE OR REPLACE FUNCTION reserve_owned(p_org uuid, p_owner_kind text, p_owner uuid, p_life_s double precision, p_wishes owned_wish[],
                              p_by origin, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_ends    timestamptz;
    v_wishes  wish_item[];
    v_answers hold_answer[];
BEGIN
    IF p_owner_kind = 'job' THEN
        SELECT expires_at INTO v_ends FROM job WHERE org_id = p_org AND id = p_owner AND ended_at IS NULL FOR SHARE;
        IF v_ends IS NULL OR v_ends <= clock_timestamp() THEN
            status := 'no_job';
            RETURN;
        END IF;
    END IF;
    v_wishes := ARRAY(
        SELECT plain_wish(w.id, w.account_ids, w.amount_ucr, w.user_id, w.key_id, w.model, w.feature,
                          least(clock_timestamp() + make_interval(secs => p_life_s), v_ends))
          FROM unnest(p_wishes) WITH ORDINALITY AS w (id, account_ids, amount_ucr, user_id, key_id, model, feature, n) ORDER BY w.n);
    v_answers := (run_batch(p_org, p_owner_kind, p_owner, 0, '{}', '{}', v_wishes)).wishes;
    status := CASE WHEN EXISTS (SELECT FROM unnest(v_answers) AS v WHERE v.status IN ('ok', 'exists')) THEN 'ok' ELSE 'nothing_held' END;
    SELECT jsonb_agg(jsonb_build_object(
               'id', (p_wishes[n]).id,
               'status', CASE WHEN (v_answers[n]).status = 'exists' AND r.id IS NULL THEN 'conflict' ELSE (v_answers[n]).status END,
               'held_ucr', coalesce(r.amount_ucr, 0), 'available_ucr', (v_answers[n]).available_ucr,
               'balance_ucr', (v_answers[n]).balance_ucr, 'account_id', (v_answers[n]).account_id,
               'budget_scope', (v_answers[n]).budget_scope, 'resets_at', (v_answers[n]).resets_at, 'created_at', r.created_at,
               'expires_at', r.expires_at) ORDER BY n)
      INTO answer
      FROM generate_subscripts(p_wishes, 1) AS n
      LEFT JOIN reservation r ON r.org_id = p_org AND r.id = (p_wishes[n]).id AND r.owner_kind = p_owner_kind AND r.owner_id = p_owner
                             AND (v_answers[n]).status IN ('ok', 'exists');
    answer := jsonb_build_object('items', answer);
    IF (p_by).actor IS NOT NULL THEN
        PERFORM write_audit_log(p_org, p_by, 'reservation.created', 'reservation', r.id, NULL, reservation_terms(r))
           FROM generate_subscripts(p_wishes, 1) AS n
           JOIN reservation r ON r.org_id = p_org AND r.id = (p_wishes[n]).id
          WHERE (v_answers[n]).status = 'ok';
    END IF;
END
$$;


-- "Hold at least, and for so long from now": absolute, so that asking twice is asking once; p_spent raises the watermark.
-- Refused: unknown (not open, not this owner's, or its time is over) · whatever extend_batch answers. With p_by, it is audited.
CREATE OR REPLACE FUNCTION extend_owned(p_org uuid, p_owner_kind text, p_owner uuid, p_id uuid, p_at_least bigint, p_life_s double precision,
                             p_life_max_s double precision, p_spent bigint, p_by origin, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now    timestamptz;
    v_answer hold_answer;
    v_before reservation;
    x        extension_item;
    r        reservation;
    a        account;
BEGIN
    a := lock_account(p_org, (SELECT o.account_id FROM reservation o WHERE o.org_id = p_org AND o.id = p_id));
    v_now := clock_timestamp();
    SELECT * INTO r
      FROM reservation o
     WHERE o.org_id = p_org AND o.id = p_id AND o.owner_kind = p_owner_kind AND o.owner_id = p_owner AND o.expires_at > v_now
       FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        status := 'unknown';
        RETURN;
    END IF;
    v_before := r;
    x.id := p_id;
    x.account_id := r.account_id;
    x.at_least_ucr := p_at_least;
    v_answer := (run_batch(p_org, p_owner_kind, p_owner, 0, '{}', ARRAY[x], '{}')).extensions[1];
    status := CASE WHEN v_answer.status = 'exists' THEN 'ok' ELSE v_answer.status END;
    IF status = 'ok' THEN
        UPDATE reservation o
           SET expires_at = greatest(o.expires_at, least(v_now + make_interval(secs => p_life_s),
                                                         o.created_at + make_interval(secs => p_life_max_s))),
               spent_ucr = greatest(o.spent_ucr, p_spent)
         WHERE o.org_id = p_org AND o.id = p_id
        RETURNING * INTO r;
        IF (p_by).actor IS NOT NULL AND reservation_terms(r) <> reservation_terms(v_before) THEN
            PERFORM write_audit_log(p_org, p_by, 'reservation.extended', 'reservation', p_id, reservation_terms(v_before),
                                    reservation_terms(r));
        END IF;
    END IF;
    answer := jsonb_build_object('id', p_id, 'held_ucr', r.amount_ucr, 'available_ucr', v_answer.available_ucr, 'balance_ucr',
                                 v_answer.balance_ucr, 'expires_at', r.expires_at, 'budget_scope', v_answer.budget_scope,
                                 'resets_at', v_answer.resets_at);
END
$$;


-- Ends one with its cost; of nothing, it is released. One that had expired gets the difference, once, as after a sweep.
-- Refused: unknown · conflict (it ended otherwise). exists: it ended so before. With p_by, what is done is audited.
CREATE OR REPLACE FUNCTION settle_owned(p_org uuid, p_owner_kind text, p_owner uuid, p_id uuid, p_used used_item, p_receivable_max bigint,
                             p_by origin, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_ended  text := CASE WHEN p_used.cost_ucr > 0 THEN 'ok' ELSE 'cancelled' END;
    v_before jsonb;
    r        reservation;
    c        ledger;
    s        settlement_item;
    a        account;
BEGIN
    a := lock_account(p_org, coalesce((SELECT o.account_id FROM reservation o WHERE o.org_id = p_org AND o.id = p_id),
                                      (SELECT l.account_id FROM ledger l WHERE l.org_id = p_org AND l.id = p_id)));
    SELECT * INTO r
      FROM reservation o WHERE o.org_id = p_org AND o.id = p_id AND o.owner_kind = p_owner_kind AND o.owner_id = p_owner;
    SELECT * INTO c FROM ledger l WHERE l.org_id = p_org AND l.id = p_id AND l.ended IN ('ok', 'cancelled', 'expired');
    s := plain_ending(p_id, a.account_id, v_ended, p_used, false, coalesce(r.user_id, c.user_id), coalesce(r.key_id, c.key_id),
                      coalesce(r.model, c.model), coalesce(r.feature, c.feature));
    IF r.id IS NOT NULL OR c.ended = 'expired' THEN
        v_before := CASE WHEN r.id IS NOT NULL THEN reservation_terms(r)
                         ELSE jsonb_build_object('ended', c.ended, 'charged_ucr', charged_ucr(c)) END;
        status := (run_batch(p_org, NULL, NULL, p_receivable_max, ARRAY[s], '{}', '{}')).settlements[1].status;
        status := CASE WHEN status IN ('settled', 'late') THEN 'ok' WHEN status = 'same' THEN 'exists' ELSE status END;
    ELSE
        status := CASE WHEN c.id IS NULL THEN 'unknown' WHEN cost_ucr(c) = p_used.cost_ucr AND c.ended = v_ended THEN 'exists' ELSE 'conflict' END;
    END IF;
    IF status IN ('ok', 'exists') THEN
        SELECT * INTO c FROM ledger l WHERE l.org_id = p_org AND l.id = p_id;
        SELECT * INTO a FROM account x WHERE x.org_id = p_org AND x.account_id = c.account_id;
        answer := standing(a) || jsonb_build_object('id', p_id, 'account_id', c.account_id, 'cost_ucr', p_used.cost_ucr)
               || (SELECT jsonb_build_object('charged_ucr', sum(signed.sign * charged_ucr(l)), 'overage_ucr', sum(signed.sign * coalesce(l.overage_ucr, 0)))
                     FROM ledger l CROSS JOIN LATERAL (SELECT CASE l.kind WHEN 'REFUND' THEN -1 ELSE 1 END AS sign) AS signed
                    WHERE l.org_id = p_org AND l.id IN (p_id, late_id(p_id)));
        IF status = 'ok' AND (p_by).actor IS NOT NULL THEN
            PERFORM write_audit_log(p_org, p_by, CASE v_ended WHEN 'ok' THEN 'reservation.settled' ELSE 'reservation.released' END,
                                    'reservation', p_id, v_before,
                                    jsonb_build_object('account_id', c.account_id, 'cost_ucr', p_used.cost_ucr, 'charged_ucr',
                                                       answer->'charged_ucr', 'overage_ucr', answer->'overage_ucr'));
        END IF;
    END IF;
END
$$;


-- Ends reservations of one account whose time is over, or those of an owner that has ended: charged what they had reported
-- as spent, never more than was held.
CREATE OR REPLACE FUNCTION expire_reservations(p_org uuid, p_account uuid, p_owner uuid, p_most integer, OUT ended integer,
                                    OUT charged_ucr bigint)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_items settlement_item[];
BEGIN
    PERFORM lock_account(p_org, p_account);
    v_items := ARRAY(
        SELECT plain_ending(r.id, r.account_id, 'expired', plainly_used(r.spent_ucr, 'expired'), true, r.user_id, r.key_id, r.model,
                            r.feature)
          FROM reservation r
         WHERE r.org_id = p_org AND r.account_id = p_account AND r.owner_kind IN ('api', 'job')
           AND (r.expires_at <= clock_timestamp() OR r.owner_id = p_owner)
         ORDER BY r.id
         LIMIT p_most);
    SELECT count(*), coalesce(sum((u).charged_ucr), 0) INTO ended, charged_ucr
      FROM unnest((run_batch(p_org, NULL, NULL, 0, v_items, '{}', '{}')).settlements) AS u;
END
$$;
