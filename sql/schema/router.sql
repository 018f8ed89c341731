-- A database that routes calls to the nodes, each of which owns whole tenants. Its SQL is printed from the catalog of a
-- node, so that it has the node's signatures. Nothing here is called by anything that admits or records.

create function copilot_internal.router_functions()
    returns table (name text, qualified text, arguments text, signature text, types text, parameters text[],
        columns text[], result text, volatility text, remark text, rule text)
    language sql stable
begin atomic
    -- tenant: to the node of p_tenant_id. scope: likewise, or of p_scope_id. optional: to any node where it is NULL;
    -- some: to all of them. any, all: to any node, to all. batch, own: written below. none: not on a router.
    select p.proname::text, pg_catalog.format('%s.%I', p.pronamespace::pg_catalog.regnamespace, p.proname),
           pg_catalog.pg_get_function_arguments(p.oid),
           pg_catalog.pg_get_function_identity_arguments(p.oid), pg_catalog.oidvectortypes(p.proargtypes),
           array(select a.name from pg_catalog.unnest(p.proargnames) with ordinality a (name, number)
                 where p.proargmodes is null or p.proargmodes[a.number] = 'i' order by a.number),
           array(select a.name from pg_catalog.unnest(p.proargnames) with ordinality a (name, number)
                 where p.proargmodes[a.number] = 't' order by a.number),
           pg_catalog.pg_get_function_result(p.oid),
           case p.provolatile when 's' then 'stable' when 'i' then 'immutable' else 'volatile' end,
           pg_catalog.obj_description(p.oid, 'pg_proc'),
           case
               when r.rule is not null then r.rule
               -- A type of the node's is not there.
               when exists (select
                            from pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype)
                                u (type)
                            join pg_catalog.pg_type t on t.oid = u.type
                            where t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace) then 'none'
               when 'p_tenant_id' = any (p.proargnames) then 'tenant'
               else 'none'
           end
    from pg_catalog.pg_proc p
    left join (values ('set_quota', 'scope'), ('check_and_record_quota_atomic', 'scope'), ('has_quota', 'optional'),
            ('estimate_llm_cost', 'optional'), ('estimate_e2b_cost', 'optional'), ('get_llm_cost_estimate', 'optional'),
            ('get_e2b_cost_estimate', 'optional'), ('normalize_llm_usage', 'any'), ('record_llm_costs', 'batch'),
            ('record_e2b_costs', 'batch'), ('create_tenant', 'own'), ('create_personal_tenant', 'own'),
            ('get_user_tenants', 'own'), ('get_current_tenant_id', 'own'), ('switch_tenant', 'own'),
            ('erase_user', 'own'), ('claim_quota_events', 'some'), ('acknowledge_quota_events', 'own'),
            ('verify', 'all'), ('verify_counters', 'all'), ('maintain', 'all'), ('pending', 'all'),
            ('holdings', 'all'), ('reload_counters', 'own'), ('adjust_quota', 'tenant'),
            -- Its context could not be released there: the functions that take a context name no tenant.
            ('acquire_execution_context', 'none'))
        as r (name, rule) on r.name = p.proname
    where (p.pronamespace = 'public'::pg_catalog.regnamespace
           or p.pronamespace = 'copilot_internal'::pg_catalog.regnamespace and r.rule is not null)
      and p.prokind = 'f'
      and exists (select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
                  where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e'
                    and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                    and e.extname in ('pg_tollgate', 'pg_tollgate_conversations'))
      and exists (select from pg_catalog.pg_roles o where o.rolname = 'service_role'
                  and pg_catalog.has_function_privilege(o.oid, p.oid, 'execute'))
    order by p.proname;
end;
comment on function copilot_internal.router_functions() is
    'The functions that service_role may execute here and a router has, and how it finds the node of a call.';

create function copilot_internal.router_views() returns table (name text, columns text, remark text, readers text)
    language sql stable
begin atomic
    select c.relname::text,
           (select pg_catalog.string_agg(pg_catalog.format('%I %s', a.attname,
                pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
            from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
           pg_catalog.obj_description(c.oid, 'pg_class'),
           (select pg_catalog.string_agg(o.rolname, ', ' order by o.rolname) from pg_catalog.pg_roles o
            where o.rolname in ('service_role', 'metrics_reader')
              and pg_catalog.has_table_privilege(o.oid, c.oid, 'select'))
    from pg_catalog.pg_class c
    where c.relnamespace = 'metrics'::pg_catalog.regnamespace and c.relkind = 'v'
      and exists (select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
                  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e'
                    and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and e.extname = 'pg_tollgate')
    order by c.relname;
end;
comment on function copilot_internal.router_views() is
    'The views of metrics that the extension made, their columns, and who reads those of all tenants.';

-- What is on a router besides: the node of a tenant, and what asks more than one node.
create function copilot_internal.router_frame(p_nodes integer) returns text
    language sql immutable
begin atomic
    select pg_catalog.replace(
        $text$-- A router for pg_tollgate by PL/Proxy. Run this as a superuser in a database without it. Print it anew
-- and run it again after each upgrade of the nodes. What it does is told in docs/operate/several-machines.md.
begin;
set local search_path = pg_catalog, pg_temp;
set local client_min_messages = warning;
create extension if not exists plproxy schema pg_catalog;
do $router$
declare
    v_object record;
begin
    for v_object in select r.name, r.attributes from (values
        ('service_role', 'nologin inherit bypassrls'), ('metrics_reader', 'nologin inherit'),
        ('tollgate_router', 'nologin noinherit')) r (name, attributes)
    loop
        if not exists (select from pg_roles o where o.rolname = v_object.name) then
            execute format('create role %I %s', v_object.name, v_object.attributes);
        end if;
    end loop;
    if exists (select from pg_roles r where r.rolname = 'tollgate_router' and (r.rolsuper or r.rolcanlogin
               or exists (select from pg_auth_members m where r.oid in (m.roleid, m.member))))
    then
        raise exception 'there is a role tollgate_router that can log in, or is a superuser, a member or has members';
    end if;
    if exists (select from pg_extension where extname = 'pg_tollgate') then
        raise exception 'this database has pg_tollgate: a router is a database of its own';
    end if;
    -- Of one that another may write into, nothing is as it was printed.
    select n.nspname into v_object from pg_namespace n
    where n.nspname in ('copilot_internal', 'metrics')
      and (not (select o.rolsuper from pg_roles o where o.oid = n.nspowner)
           or exists (select from aclexplode(n.nspacl) a
                      where a.privilege_type = 'CREATE' and a.grantee <> n.nspowner));
    if found then
        raise exception 'the schema % is, or is open to, a role that is no superuser', v_object.nspname
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    -- What was printed before.
    for v_object in
        select format('drop view metrics.%I', c.relname) as drop from pg_class c
        where c.relowner = 'tollgate_router'::regrole and c.relkind = 'v'
        union all
        select format('drop function %s', p.oid::regprocedure) from pg_proc p
        where p.proowner = 'tollgate_router'::regrole and p.prorettype <> 'trigger'::regtype
    loop
        execute v_object.drop;
    end loop;
end $router$;
create schema if not exists copilot_internal;
create schema if not exists metrics;

-- Where a tenant is. One that is not placed is on a node by the hash of its id.
create table if not exists copilot_internal.placement (
    tenant_id uuid primary key check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    node integer not null check (node >= 0)
);
-- In which tenant a user works: each node knows of its own tenants only.
create table if not exists copilot_internal.current_tenants (user_id uuid primary key, tenant_id uuid not null);
-- Over how many nodes tenants are spread, and the key by which a user's personal tenant gets its id: without it nobody
-- finds a user by the tenant's id.
create table if not exists copilot_internal.router (
    is_the_only boolean primary key default true check (is_the_only),
    node_count integer not null,
    key text not null default gen_random_uuid()::text || gen_random_uuid()
);
do $router$
declare
    v_count integer;
begin
    insert into copilot_internal.router (node_count) values ($nodes$) on conflict do nothing;
    select r.node_count into v_count from copilot_internal.router r;
    if v_count <> $nodes$ then
        raise exception 'this router spreads tenants over % nodes, and the SQL was printed for $nodes$', v_count
            using errcode = 'object_not_in_prerequisite_state', hint = 'Print it with that number.';
    end if;
end $router$;

create function copilot_internal.node_count() returns integer
    language sql stable set search_path = pg_catalog, pg_temp as $router$
    select count(*)::integer from pg_foreign_server s, unnest(s.srvoptions) o (text)
    where s.srvname = 'tollgate' and o.text ~ '^(p|partition_)[0-9]+='
$router$;
create or replace function copilot_internal.check_placement() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $router$
begin
    if new.node >= copilot_internal.node_count() then
        raise exception 'the server tollgate has no node %', new.node using errcode = 'invalid_parameter_value';
    end if;
    return new;
end $router$;
create or replace trigger check_placement before insert or update on copilot_internal.placement
    for each row execute function copilot_internal.check_placement();
create function copilot_internal.node_of(p_tenant_id uuid) returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp as $router$
declare
    v_node integer;
begin
    if p_tenant_id is null then
        raise exception 'p_tenant_id must not be NULL: the router finds the node of a call by it'
            using errcode = 'invalid_parameter_value', hint = 'What is for all tenants is set on each node.';
    end if;
    select p.node into v_node from copilot_internal.placement p where p.tenant_id = p_tenant_id;
    v_node := coalesce(v_node, (uuid_hash_extended(p_tenant_id, 0) % $nodes$ + $nodes$) % $nodes$);
    -- PL/Proxy would take another node for one that is not there.
    if v_node >= copilot_internal.node_count() then
        raise exception 'the server tollgate has no node %', v_node using errcode = 'object_not_in_prerequisite_state';
    end if;
    return v_node;
end $router$;
create function copilot_internal.node_of(p_scope text, p_scope_id uuid, p_tenant_id uuid) returns integer
    language sql stable set search_path = pg_catalog, pg_temp as $router$
    select copilot_internal.node_of(
        case p_scope when 'tenant' then coalesce(p_tenant_id, p_scope_id) else p_tenant_id end)
$router$;
create function copilot_internal.any_node(p_tenant_id uuid) returns integer
    language sql stable set search_path = pg_catalog, pg_temp as $router$
    select case when p_tenant_id is null then 0 else copilot_internal.node_of(p_tenant_id) end
$router$;
create function copilot_internal.nodes_of(p_tenant_id uuid) returns setof integer
    language sql stable set search_path = pg_catalog, pg_temp as $router$
    select generate_series(0, copilot_internal.node_count() - 1) where p_tenant_id is null
    union all
    select copilot_internal.node_of(p_tenant_id) where p_tenant_id is not null
$router$;
alter table copilot_internal.placement owner to tollgate_router;
alter table copilot_internal.current_tenants owner to tollgate_router;
alter table copilot_internal.router owner to tollgate_router;
alter function copilot_internal.node_count() owner to tollgate_router;
alter function copilot_internal.check_placement() owner to tollgate_router;
alter function copilot_internal.node_of(uuid) owner to tollgate_router;
alter function copilot_internal.node_of(text, uuid, uuid) owner to tollgate_router;
alter function copilot_internal.any_node(uuid) owner to tollgate_router;
alter function copilot_internal.nodes_of(uuid) owner to tollgate_router;

$text$, '$nodes$', p_nodes::text);
end;
comment on function copilot_internal.router_frame(integer) is
    'How a router begins: its roles and tables, and the functions that find the node of a tenant.';

create function copilot_internal.router_function(
    p_name text, p_arguments text, p_signature text, p_result text, p_language text, p_body text)
    returns text language sql immutable
begin atomic
    select pg_catalog.format(E'create function %s(%s)\n    returns %s\n    language %s security definer '
        'set search_path = pg_catalog, pg_temp as $router$%s$router$;\n'
        'alter function %1$s(%6$s) owner to tollgate_router;\n', p_name, p_arguments, p_result, p_language, p_body,
        p_signature);
end;
comment on function copilot_internal.router_function(text, text, text, text, text, text) is
    'The SQL that makes a function of a router. It runs as the role that alone reaches the nodes. PL/Proxy''s are '
    'volatile, whatever the node''s are.';

-- Calls of more than one node, or of a node that is only known from other nodes. What asks nodes ends in _of_nodes.
create function copilot_internal.router_own_body(p_name text) returns text
    language sql immutable
begin atomic
    select case p_name
        when 'create_tenant' then $text$
begin
    return copilot_internal.create_tenant_of_nodes(p_name, p_slug, p_type, p_plan, p_owner_id,
        coalesce(p_tenant_id, gen_random_uuid()));
end $text$
        -- The same ids for the same user: calls that run at once meet on one node, which knows whether there is one.
        when 'create_personal_tenant' then $text$
declare
    c_ids constant integer := 8;
    v_key constant text := (select r.key from copilot_internal.router r);
begin
    if p_user_id is null then
        raise exception 'p_user_id must not be NULL' using errcode = 'invalid_parameter_value';
    elsif p_tenant_id is not null then
        raise exception 'p_tenant_id must be NULL: the router chooses a personal tenant''s id'
            using errcode = 'invalid_parameter_value';
    end if;
    for v_number in 1..c_ids loop
        begin
            return copilot_internal.create_personal_tenant_of_nodes(p_user_id, p_user_email, encode(substring(
                sha256(convert_to(concat_ws(':', v_key, p_user_id, v_number), 'UTF8')) for 16), 'hex')::uuid);
        exception when unique_violation then
            -- A tenant of the user has it from before they were erased.
            if v_number = c_ids then
                raise;
            end if;
        end;
    end loop;
end $text$
        when 'get_user_tenants' then $text$
#variable_conflict use_column
begin
    return query
    with found as (select * from copilot_internal.get_user_tenants_of_nodes(p_user_id)), present as (
        select f.tenant_id from found f
        left join copilot_internal.current_tenants c on c.user_id = p_user_id and c.tenant_id = f.tenant_id
        where f.is_active and (f.is_current or c.tenant_id is not null)
        order by c.tenant_id is null, f.joined_at, f.tenant_id limit 1
    )
    select f.tenant_id, f.tenant_name, f.tenant_slug, f.tenant_type, f.tenant_plan, f.role, f.is_active, f.joined_at,
           f.tenant_id is not distinct from (select p.tenant_id from present p)
    from found f order by f.joined_at, f.tenant_id;
end $text$
        when 'get_current_tenant_id' then $text$
begin
    if p_user_id is null then
        return null;
    end if;
    return (select t.tenant_id from public.get_user_tenants(p_user_id) t where t.is_current);
end $text$
        when 'switch_tenant' then $text$
declare
    v_switched boolean := copilot_internal.switch_tenant_of_nodes(p_tenant_id, p_user_id);
begin
    if v_switched then
        insert into copilot_internal.current_tenants as c (user_id, tenant_id) values (p_user_id, p_tenant_id)
        on conflict (user_id) do update set tenant_id = excluded.tenant_id;
    end if;
    return v_switched;
end $text$
        when 'erase_user' then $text$
begin
    delete from copilot_internal.current_tenants c
    where c.user_id = p_user_id and (p_tenant_id is null or c.tenant_id = p_tenant_id);
    return query
    with r as materialized (select * from copilot_internal.erase_user_of_nodes(p_user_id, p_tenant_id))
    select bool_and(r.finished), sum(r.changed)::bigint,
           array(select distinct u.name from r o cross join unnest(o.remaining) u (name) order by u.name)
    from r;
end $text$
        when 'acknowledge_quota_events' then $text$
begin
    return (select sum(a.count)
            from copilot_internal.acknowledge_quota_events_of_nodes(p_event_ids, p_tenant_id) a (count));
end $text$
        when 'reload_counters' then $text$
begin
    return (select sum(c.count) from copilot_internal.reload_counters_of_nodes() c (count));
end $text$
    end;
end;
comment on function copilot_internal.router_own_body(text) is
    'What a function of a router does that asks more than the node of its tenant.';

-- A batch is cut by node. What names no tenant is refused before anything is recorded.
create function copilot_internal.router_batch_body(p_name text, p_columns text[]) returns text
    language sql immutable
begin atomic
    select pg_catalog.replace(pg_catalog.replace($text$
declare
    v_number bigint;
    v_part record;
    v_recorded boolean := false;
    v_state text;
    v_message text;
    v_detail text;
    v_hint text;
begin
    -- What is no batch, a node refuses.
    if jsonb_typeof(p_records) is distinct from 'array' or jsonb_array_length(p_records) not between 1 and 10000 then
        return query select * from copilot_internal.$name$_of_nodes(0, p_records);
        return;
    end if;
    select min(e.number) into v_number
    from jsonb_array_elements(p_records) with ordinality e (record, number)
    where ((e.record ->> 'tenant_id') ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$') is not true;
    if v_number is not null then
        raise exception 'record %: tenant_id must be a UUID', v_number using errcode = 'invalid_parameter_value';
    end if;
    -- Nodes record one after the other. Only what has request ids can be sent again when a later one refuses its part.
    select min(e.number) filter (where (e.record ->> 'request_id') is null) into v_number
    from jsonb_array_elements(p_records) with ordinality e (record, number)
    having count(distinct copilot_internal.node_of((e.record ->> 'tenant_id')::uuid)) > 1;
    if v_number is not null then
        raise exception 'record %: a batch for more than one node needs request ids', v_number
            using errcode = 'invalid_parameter_value';
    end if;
    for v_part in
        select copilot_internal.node_of((e.record ->> 'tenant_id')::uuid) as node,
               jsonb_agg(e.record order by e.number) as records,
               array_agg(e.number::integer order by e.number) as ordinals
        from jsonb_array_elements(p_records) with ordinality e (record, number)
        group by 1 order by 1
    loop
        begin
            return query
            select v_part.ordinals[r.ordinal], $columns$
            from copilot_internal.$name$_of_nodes(v_part.node, v_part.records) r;
        exception when others then
            get stacked diagnostics v_state = returned_sqlstate, v_message = message_text,
                v_detail = pg_exception_detail, v_hint = pg_exception_hint;
            v_number := substring(v_message from 'record ([0-9]+):');
            raise exception using errcode = v_state, detail = v_detail,
                message = case when v_number is null then v_message
                    else replace(v_message, format('record %s:', v_number),
                                 format('record %s:', v_part.ordinals[v_number])) end,
                hint = case when v_recorded then 'Records of other nodes were recorded: send the batch again, with the '
                    'same request ids.' else v_hint end;
        end;
        v_recorded := true;
    end loop;
end $text$, '$name$', p_name), '$columns$', (
        select pg_catalog.string_agg('r.' || c.name, ', ' order by c.number)
        from pg_catalog.unnest(p_columns) with ordinality c (name, number) where c.name <> 'ordinal'));
end;
comment on function copilot_internal.router_batch_body(text, text[]) is
    'What a function of a router does with a batch: each node is given its part.';

create function copilot_internal.router_plproxy(p_nodes integer) returns text
    language sql stable
begin atomic
    with f as (
        select o.*, o.qualified || '(' || o.signature || ')' as declared,
               pg_catalog.array_to_string(o.parameters, ', ') as given,
               case o.rule when 'batch' then 'p_node integer, ' else '' end as node,
               case o.rule
                   when 'scope' then 'copilot_internal.node_of(p_scope, p_scope_id, p_tenant_id)'
                   when 'optional' then 'copilot_internal.any_node(p_tenant_id)'
                   when 'some' then 'copilot_internal.nodes_of(p_tenant_id)'
                   when 'all' then 'all'
                   when 'any' then 'any'
                   when 'batch' then 'p_node'
                   else case
                       when o.name in ('get_user_tenants', 'reload_counters') then 'all'
                       when o.name in ('erase_user', 'acknowledge_quota_events') then
                           'copilot_internal.nodes_of(p_tenant_id)'
                       else 'copilot_internal.node_of(p_tenant_id)'
                   end
               end as nodes
        from copilot_internal.router_functions() o
        where o.rule <> 'none'
    ), made as (
        select f.name, f.declared, pg_catalog.concat(
            case when f.rule in ('batch', 'own') and f.name <> 'get_current_tenant_id' then
                copilot_internal.router_function('copilot_internal.' || f.name || '_of_nodes',
                    f.node || f.arguments, f.node || f.signature,
                    case when f.name in ('acknowledge_quota_events', 'reload_counters') then 'SETOF ' else '' end
                        || f.result,
                    'plproxy', pg_catalog.format(' cluster ''tollgate''; run on %s; select * from %s(%s); ',
                        f.nodes, f.qualified, f.given)) end,
            copilot_internal.router_function(f.qualified, f.arguments, f.signature, f.result,
                case when f.rule in ('batch', 'own') then 'plpgsql' else 'plproxy' end,
                case f.rule
                    when 'batch' then copilot_internal.router_batch_body(f.name, f.columns)
                    when 'own' then copilot_internal.router_own_body(f.name)
                    else pg_catalog.format(' cluster ''tollgate''; run on %s; ', f.nodes)
                end),
            pg_catalog.format(E'comment on function %s is %L;\n', f.declared, f.remark)) as text
        from f
    ), v as (
        select o.*, pg_catalog.format('copilot_internal.metrics_%s', o.name) as source
        from copilot_internal.router_views() o
        where o.readers is not null
    )
    select pg_catalog.concat(
        copilot_internal.router_frame(p_nodes),
        -- Those that call others come after them.
        (select pg_catalog.string_agg(m.text, '' order by m.name in ('create_personal_tenant', 'get_current_tenant_id'),
                                      m.name) from made m),
        (select pg_catalog.string_agg(pg_catalog.concat(
            copilot_internal.router_function(v.source, '', '', pg_catalog.format('TABLE(%s)', v.columns),
                'plproxy', pg_catalog.format(' cluster ''tollgate''; run on all; select * from metrics.%I; ', v.name)),
            pg_catalog.format(E'create view metrics.%I as select * from %s();\n'
                'alter view metrics.%1$I owner to tollgate_router;\ncomment on view metrics.%1$I is %3$L;\n',
                v.name, v.source, v.remark)), '' order by v.name) from v),
        $text$
-- Who may what: as on a node, for the roles that there see all tenants. A node is called in the name of the router's
-- own user, so no call of a person may pass: anon and authenticated may do nothing here, and PUBLIC neither.
do $router$
declare
    v_open record;
begin
    for v_open in
        select format('function %s', p.oid::regprocedure) as name, a.grantee
        from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where p.proowner = 'tollgate_router'::regrole and a.grantee <> p.proowner
        union
        select format('table %s', c.oid::regclass), a.grantee
        from pg_class c cross join aclexplode(c.relacl) a
        where c.relowner = 'tollgate_router'::regrole and c.relkind in ('r', 'v') and a.grantee <> c.relowner
    loop
        execute format('revoke all on %s from %s', v_open.name,
            case v_open.grantee when 0 then 'public' else v_open.grantee::regrole::text end);
    end loop;
end $router$;
grant usage on schema copilot_internal, public to tollgate_router, service_role;
grant usage on schema metrics to service_role, metrics_reader;
grant select on copilot_internal.placement to service_role;
grant execute on function $text$,
        (select pg_catalog.string_agg(m.declared, E',\n    ' order by m.declared) from made m), E' to service_role;\n',
        (select pg_catalog.string_agg(pg_catalog.format(
            E'grant select on metrics.%I to %s;\ngrant execute on function %s() to %2$s;\n', v.name, v.readers,
            v.source), '' order by v.name) from v),
        (select pg_catalog.string_agg(pg_catalog.format(E'-- not here: %s(%s)\n', o.qualified, o.signature), ''
                                      order by o.name)
         from copilot_internal.router_functions() o where o.rule = 'none'),
        E'commit;\n');
end;
comment on function copilot_internal.router_plproxy(integer) is 'The SQL of a router by PL/Proxy.';
