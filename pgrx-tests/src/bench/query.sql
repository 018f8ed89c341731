-- A million rows of a thousand tenants, and has_quota as a good developer would write it in SQL: memberships, quotas and
-- counters of what was spent, each found by primary key. The nil UUID stands for the platform and for a whole tenant.
create function bench.tenant(p_number integer) returns uuid language sql immutable as $$
    select ('10000000-0000-4000-8000-' || lpad(to_hex(p_number), 12, '0'))::uuid
$$;
create function bench.nobody() returns uuid language sql immutable as $$
    select '00000000-0000-0000-0000-000000000000'::uuid
$$;

grant usage on schema bench to service_role, authenticated;

-- The user who asks is a member of all of them but every hundredth. One tenant in ten is near a limit of its own, as is
-- the user in another tenth; the others are under their defaults. The platform has a quota too.
set role service_role;
begin;
insert into copilot_internal.tenants (id, name) select bench.tenant(n), 'Tenant ' || n from generate_series(1, 1000) n;
insert into copilot_internal.tenant_memberships (tenant_id, user_id)
    select bench.tenant(n), '{user}' from generate_series(1, 1000) n where n % 100 <> 0;
select count(public.set_quota('tenant', bench.tenant(n), 'llm', 0.05)) from generate_series(1, 1000, 10) n;
select count(public.set_quota('user', '{user}', 'all', 0.04, p_tenant_id => bench.tenant(n)))
    from generate_series(2, 1000, 10) n;
select public.set_quota('platform', null, 'all', 1000000);
commit;
select count(*) from generate_series(1, 1000) n, lateral public.record_llm_cost(
    bench.tenant(n), 'openai', 'gpt-4o', 1000, 100, p_user_id => '{user}', p_cost_usd => 0.015);
reset role;

create table bench.calls (id integer not null, tenant_id uuid not null, amount_usd numeric not null);
insert into bench.calls
    select n, bench.tenant(1 + (hashint4(n) & 65535) % 1000), (hashint4(-n) & 65535) / 1000000.0
      from generate_series(1, 1000000) n;

create table bench.memberships (
    user_id uuid not null, tenant_id uuid not null, status text not null, primary key (user_id, tenant_id));
insert into bench.memberships select user_id, tenant_id, status from copilot_internal.tenant_memberships;

create table bench.quotas (
    tenant_id uuid not null, user_id uuid not null, resource_type text not null, period text not null,
    limit_usd numeric not null, primary key (tenant_id, user_id, resource_type));
insert into bench.quotas
    select coalesce(tenant_id, bench.nobody()), case scope when 'user' then scope_id else bench.nobody() end,
           resource_type, period, limit_usd
      from copilot_internal.effective_quotas;

create table bench.spent (
    tenant_id uuid not null, user_id uuid not null, resource_type text not null, period_start timestamptz not null,
    spent_usd numeric not null, primary key (tenant_id, user_id, resource_type, period_start));
insert into bench.spent
    select tenant_id, user_id, resource_type, date_trunc('month', now(), 'UTC'), sum(cost_usd)
      from (select tenant_id, user_id, cost_usd from copilot_internal.llm_cost_records
            union all select tenant_id, bench.nobody(), cost_usd from copilot_internal.llm_cost_records
            union all select bench.nobody(), bench.nobody(), cost_usd from copilot_internal.llm_cost_records) c,
           unnest(array['llm', 'all']) resource_type
     group by 1, 2, 3, 4;

-- One statement in PL/pgSQL, whose plan is kept: written in SQL it takes a tenth longer. It runs with the rights of its
-- caller, who is granted the tables and no policy filters them: cheaper than what a real application needs.
create function bench.has_quota(
    p_tenant_id uuid, p_resource_type text, p_amount_usd numeric, p_user_id uuid default null)
    returns boolean language plpgsql stable as $$
declare
    v_caller uuid := auth.uid();
begin
    return exists (
        select from bench.memberships m
        where m.user_id = v_caller and m.tenant_id = p_tenant_id and m.status = 'active'
          and not exists (
            select from bench.quotas q
            left join bench.spent s on s.tenant_id = q.tenant_id and s.user_id = q.user_id
                and s.resource_type = q.resource_type and s.period_start = date_trunc(q.period, now(), 'UTC')
            where q.tenant_id in (p_tenant_id, '00000000-0000-0000-0000-000000000000')
              and q.user_id in (p_user_id, '00000000-0000-0000-0000-000000000000')
              and q.resource_type in (p_resource_type, 'all')
              and coalesce(s.spent_usd, 0) + p_amount_usd > q.limit_usd));
end $$;
grant select on all tables in schema bench to authenticated;
