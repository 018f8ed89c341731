-- The status is WARNING from the threshold on, inclusive, counting the operation that is asked about.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
-- 0.8 of 10 USD are 8.
select set_quota('tenant', :'tenant', 'llm', 10, 'lifetime') is not null as made;
select status from check_quota_before_operation(:'tenant', 'llm', 7.999999999);
select status from check_quota_before_operation(:'tenant', 'llm', 8);
select status from check_quota_before_operation(:'tenant', 'llm', 10);
select status from check_quota_before_operation(:'tenant', 'llm', 10.000000001);

select quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 7.999999999);
select status, usage_percentage from metrics.quota_status;
select quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.000000001);
select status, usage_percentage from metrics.quota_status;
-- 8 + 2 = 10: the charge fits, with a warning; after it nothing more fits, which the view calls EXCEEDED.
select quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 2);
select status, usage_percentage from metrics.quota_status;

-- At 0 everything warns, at 1 only what uses the limit up: 20 - 10 = 10 are left.
select set_quota('tenant', :'tenant', 'llm', 20, 'lifetime', p_warning_threshold => 0) is not null as made;
select status from check_quota_before_operation(:'tenant', 'llm', 0);
select set_quota('tenant', :'tenant', 'llm', 20, 'lifetime', p_warning_threshold => 1) is not null as made;
select status from check_quota_before_operation(:'tenant', 'llm', 9.999999999);
select status from check_quota_before_operation(:'tenant', 'llm', 10);

-- A threshold between two nano-dollars is reached at the upper: 0.55 of 0.00000003 USD are 16.5 nano-dollars.
select set_quota('tenant', :'tenant', 'e2b', 0.00000003, 'lifetime', p_warning_threshold => 0.55) is not null as made;
select status from check_quota_before_operation(:'tenant', 'e2b', 0.000000016);
select status from check_quota_before_operation(:'tenant', 'e2b', 0.000000017);
