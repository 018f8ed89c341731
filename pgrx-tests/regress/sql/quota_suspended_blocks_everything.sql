-- While a quota is suspended nothing that it counts is allowed, whatever its limit and mode, which it keeps.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
\set SHOW_CONTEXT never
create temp view shown as select limit_usd, mode, status, suspended from metrics.quota_status where period = 'lifetime';
\set limit 10
\set mode hard
select set_quota('tenant', :'tenant', 'all', :limit, 'lifetime', p_mode => :'mode', p_suspended => true) is not null as made;
select allowed, status, blocked_resource_type, reason, retry_after_seconds, retryable, limit_usd from check_quota_before_operation(:'tenant', 'llm', 0);
select recorded, reason from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 0, p_enforce => true);
table shown;
\set mode soft
select set_quota('tenant', :'tenant', 'all', :limit, 'lifetime', p_mode => :'mode') is not null as made;
select allowed, status, reason from check_quota_before_operation(:'tenant', 'e2b', 0);
select allowed, reason from check_and_record_quota_atomic('tenant', :'tenant', 0.5);
table shown;
\set mode shadow
\set limit null
select set_quota('tenant', :'tenant', 'all', :limit, 'lifetime', p_mode => :'mode') is not null as made;
select allowed, status, reason from check_quota_before_operation(:'tenant', 'e2b', 0);
select has_quota(:'tenant', 'llm', 0);
select allowed, reason from check_and_record_quota_atomic('tenant', :'tenant', 0.5);
table shown;
-- The money is spent: it is recorded.
select recorded, quota_status from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 0.25);
select require_quota(:'tenant', 'llm', 0);
-- Lifted: as it was.
select set_quota('tenant', :'tenant', 'all', :limit, 'lifetime', p_mode => :'mode', p_suspended => false) is not null as made;
select allowed, status, reason from check_quota_before_operation(:'tenant', 'e2b', 0);
table shown;
