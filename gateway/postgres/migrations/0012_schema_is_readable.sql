-- The application looks at the schema's version to say whether it is ready; it is the owner who changes it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
        GRANT SELECT ON schema_migration TO tollgate_app;
    END IF;
END
$$;
