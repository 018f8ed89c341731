-- set_quota without a zone changes the limit of a quota in any zone; another zone is refused, for a zone cannot change.
\set VERBOSITY sqlstate
set role service_role;
insert into copilot_internal.tenants (id, name) values ('a0000000-0000-4000-8000-000000000001', 'Acme');
select public.set_quota('tenant', 'a0000000-0000-4000-8000-000000000001', 'llm', 10, p_time_zone => 'Europe/Berlin') is not null as made;
select public.set_quota('tenant', 'a0000000-0000-4000-8000-000000000001', 'llm', 20) is not null as changed;
select public.set_quota('tenant', 'a0000000-0000-4000-8000-000000000001', 'llm', 30, p_time_zone => 'Asia/Tokyo');
select limit_usd, time_zone from copilot_internal.cost_quotas;
