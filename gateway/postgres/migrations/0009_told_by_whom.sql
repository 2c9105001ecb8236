-- Changes of users and subscriptions are told in the audit log, so their functions are told who makes them. To bring an
-- account up to date is to lock it, and needs no function of its own.

DROP FUNCTION IF EXISTS bring_account_up_to_date(uuid, uuid);
DROP FUNCTION IF EXISTS create_user(uuid, uuid, text, text, text, text, text);
DROP FUNCTION IF EXISTS change_subscription(uuid, uuid, uuid, text, text, plan_terms, timestamptz, boolean, text, timestamptz);
