-- A quota of the platform counts everybody, so its figures are told to the server alone; a member learns no more than
-- that it stands in the way.
\set acme a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
insert into copilot_internal.tenants (id, name, owner_id) values (:'acme', 'Acme', :'ann'), (:'other', 'Other', null);
insert into copilot_internal.default_quotas (resource_type, limit_usd, mode) values ('llm', 100, 'shadow'), ('all', 150, 'shadow'), ('e2b', 50, 'shadow');
select set_quota('platform', null, 'llm', 10, 'lifetime') is not null as made;
select allowed from check_and_record_quota_atomic('tenant', :'other', 9);
select allowed, status, blocked_scope, limit_usd, current_spend_usd, remaining_usd, usage_percentage, reason
from check_quota_before_operation(:'acme', 'llm', 2);

set role authenticated;
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000001"}', false) is not null as signed_in;
select allowed, status, blocked_scope, limit_usd, current_spend_usd, reserved_usd, remaining_usd, usage_percentage, reason
from check_quota_before_operation(:'acme', 'llm', 2);
-- 9.5 of 10 would be a warning to the server; a member is not warned by what others spend.
select allowed, status, limit_usd, current_spend_usd, remaining_usd, usage_percentage from check_quota_before_operation(:'acme', 'llm', 0.5);
\set SHOW_CONTEXT never
\set VERBOSITY default
select require_quota(:'acme', 'llm', 2);
\set VERBOSITY sqlstate
select count(*) from metrics.quota_status where scope = 'platform';
select count(*) from copilot_internal.cost_quotas where scope = 'platform';
select quotas from get_tenant_cost_summary(:'acme', '2020-01-01Z', '2020-01-02Z'), jsonb_array_elements(quotas) as quotas where quotas ->> 'scope' = 'platform';

-- Users with a quota of their own are told about that one.
set role service_role;
select set_quota('tenant', :'acme', 'llm', 5, 'lifetime') is not null as made;
set role authenticated;
select allowed, status, limit_usd, current_spend_usd, remaining_usd from check_quota_before_operation(:'acme', 'llm', 0.5);
select allowed, status, blocked_scope, limit_usd, reason from check_quota_before_operation(:'acme', 'llm', 6);
select allowed, status, blocked_scope, limit_usd, reason from check_quota_before_operation(:'acme', 'llm', 2);
