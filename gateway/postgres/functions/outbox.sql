-- What others should hear of, written with its cause: by triggers, so that no way of moving credits can forget it. Their
-- WHEN is all that a batch of calls pays for them.

CREATE OR REPLACE FUNCTION tell(p_org uuid, p_topic text, p_account uuid, p_payload jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO outbox (org_id, id, topic, account_id, payload)
    VALUES (p_org, new_ledger_id(clock_timestamp()), p_topic, p_account, p_payload)
$$;


CREATE OR REPLACE FUNCTION tell_of_account() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_figures jsonb := jsonb_build_object('balance_ucr', NEW.balance_ucr, 'held_ucr', NEW.held_ucr, 'receivable_ucr', NEW.receivable_ucr,
                                          'low_balance_ucr', NEW.low_balance_ucr);
BEGIN
    IF NEW.balance_ucr < OLD.balance_ucr AND NEW.balance_ucr = 0 THEN
        PERFORM tell(NEW.org_id, 'exhausted', NEW.account_id, v_figures);
    ELSIF NEW.balance_ucr < NEW.low_balance_ucr AND OLD.balance_ucr >= NEW.low_balance_ucr THEN
        PERFORM tell(NEW.org_id, 'low_balance', NEW.account_id, v_figures);
    END IF;
    IF NEW.receivable_ucr > OLD.receivable_ucr THEN
        PERFORM tell(NEW.org_id, 'overage', NEW.account_id,
                     v_figures || jsonb_build_object('overage_ucr', NEW.receivable_ucr - OLD.receivable_ucr));
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER account_tells AFTER UPDATE OF balance_ucr, receivable_ucr ON account FOR EACH ROW
    WHEN (NEW.balance_ucr < OLD.balance_ucr AND NEW.balance_ucr = 0
          OR NEW.balance_ucr < NEW.low_balance_ucr AND OLD.balance_ucr >= NEW.low_balance_ucr
          OR NEW.receivable_ucr > OLD.receivable_ucr)
    EXECUTE FUNCTION tell_of_account();


CREATE OR REPLACE FUNCTION tell_of_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell(NEW.org_id, 'budget_crossed', NULL,
                 jsonb_build_object('budget_id', b.budget_id, 'scope', b.scope, 'scope_id', b.scope_id, 'period', b.period,
                                    'period_start', nullif(NEW.period_start, '-infinity'), 'percent', percent,
                                    'used_ucr', NEW.used_ucr, 'max_ucr', b.max_ucr))
       FROM budget b, unnest(b.alert_percents) AS percent
      WHERE b.org_id = NEW.org_id AND b.budget_id = NEW.budget_id AND b.max_ucr > 0
        AND OLD.used_ucr * 100 < b.max_ucr::bigint * percent AND NEW.used_ucr * 100 >= b.max_ucr::bigint * percent;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER budget_tells AFTER UPDATE OF used_ucr ON budget_period FOR EACH ROW
    WHEN (NEW.used_ucr > OLD.used_ucr)
    EXECUTE FUNCTION tell_of_budget();
