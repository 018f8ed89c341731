-- An operator's defaults by plan apply to every tenant of it, however its row came; initialize_tenant_quotas writes them out.
\set acme a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
insert into copilot_internal.default_quotas (plan, resource_type, limit_usd, period)
values ('pro', 'llm', 500, 'month'), ('enterprise', 'llm', null, 'month'), ('enterprise', 'all', null, 'month'), ('free', 'llm', 1, 'day');
insert into copilot_internal.tenants (id, name, plan) values (:'acme', 'Acme', 'free');
create temp view limits as
    select plan, resource_type, period, limit_usd, is_default
    from metrics.quota_status q join copilot_internal.tenants t on t.id = q.tenant_id order by resource_type, period;
table limits;
update copilot_internal.tenants set plan = 'pro' where id = :'acme';
table limits;
select allowed from check_quota_before_operation(:'acme', 'llm', 149);

-- The audit: who is held by nothing. Enterprise has no limit on llm, e2b is held by its own.
select count(*) from metrics.tenants_without_quota;
update copilot_internal.tenants set plan = 'enterprise' where id = :'acme';
select tenant_name, tenant_plan, resource_type from metrics.tenants_without_quota;
select public.set_quota('tenant', :'acme', 'all', 40, p_mode => 'soft') is not null as soft;
select tenant_name, resource_type from metrics.tenants_without_quota;
select public.set_quota('tenant', :'acme', 'all', 40, p_mode => 'hard') is not null as hard;
select tenant_name, resource_type from metrics.tenants_without_quota;

-- Written out, they are the tenant's own, and neither the plan nor the operator's defaults move them.
select public.initialize_tenant_quotas(:'acme') as written, public.initialize_tenant_quotas(:'acme') as again;
update copilot_internal.tenants set plan = 'free' where id = :'acme';
delete from copilot_internal.default_quotas where true;
table limits;
select public.initialize_tenant_quotas(null);
select public.initialize_tenant_quotas('a0000000-0000-4000-8000-00000000000f');
