-- A tenant that was deleted is removed row by row. What it spent stays with the platform, exactly.
\set gone a0000000-0000-4000-8000-000000000001
\set stays a0000000-0000-4000-8000-000000000002
\set bob b0000000-0000-4000-8000-0000000000b0
\set VERBOSITY terse
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name, owner_id) values (:'gone', 'Gone', :'bob'), (:'stays', 'Stays', :'bob');
set role service_role;
select set_quota('platform', null, 'all', 1000, 'lifetime') is not null as made;
select set_quota('user', :'bob', 'llm', 5, 'lifetime', :'gone', p_event_thresholds => '{0.1}') is not null as made;
select raise_quota(quota_id, 1, clock_timestamp() + interval '1 day') is not null as raised from metrics.quota_status where scope = 'user';
select set_llm_policy(:'gone', '{"denied_models": ["o3"]}'), set_model_price('acme', 'm', 1, 1, p_tenant_id => :'gone') is not null as priced;
select switch_tenant(:'gone', :'bob');
-- Costs that are rounded up to the nano-dollar one by one, today and long ago.
select count(*) from (select record_llm_cost(t.id::uuid, 'acme', 'm', 1, 1, :'bob', gen_random_uuid(), p_cost_usd => 0.0000000001, p_occurred_at => o.at::timestamptz)
    from (values (:'gone'), (:'stays')) t (id), (values (null), ('2026-01-31 23:59:59.9Z'), ('2026-01-31 23:44Z')) o (at), generate_series(1, 3)) r;
select count(*) from (select record_e2b_cost(:'gone', 'box', 'standard', 10)) r;
select cost_status from record_llm_cost(:'gone', 'unheard', 'of', 1, 1);
select allowed from check_and_record_quota_atomic('tenant', :'gone', 0.5, 'e2b');
select cost_usd from record_llm_cost(:'gone', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'refunded');
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'refunded'), 0.3333333333, 'r');
select c.status from reserve_quota(:'gone', 'llm', 0.5, 'committed') h, lateral commit_reservation(h.reservation_id, 0.25) c;
select c.status from reserve_quota(:'gone', 'llm', 0.5, 'released') h, lateral release_reservation(h.reservation_id) c;
select reservation_id as hold from reserve_quota(:'gone', 'llm', 0.5, 'held') \gset
select allowed from extend_reservation(:'hold', '1 hour', p_request_id => 'x');
select count(set_quota('tenant', :'gone', r, null)) from unnest(array['llm', 'all']) r;
select allowed, status, blocked_scope from reserve_quota(:'gone', 'llm', 5000, 'no', p_log_denial => true);
select tenant_id, payload ->> 'tenant_id' from copilot_internal.quota_events where event_type = 'denied';
select done from copilot_internal.maintain() where task = 'fold';
select recorded from record_llm_cost(:'gone', 'acme', 'm', 1, 1, p_cost_usd => 0.125);
create temp view spent as
    select (select current_spend_usd from metrics.quota_status where scope = 'platform') as platform,
           (select sum(total_cost) from metrics.tenant_total_costs) as total_cost;
select * from spent;
-- While it is not deleted it stays.
select purge_tenant(:'gone');
select delete_tenant(:'gone');
select finished, remaining from purge_tenant(:'gone');
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
-- Only the hold is left, whose cost is still to come.
select finished, changed, remaining from purge_tenant(:'gone');
select status, charged_usd from commit_reservation(:'hold', 0.0625);
select * from copilot_internal.verify();
select finished, remaining from purge_tenant(:'gone');
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
select platform, total_cost from spent;
reset role;
create function pg_temp.hits(relation name, pattern text) returns bigint language plpgsql as $$
declare v_hits bigint;
begin
    execute format('select count(*) from copilot_internal.%I r where r::text ~ %L', relation, pattern) into v_hits;
    return v_hits;
end $$;
select relname from pg_class c
cross join lateral (select pg_temp.hits(c.relname, :'gone') as hits) q
where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r' and q.hits > 0;
select resource_type, charged_at, occurred_at, cost_usd, charge_nanos from copilot_internal.purged_costs where charged_at < '2026-02-01Z' order by 1, 2, 3;
select sum(cost_usd), sum(charge_nanos) from copilot_internal.purged_costs;
-- Folding what the platform had pending changes nothing.
select sum(done) > 0 as folded from copilot_internal.maintain(1000000) where task = 'fold';
select * from spent;
select * from copilot_internal.verify();
set role service_role;
select total_cost from metrics.tenant_total_costs where tenant_id = :'stays';
-- It is gone; and what is billed late is recorded, and purged in its turn.
select purge_tenant(:'gone');
select allowed, status from check_quota_before_operation(:'gone', 'llm', 1);
select recorded from record_llm_cost(:'gone', 'acme', 'm', 1, 1, p_cost_usd => 0.5);
select finished, remaining from purge_tenant(:'gone');
select * from copilot_internal.verify();
select platform, total_cost from spent;
-- Bad input.
select purge_tenant(null);
select purge_tenant('00000000-0000-0000-0000-000000000000');
select purge_tenant('a0000000-0000-4000-8000-0000000000ff');
select purge_tenant(:'stays');
set role authenticated;
select purge_tenant(:'stays');
reset role;
