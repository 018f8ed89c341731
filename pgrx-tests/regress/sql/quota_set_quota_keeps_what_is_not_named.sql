-- What is not named stays as it is; another time zone is another quota.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;
create temp view kept as
    select limit_usd, time_zone, mode, warning_threshold, event_thresholds, suspended from copilot_internal.cost_quotas where resource_type = 'llm';
select set_quota('tenant', :'tenant', 'llm', 5, 'day', null, 'Europe/Berlin', 'shadow', 0.5, '{0.25}', true) as quota \gset
table kept;
select set_quota('tenant', :'tenant', 'llm', 20, 'day') = :'quota' as same;
table kept;
select set_quota('tenant', :'tenant', 'llm', null, 'day', p_mode => 'soft') = :'quota' as same;
table kept;
select set_quota('tenant', :'tenant', 'llm', 7, 'day', p_warning_threshold => 0.9, p_suspended => false) = :'quota' as same;
select set_quota('tenant', :'tenant', 'llm', 7, 'day', p_time_zone => 'Europe/Berlin', p_event_thresholds => '{}') = :'quota' as same;
table kept;
select set_quota('tenant', :'tenant', 'llm', 8, 'day', p_time_zone => 'UTC');
select set_quota('tenant', :'tenant', 'llm', 8, 'day', p_time_zone => 'Asia/Tokyo');
table kept;
-- A new one.
select set_quota('tenant', :'tenant', 'e2b', 1) is not null as made;
select time_zone, mode, warning_threshold, event_thresholds, suspended from copilot_internal.cost_quotas where resource_type = 'e2b';
