-- Changes of users and subscriptions are told in the audit log, so their functions are told who makes them.

DROP FUNCTION IF EXISTS create_user(uuid, uuid, text, text, text, text, text);
DROP FUNCTION IF EXISTS change_subscription(uuid, uuid, uuid, text, text, plan_terms, timestamptz, boolean, text, timestamptz);
