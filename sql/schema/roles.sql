-- Roles and schemas. Supabase has the first three roles; a plain Postgres gets them without login.

-- Operators are resolved while this script runs. The schema copilot_internal may have existed before, and no one must
-- be able to put an operator of another into our views, functions and constraints.
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
            ('metrics_reader', 'nologin inherit'),
            ('tollgate_owner', 'nologin noinherit')
        ) as roles (name, attributes)
    loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role.name) then
            begin
                execute pg_catalog.format('create role %I %s', v_role.name, v_role.attributes);
            exception when duplicate_object or unique_violation then
                -- Another database of this server has just made it.
                null;
            end;
        end if;
    end loop;
    -- What runs with the owner's rights has no rights but on what the extension made. The role is not named for the
    -- extension: names that begin with pg_ are reserved.
    if exists (select from pg_catalog.pg_roles r
                  where r.rolname = 'tollgate_owner'
                    and (r.rolsuper or r.rolcanlogin or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb
                         or r.rolreplication
                         or exists (select from pg_catalog.pg_auth_members m where r.oid in (m.roleid, m.member))))
    then
        raise exception 'there is a role tollgate_owner that can log in, has attributes, or is a member or has members'
            using errcode = 'object_not_in_prerequisite_state',
                hint = 'pg_tollgate makes this role to own its objects. Rename the one that is there.';
    end if;
    -- An install script has no IF NOT EXISTS that leaves an existing schema outside the extension.
    if pg_catalog.to_regnamespace('metrics') is null then
        create schema metrics;
        comment on schema metrics is 'Read-only views of costs and quotas, live to the last committed record.';
    end if;
end $$;

-- A schema may be there already: empty, or of superusers alone. Its owner could rename it and put another in its place,
-- and a role that may create in it could overload what is called there.
do $$
declare
    v_schema record;
    v_grant record;
begin
    for v_schema in
        select n.oid, n.nspname as name, n.nspowner::pg_catalog.regrole as owner,
               exists (select from pg_catalog.pg_roles r where r.oid = n.nspowner
                       and r.rolsuper) as is_ours,
               not exists (select from pg_catalog.pg_depend d
                           where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = n.oid
                             and d.classid <> 'pg_catalog.pg_extension'::regclass) as is_empty,
               (select min(o.name) from (
                    select c.relowner as owner, c.oid::regclass::text as name from pg_catalog.pg_class c
                    where c.relnamespace = n.oid
                    union all
                    select p.proowner, p.oid::regprocedure::text from pg_catalog.pg_proc p where p.pronamespace = n.oid
                    union all
                    select t.typowner, t.oid::regtype::text from pg_catalog.pg_type t where t.typnamespace = n.oid
                    union all
                    select p.oprowner, p.oid::regoperator::text from pg_catalog.pg_operator p
                    where p.oprnamespace = n.oid) o
                join pg_catalog.pg_roles r on r.oid = o.owner
                where n.nspname = 'copilot_internal' and not r.rolsuper) as strange
        from pg_catalog.pg_namespace n
        where n.nspname in ('copilot_internal', 'metrics')
    loop
        if not v_schema.is_empty and (not v_schema.is_ours or v_schema.strange is not null) then
            raise exception 'schema % belongs to %, or holds what does not belong to a superuser%', v_schema.name,
                v_schema.owner, coalesce(': ' || v_schema.strange, '')
                using errcode = 'object_not_in_prerequisite_state',
                    hint = 'pg_tollgate takes over a schema that is empty or of superusers alone. Rename this one.';
        end if;
        for v_grant in
            select distinct case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
            from pg_catalog.pg_namespace n cross join pg_catalog.aclexplode(n.nspacl) a
            where n.oid = v_schema.oid and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
        loop
            execute pg_catalog.format('revoke create on schema %I from %s', v_schema.name, v_grant.grantee);
        end loop;
        if not v_schema.is_ours then
            execute pg_catalog.format('alter schema %I owner to %I', v_schema.name, current_user);
        end if;
        -- A superuser keeps the schema: a dump names its owner before it makes the extension, and that the role.
        execute pg_catalog.format('grant usage on schema %I to tollgate_owner', v_schema.name);
    end loop;
end $$;

-- Library and script may be of two versions. An upgrade script begins with the same statement.
create function copilot_internal.begin_script(p_version text) returns void
    language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'begin_script_wrapper';
comment on function copilot_internal.begin_script(text) is
    'Called first by every script: refuses a library or a pg_tollgate that is older than the script. Charges wait '
    'until the script has ended.';
select copilot_internal.begin_script(extversion) from pg_catalog.pg_extension where extname = 'pg_tollgate';
