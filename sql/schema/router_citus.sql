-- Citus delegates a function by its tenant to the worker that has the tenant's shard of an empty table. There it calls
-- the extension's own, on plain local tables. A NULL tenant would end the coordinator, so each stands behind a function
-- that refuses one. A value is selected from it, for Citus does not see what PL/pgSQL evaluates by itself.
create function copilot_internal.router_citus() returns text
    language sql stable
begin atomic
    with f as (
        select o.*, pg_catalog.array_to_string(o.parameters, ', ') as given,
               case o.rule
                   when 'scope' then
                       'case p_scope when ''tenant'' then coalesce(p_tenant_id, p_scope_id) else p_tenant_id end'
                   when 'batch' then 'tollgate_route.tenant_of(p_records)'
                   else case o.name when 'create_tenant' then 'coalesce(p_tenant_id, gen_random_uuid())'
                        else 'p_tenant_id' end
               end as tenant
        from copilot_internal.router_functions() o
        where o.rule in ('tenant', 'scope', 'optional', 'batch') or o.name in ('create_tenant', 'switch_tenant')
    ), made as (
        select f.name, f.qualified, pg_catalog.format($text$
create function tollgate_route.%1$s(p_route uuid, %2$s)
    returns %3$s
    language plpgsql set search_path = pg_catalog, pg_temp as $router$
begin
    %4$s
end $router$;
select create_distributed_function('tollgate_route.%1$s(uuid, %5$s)', 'p_route',
    colocate_with => 'tollgate_route.tenants', force_delegation => true);
create function %6$s(%7$s)
    returns %3$s
    language plpgsql %8$s set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $router$
declare
    v_route constant uuid := tollgate_route.required(%9$s);
begin
    %10$s
end $router$;
revoke all on function tollgate_route.%1$s(uuid, %5$s), %6$s(%5$s) from public;
grant execute on function tollgate_route.%1$s(uuid, %5$s), %6$s(%5$s) to service_role;
$text$, f.name, f.signature, f.result,
                case when f.columns <> '{}' then
                         pg_catalog.format('return query select * from %s(%s);', f.qualified, f.given)
                     when f.result = 'void' then pg_catalog.format('perform %s(%s);', f.qualified, f.given)
                     else pg_catalog.format('return %s(%s);', f.qualified, f.given) end,
                f.types, f.qualified, f.arguments, f.volatility, f.tenant,
                pg_catalog.format(case
                        when f.columns <> '{}' then 'return query select * from tollgate_route.%s(v_route, %s);'
                        when f.result = 'void' then 'perform tollgate_route.%s(v_route, %s);'
                        else 'declare v_value ' || f.result || '; begin select r.value into v_value from '
                            'tollgate_route.%s(v_route, %s) r (value); return v_value; end;' end, f.name,
                    case f.name when 'create_tenant' then pg_catalog.replace(f.given, 'p_tenant_id', 'v_route')
                         else f.given end)) as text
        from f
    )
    select pg_catalog.concat(
        $text$-- A router for pg_tollgate by Citus. Run this as a superuser on the coordinator, in a database without
-- it. Each worker has pg_tollgate in its database of that name. Never move a shard of tollgate_route.tenants: what its
-- tenants have is in tables of the worker that Citus does not know. docs/operate/several-machines.md tells the rest.
begin;
set local search_path = pg_catalog, pg_temp;
create schema tollgate_route;
create schema if not exists copilot_internal;
create table tollgate_route.tenants (tenant_id uuid primary key);
select create_distributed_table('tollgate_route.tenants', 'tenant_id');
create function tollgate_route.required(p_tenant_id uuid) returns uuid
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $router$
begin
    if p_tenant_id is null then
        raise exception 'p_tenant_id must not be NULL: the router finds the node of a call by it'
            using errcode = 'invalid_parameter_value', hint = 'What is for all tenants is set on each node.';
    end if;
    return p_tenant_id;
end $router$;
-- One transaction of Citus writes on one worker, so a batch is of one tenant.
create function tollgate_route.tenant_of(p_records jsonb) returns uuid
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $router$
begin
    if (select count(distinct coalesce(e.record ->> 'tenant_id', ''))
        from jsonb_array_elements(p_records) e (record)) > 1
    then
        raise exception 'a batch must be of one tenant here' using errcode = 'invalid_parameter_value';
    end if;
    return (p_records -> 0 ->> 'tenant_id')::uuid;
end $router$;
-- The rows of a query on each worker.
create function tollgate_route.on_workers(p_sql text) returns setof jsonb
    language plpgsql set search_path = pg_catalog, pg_temp as $router$
declare
    v_worker record;
begin
    for v_worker in
        select * from run_command_on_workers(
            format('select coalesce(jsonb_agg(to_jsonb(r)), ''[]'') from (%s) r', p_sql))
    loop
        if not v_worker.success then
            raise exception 'worker %:%: %', v_worker.nodename, v_worker.nodeport, v_worker.result;
        end if;
        return query select e.record from jsonb_array_elements(v_worker.result::jsonb) e (record);
    end loop;
end $router$;
revoke all on function tollgate_route.required(uuid), tollgate_route.tenant_of(jsonb), tollgate_route.on_workers(text)
    from public;
grant execute on function tollgate_route.required(uuid), tollgate_route.tenant_of(jsonb),
    tollgate_route.on_workers(text) to service_role;
grant usage on schema tollgate_route, copilot_internal to service_role;
$text$,
        (select pg_catalog.string_agg(m.text, '' order by m.name) from made m),
        (select pg_catalog.string_agg(pg_catalog.format($text$
create function %1$s() returns %2$s
    language sql set search_path = pg_catalog, pg_temp as $router$
    select r.* from tollgate_route.on_workers('select * from %1$s()') w (record)
    cross join lateral jsonb_to_record(w.record) as r (%3$s)
$router$;
revoke all on function %1$s() from public;
grant execute on function %1$s() to service_role;
$text$, o.qualified, o.result, pg_catalog.substring(o.result, '^TABLE\((.*)\)$')), '' order by o.name)
         from copilot_internal.router_functions() o where o.rule = 'all'),
        E'commit;\n');
end;
comment on function copilot_internal.router_citus() is 'The SQL of a router by Citus.';

create function copilot_internal.router_sql(p_engine text, p_nodes integer default 2) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_nodes is null or p_nodes not between 1 and 1024 then
        raise exception 'p_nodes must be between 1 and 1024' using errcode = 'invalid_parameter_value';
    end if;
    case p_engine
        when 'plproxy' then return copilot_internal.router_plproxy(p_nodes);
        when 'citus' then return copilot_internal.router_citus();
        else
            raise exception 'p_engine must be plproxy or citus' using errcode = 'invalid_parameter_value';
    end case;
end $$;
comment on function copilot_internal.router_sql(text, integer) is
    'The SQL of a database that routes calls to nodes by tenant, printed from the functions of this node. Engines: '
    'plproxy, citus. Tenants that are not placed are spread over p_nodes nodes by a hash: it must never change.';
