-- A user is replaced by one pseudonym in a tenant. Costs and sums stay; nothing that was noted of the user does.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-0000000000b0
\set VERBOSITY terse
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
create function pg_temp.hits(relation name, pattern text) returns bigint language plpgsql as $$
declare v_hits bigint;
begin
    execute format('select count(*) from copilot_internal.%I r where r::text ~* %L', relation, pattern) into v_hits;
    return v_hits;
end $$;
create temp view found as
    select c.relname, q.hits
    from pg_class c
    cross join lateral (select pg_temp.hits(c.relname, 'b0000000-0000-4000-8000-0000000000b0|bob') as hits) q
    where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r' and q.hits > 0;
grant select on found to service_role;
set role service_role;
select set_quota('user', :'bob', 'llm', 5, 'lifetime', :'tenant', p_event_thresholds => '{0.1}') is not null as made;
select raise_quota(quota_id, 1, clock_timestamp() + interval '1 day', p_reason => 'Bob asked') is not null as raised
from metrics.quota_status where scope = 'user';
select set_llm_policy(:'tenant', '{"user_overrides": {"b0000000-0000-4000-8000-0000000000b0": {"denied_models": ["o3"]}, "b0000000-0000-4000-8000-0000000000c0": {}}}');
select create_personal_tenant(:'bob', 'bob@example.com') as home \gset
update copilot_internal.tenants set name = 'Bob''s', slug = 'bob', settings = '{"mail": "bob@example.com"}' where id = :'home';
select switch_tenant(:'tenant', :'bob');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'bob', :'bob', :'bob', 'for bob', '{"cache_read_input_tokens": 400, "service_tier": "for Bob", "for": "bob"}',
    p_service_tier => 'bob', p_request_id => 'bob 1', p_trace_id => 'bob', p_span_id => 'bob', p_metadata => '{"mail": "bob@example.com"}');
select cost_status from record_llm_usage(:'tenant', 'acme', 'm', '{"answer": "Dear Bob"}', :'bob', p_request_id => 'bob 2');
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'bob', p_cost_usd => 1, p_request_id => 'bob 3');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'bob', p_usage => '{"service_tier": "Bob''s", "speed": "bob@example.com", "inference_geo": "b0000000-0000-4000-8000-0000000000b0"}', p_service_tier => 'Batch');
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', :'bob', p_cost_usd => 0.25);
select count(*) from (select record_e2b_cost(:'tenant', 'bobs-box', 'standard', 10, :'bob', :'bob', p_region => 'bobs', p_metadata => '{"for": "bob"}') from generate_series(1, 2)) r;
select allowed from check_and_record_quota_atomic('user', :'bob', 0.5, 'llm', :'tenant', 'bob 4');
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'bob 3'), 0.125, 'bob 5', 'Bob was right');
select reservation_id as hold from reserve_quota(:'tenant', 'llm', 0.5, 'bob 6', :'bob', p_metadata => '{"for": "bob"}') \gset
select allowed from extend_reservation(:'hold', '1 hour', p_request_id => 'bob 7');
select allowed, status from reserve_quota(:'tenant', 'llm', 50, 'bob 8', :'bob', p_log_denial => true);
select done from copilot_internal.maintain() where task = 'fold';
-- Of everything some is folded and some pending.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'bob', p_cost_usd => 2, p_metadata => '{"for": "bob"}');
reset role;
-- The conversation is shared: its id is the owner's, too.
update copilot_internal.llm_cost_records set conversation_id = null where user_id = :'owner';
update copilot_internal.conversation_rollups set cost_usd = cost_usd - 0.25, record_count = record_count - 1 where source = 'llm' and path_id = '00000000-0000-0000-0000-000000000000';
select * from copilot_internal.verify();
select relname from found order by 1;
create temp table before as select total_cost, llm_cost, e2b_cost, other_cost, llm_request_count, e2b_session_count, unpriced_count from metrics.tenant_total_costs;
insert into copilot_internal.model_pricing (model_provider, model_name, input_per_million_usd, output_per_million_usd, components, effective_from)
values ('openai', 'gpt-4o', 3, 11, '{"cache_read_input_token_cost": 0.000001}', '2020-01-01');
create temp table repriced as select r.* from copilot_internal.reprice('2020-01-01', '2100-01-01', true) r;
select provider, records, present_usd, repriced_usd from repriced;
set role service_role;
-- A tenant of a team cannot be left without its owner.
select erase_user(:'owner');
select erase_user(:'owner', :'tenant');
select finished, remaining from erase_user(:'bob');
reset role;
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
select * from found;
select total_cost, llm_cost, e2b_cost, other_cost, llm_request_count, e2b_session_count, unpriced_count from metrics.tenant_total_costs
except table before;
-- One pseudonym, in all of them, and nothing that says whose.
select count(distinct user_id) as users, count(*) as rows, bool_and(user_id <> :'bob') as others
from (select user_id from copilot_internal.llm_cost_records union all select user_id from copilot_internal.e2b_cost_records
      union all select user_id from copilot_internal.quota_charges union all select user_id from copilot_internal.cost_corrections) r
where user_id is distinct from :'owner';
select total_cost, llm_cost, e2b_cost, other_cost, llm_request_count, e2b_session_count, unpriced_count
from metrics.cost_by_user where user_id is distinct from :'owner';
select count(*) from metrics.cost_by_conversation;
select usage, service_tier, pricing, metadata, task from copilot_internal.llm_cost_records where cost_usd is null or model_provider = 'openai' order by cost_usd;
select event_type, payload ? 'request_id' as asked, payload ->> 'request_id' as request_id from copilot_internal.quota_events order by 1, 2;
-- Prices that change later come to the same corrections as before.
select r.* from copilot_internal.reprice('2020-01-01', '2100-01-01', true) r except table repriced;
select name, slug, settings, type, deleted_at is not null as deleted, owner_id = created_by as same from copilot_internal.tenants where id = :'home';
select user_overrides from copilot_internal.tenant_llm_policies;
select count(*) from copilot_internal.erasures;
set role service_role;
select allowed, status from check_quota_before_operation(:'tenant', 'llm', 1, :'bob');
-- The hold lives on, and what it comes to is recorded, with any user.
select recorded, overrun_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', p_cost_usd => 0.375, p_reservation_id => :'hold');
-- What comes after that is a new person.
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'bob', p_cost_usd => 2);
select * from copilot_internal.verify();
select finished from erase_user(:'bob', :'tenant');
select finished, changed, remaining from erase_user(:'bob');
select count(*) from metrics.cost_by_user;
select * from copilot_internal.verify();
-- Bad input.
select erase_user(null);
select erase_user('00000000-0000-0000-0000-000000000000');
set role authenticated;
select erase_user(:'bob');
reset role;
