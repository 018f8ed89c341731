-- What is no quota is refused with 22023 and changes nothing.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set nil 00000000-0000-0000-0000-000000000000
\set VERBOSITY sqlstate
set role service_role;
-- Scope and ids.
select set_quota(null, :'tenant', 'llm', 1);
select set_quota('team', :'tenant', 'llm', 1);
select set_quota('tenant', null, 'llm', 1);
select set_quota('tenant', :'tenant', 'llm', 1, p_tenant_id => :'other');
select set_quota('user', :'other', 'llm', 1);
select set_quota('user', null, 'llm', 1, p_tenant_id => :'tenant');
select set_quota('platform', :'tenant', 'llm', 1);
select set_quota('platform', null, 'llm', 1, p_tenant_id => :'tenant');
select set_quota('tenant', :'nil', 'llm', 1);
select set_quota('user', :'nil', 'llm', 1, p_tenant_id => :'tenant');
select set_quota('user', :'other', 'llm', 1, p_tenant_id => :'nil');
-- Resource, period, zone, mode.
select set_quota('tenant', :'tenant', null, 1);
select set_quota('tenant', :'tenant', 'gpu', 1);
select set_quota('tenant', :'tenant', 'llm', 1, null);
select set_quota('tenant', :'tenant', 'llm', 1, 'fortnight');
select set_quota('tenant', :'tenant', 'llm', 1, p_time_zone => 'Mars/Olympus_Mons');
select set_quota('tenant', :'tenant', 'llm', 1, p_time_zone => 'europe/berlin');
select set_quota('tenant', :'tenant', 'llm', 1, p_time_zone => 'UTC+3');
select set_quota('tenant', :'tenant', 'llm', 1, p_mode => 'strict');
-- Limit and threshold.
select set_quota('tenant', :'tenant', 'llm', -0.000000001);
select set_quota('tenant', :'tenant', 'llm', 'NaN');
select set_quota('tenant', :'tenant', 'llm', 'Infinity');
select set_quota('tenant', :'tenant', 'llm', '-Infinity');
select set_quota('tenant', :'tenant', 'llm', 1000000000.000000001);
select set_quota('tenant', :'tenant', 'llm', 1e131071);
select set_quota('tenant', :'tenant', 'llm', 1, p_warning_threshold => -0.1);
select set_quota('tenant', :'tenant', 'llm', 1, p_warning_threshold => 1.1);
select set_quota('tenant', :'tenant', 'llm', 1, p_warning_threshold => 'NaN');
select count(*) from copilot_internal.cost_quotas;

-- The message names what is wrong.
\set VERBOSITY terse
select set_quota('user', :'other', 'llm', 1);
select set_quota('tenant', :'tenant', 'llm', 1, p_time_zone => 'UTC+3');
\set VERBOSITY sqlstate

-- The edges are quotas.
select set_quota('tenant', :'tenant', 'llm', 1000000000, 'lifetime', :'tenant', 'America/Argentina/Buenos_Aires', 'soft', 1) is not null as made;
select set_quota('tenant', :'tenant', 'e2b', 0, 'hour', p_warning_threshold => 0) is not null as made;
select set_quota('platform', null, 'all', null, 'year') is not null as made;
-- A row that a table's writer makes is held to the same.
insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, limit_usd) values ('tenant', :'other', 'llm', 'NaN');
insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, time_zone) values ('tenant', :'other', 'llm', 'UTC+3');
insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, warning_threshold) values ('tenant', :'other', 'llm', 'NaN');
insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('llm', 'NaN');
