-- A plan that changes in mid-period changes the limit and keeps what was spent: an upgrade frees, a downgrade below it blocks.
-- appstrate/appstrate#1389: a tenant at its limit, upgraded, was still blocked.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
insert into copilot_internal.default_quotas (plan, resource_type, limit_usd, period) values ('small', 'llm', 20, 'lifetime'), ('large', 'llm', 60, 'lifetime'),
    ('small', 'all', null, 'lifetime'), ('large', 'all', null, 'lifetime');
insert into copilot_internal.tenants (id, name, plan) values (:'tenant', 'Acme', 'small');
select recorded, remaining_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 20, p_enforce => true);
select recorded, quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.01, p_enforce => true);
update copilot_internal.tenants set plan = 'large' where id = :'tenant';
select recorded, remaining_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 10, p_enforce => true);
update copilot_internal.tenants set plan = 'small' where id = :'tenant';
select recorded, quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.01, p_enforce => true);
select limit_usd, current_spend_usd, status, remaining_usd from metrics.quota_status where tenant_id = :'tenant' and resource_type = 'llm';
select * from copilot_internal.verify();
