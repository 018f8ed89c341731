-- A limit of 0.0000000019 USD is 1.9 nano-dollars and gives 1. Rounding never makes room.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 0.0000000019, 'lifetime') is not null as made;

select allowed, limit_usd, remaining_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.000000001);
select allowed, limit_usd, remaining_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.000000001);
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.0000000009);

-- Less than a nano-dollar gives none, and blocks as 0 does.
select set_quota('tenant', :'other', 'llm', 0.0000000009, 'lifetime') is not null as made;
select allowed, status, limit_usd, remaining_usd, usage_percentage
from check_quota_before_operation(:'other', 'llm', 0);

-- The view says of both what the charge and the look say.
select current_spend_usd, usage_percentage, status, remaining_usd
from metrics.quota_status order by tenant_id;
