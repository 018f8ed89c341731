-- A tenant is under 100 USD a month for llm, 50 for e2b and 150 for all from the moment it exists, unless default_quotas
-- or cost_quotas say otherwise.
\set tenant a0000000-0000-4000-8000-000000000001
\set pro a0000000-0000-4000-8000-000000000002
set role service_role;
insert into copilot_internal.tenants (id, name, plan) values (:'tenant', 'Acme', 'free'), (:'pro', 'Big', 'pro');
create temp view standing as
    select right(tenant_id::text, 1) as tenant, resource_type, period, limit_usd, mode, is_default
    from metrics.quota_status order by tenant_id, resource_type, period;
table standing;

-- They are no rows, and they bind.
select count(*) from copilot_internal.cost_quotas;
select allowed, status from check_quota_before_operation(:'tenant', 'llm', 100);
select allowed, blocked_resource_type, limit_usd from check_quota_before_operation(:'tenant', 'llm', 100.000000001);
select allowed, blocked_resource_type, limit_usd from check_quota_before_operation(:'tenant', 'e2b', 50.000000001);
-- 100 for llm leave 50 for e2b, and nothing of the 150 for all.
select recorded, quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 100, p_enforce => true);
select recorded, quota_status from record_e2b_cost(:'tenant', 'box', 'm', 1, p_cost_usd => 50, p_enforce => true);
select recorded, reason is not null as says_why from record_e2b_cost(:'tenant', 'box', 'm', 1, p_cost_usd => 0.01, p_enforce => true);

-- The operator edits the default for all, and for one plan.
insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values (null, 'llm', 20), ('pro', 'llm', 500);
table standing;
-- Adds one of another period, and takes one away: without a limit it only counts.
insert into copilot_internal.default_quotas (resource_type, period, limit_usd, time_zone, mode)
values ('all', 'day', 5, 'Europe/Berlin', 'soft'), ('e2b', 'month', null, 'UTC', 'hard');
table standing;
-- A quota of the tenant's own replaces the default of the same resource and period, and no other.
select set_quota('tenant', :'tenant', 'llm', 7) is not null as made;
table standing;
-- Without its own again, the default is back.
delete from copilot_internal.cost_quotas;
delete from copilot_internal.default_quotas;
table standing;
-- A tenant that the database does not know has none.
select allowed, status from check_quota_before_operation('a0000000-0000-4000-8000-00000000000f', 'llm', 1000);
