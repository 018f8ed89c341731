-- The scope, ids, resource type, period and time zone of a quota never change; its limit, mode and threshold do.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'month') as id \gset
update copilot_internal.cost_quotas set scope = 'user', scope_id = :'other';
update copilot_internal.cost_quotas set tenant_id = :'other', scope_id = :'other';
update copilot_internal.cost_quotas set resource_type = 'all';
update copilot_internal.cost_quotas set period = 'day';
update copilot_internal.cost_quotas set time_zone = 'Europe/Berlin';
update copilot_internal.cost_quotas set id = gen_random_uuid();
select * from set_quota('tenant', :'tenant', 'llm', 1, 'month', p_time_zone => 'Europe/Berlin');

-- Again with another limit is the same quota.
select set_quota('tenant', :'tenant', 'llm', 2, 'month', p_mode => 'soft', p_warning_threshold => 0.5) = :'id' as same_quota;
update copilot_internal.cost_quotas set limit_usd = 3, metadata = '{"ticket": 7}';
select scope, resource_type, limit_usd, period, time_zone, mode, warning_threshold, metadata, updated_at > created_at as updated
from copilot_internal.cost_quotas;
-- Another resource or period is another quota.
select set_quota('tenant', :'tenant', 'all', 2, 'month') <> :'id' as other_quota;
select set_quota('tenant', :'tenant', 'llm', 2, 'day') <> :'id' as other_quota;

-- There is one a key, and none that fits no scope.
insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, period) values ('tenant', :'tenant', 'llm', 'month');
insert into copilot_internal.cost_quotas (scope, scope_id, resource_type) values ('user', :'other', 'llm');
insert into copilot_internal.cost_quotas (scope, scope_id, resource_type) values ('platform', :'other', 'llm');
insert into copilot_internal.cost_quotas (scope, resource_type) values ('tenant', 'llm');
insert into copilot_internal.cost_quotas (scope, scope_id, tenant_id, resource_type) values ('tenant', :'tenant', :'other', 'llm');
-- To change a key, delete the quota and make another: what was spent is a question to the ledger.
delete from copilot_internal.cost_quotas where id = :'id';
select set_quota('tenant', :'tenant', 'llm', 1, 'month', p_time_zone => 'Europe/Berlin') <> :'id' as other_quota;
