-- A call of maintain() folds what the limit allows, of every tenant that waits and of the platform, and says what it has done.
\set acme a0000000-0000-4000-8000-000000000001
\set late fffffff0-0000-4000-8000-000000000002
create function public.charged(p_tenant uuid, p_times integer) returns bigint language sql as $$
    select count(*) from generate_series(1, p_times) n, lateral record_llm_cost(p_tenant, 'p', 'm', 1, 1, p_cost_usd => 0.001 + 0 * n) r $$;
create view public.waiting as
    select case tenant_id when 'a0000000-0000-4000-8000-000000000001' then 'acme' when 'fffffff0-0000-4000-8000-000000000002' then 'late'
           end as who, count(*) from copilot_internal.pending_costs where tenant_id <> '00000000-0000-0000-0000-000000000000' or nanos > 0
    group by tenant_id order by 1;
select charged(:'acme', 40), charged(:'late', 2);
select * from waiting;
-- The late tenant first has its share of ten, and the longest tail what that leaves.
select task, case task when 'fold' then done > 10 else done > 0 end as did_some from copilot_internal.maintain(10);
select * from waiting;
select done > 10 as folded from copilot_internal.maintain(10) where task = 'fold';
select * from waiting;
-- The rest in steps; in a transaction one.
begin;
call copilot_internal.housekeep();
select * from waiting;
rollback;
select * from waiting;
call copilot_internal.housekeep('1 minute');
select * from waiting;
select tenant_id = :'acme' as acme, total_cost from metrics.tenant_total_costs order by 1;
select * from copilot_internal.verify();
select * from copilot_internal.maintain(0);
select * from copilot_internal.maintain(10, '0');
select * from copilot_internal.maintain(10, null);
call copilot_internal.housekeep('-1 second');
call copilot_internal.housekeep(null);
-- For the server alone.
set role authenticated;
select * from copilot_internal.maintain();
call copilot_internal.housekeep();
reset role;
