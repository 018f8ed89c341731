-- Clerk, Auth0 and better-auth put no UUID into sub: such a person meets no error, and has no access.
-- supabase/storage#758, supabase/supabase#29609.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
insert into copilot_internal.tenants (id, name) values (:'tenant', 'Acme');
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1);
reset role;
select set_config('request.jwt.claims', '{"sub": "user_2abcDEF", "role": "authenticated", "org_id": "org_2x"}', false) is not null as set;
set role authenticated;
select has_quota(:'tenant', 'llm', 1), get_current_tenant_id(), (select count(*) from get_user_tenants()) as tenants;
select (select count(*) from metrics.llm_costs) as costs, (select count(*) from metrics.quota_status) as quotas,
       (select count(*) from copilot_internal.llm_cost_records) as records, (select count(*) from copilot_internal.tenants) as rows;
\set VERBOSITY sqlstate
select allowed from check_quota_before_operation(:'tenant', 'llm', 1);
select * from get_tenant_cost_summary(:'tenant');
