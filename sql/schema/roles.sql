-- Roles and schemas. Supabase has the first three roles; a plain Postgres gets them without login.

-- Operators are resolved while this script runs. The schema copilot_internal may have existed before, and its owner must
-- not be able to put an operator of his into our views, functions and constraints.
set local search_path = pg_catalog, pg_temp;

do $$
begin
    if pg_catalog.current_setting('server_encoding') <> 'UTF8' then
        raise exception 'pg_tollgate needs a database with encoding UTF8' using errcode = 'feature_not_supported';
    end if;
end $$;

do $$
declare
    v_role record;
begin
    for v_role in
        select * from (values
            ('anon', 'nologin inherit'),
            ('authenticated', 'nologin inherit'),
            ('service_role', 'nologin inherit bypassrls'),
            ('metrics_reader', 'nologin inherit')
        ) as roles (name, attributes)
    loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role.name) then
            execute pg_catalog.format('create role %I %s', v_role.name, v_role.attributes);
        end if;
    end loop;
    -- An install script has no IF NOT EXISTS that leaves an existing schema outside the extension.
    if pg_catalog.to_regnamespace('metrics') is null then
        create schema metrics;
        comment on schema metrics is 'Read-only views of costs and quotas, live to the last committed record.';
    end if;
end $$;
