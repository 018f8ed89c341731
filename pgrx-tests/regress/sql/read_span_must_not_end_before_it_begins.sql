-- Also when one of its ends is the default, the present month's.
\set VERBOSITY sqlstate
set role service_role;
select * from public.get_tenant_cost_summary('a0000000-0000-4000-8000-000000000001', '2026-02-01Z', '2026-01-01Z');
select * from public.get_tenant_cost_summary('a0000000-0000-4000-8000-000000000001', '2100-01-01Z');
select * from public.get_tenant_cost_summary('a0000000-0000-4000-8000-000000000001', null, '2000-01-01Z');
select total_cost_usd from public.get_tenant_cost_summary('a0000000-0000-4000-8000-000000000001', '2026-01-01Z', '2026-01-01Z');
