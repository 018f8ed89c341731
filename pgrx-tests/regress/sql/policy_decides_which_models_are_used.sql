-- A model that the tenant's policy denies is refused by an enforced charge, with a status of its own; recording after the
-- fact is always taken.
\set acme a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
set role service_role;
insert into copilot_internal.tenants (id, name, owner_id) values (:'acme', 'Acme', :'ann'), (:'other', 'Other', null);
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'acme', :'bob');
create function pg_temp.charge(p_provider text, p_model text, p_task text default null, p_user uuid default null, p_enforce boolean default true)
    returns text language sql as $$
    select concat_ws(' | ', recorded, quota_status, reason)
    from public.record_llm_cost('a0000000-0000-4000-8000-000000000001', p_provider, p_model, 1, 1, p_user, p_task => p_task, p_cost_usd => 0.001, p_enforce => p_enforce)
$$;
select pg_temp.charge('openai', 'gpt-4o');
select set_llm_policy(:'acme', '{
    "default_provider": "openai", "default_model": "gpt-4o-mini", "denied_models": ["gpt-4o", "o3*"], "denied_providers": ["azure"],
    "task_overrides": {"embed": {"default_model": "text-embedding-3-small", "allowed_models": ["text-embedding-*"]}},
    "user_overrides": {"b0000000-0000-4000-8000-000000000002": {"egress_mode": "blocked"}}}');
select pg_temp.charge('openai', 'gpt-4o');
select pg_temp.charge('OpenAI', 'GPT-4o');
select pg_temp.charge('openai', 'o3-mini');
select pg_temp.charge('azure', 'gpt-4.1');
select pg_temp.charge('openai', 'gpt-4.1');
select pg_temp.charge('openai', 'gpt-4.1', 'embed');
select pg_temp.charge('openai', 'text-embedding-3-small', 'embed');
select pg_temp.charge('openai', 'gpt-4.1', null, :'bob');
select pg_temp.charge('openai', 'gpt-4o', p_enforce => false);
-- The ledger has what was admitted or came after the fact; the other tenant has no policy.
select model_name, count(*) from copilot_internal.llm_cost_records group by 1 order by 1;
select recorded, quota_status from record_llm_cost(:'other', 'openai', 'gpt-4o', 1, 1, p_enforce => true);
-- A reservation is refused for the model that its metadata names.
select allowed, status, reason from reserve_quota(:'acme', 'llm', 1, 'r1', p_metadata => '{"model_provider": "openai", "model_name": "gpt-4o"}');
-- Whatever else the metadata hold.
select allowed, status, reason from reserve_quota(:'acme', 'llm', 1, 'r1b', p_metadata => '{"model_provider": "openai", "model_name": "gpt-4o", "note": {"$serde_json::private::Number": "none"}}');
select allowed, status from reserve_quota(:'acme', 'llm', 1, 'r2', p_metadata => '{"model_name": "gpt-4.1", "task": "embed"}');
select allowed, status from reserve_quota(:'acme', 'llm', 1, 'r3', p_metadata => '{"model_name": "gpt-4.1"}');
select allowed, status from reserve_quota(:'acme', 'llm', 1, 'r4');
select allowed, status from reserve_quota(:'acme', 'llm', 1, 'r5', :'bob');
select allowed, status from reserve_quota(:'acme', 'e2b', 1, 'r6', :'bob');
-- A request that was admitted before replays, whatever the policy says now.
select recorded, replayed from record_llm_cost(:'other', 'openai', 'gpt-4.1', 1, 1, p_request_id => 'r', p_enforce => true);
select set_llm_policy(:'other', '{"egress_mode": "blocked"}');
select recorded, replayed, quota_status from record_llm_cost(:'other', 'openai', 'gpt-4.1', 1, 1, p_request_id => 'r', p_enforce => true);
select recorded, replayed, quota_status from record_llm_cost(:'other', 'openai', 'gpt-4.1', 1, 1, p_request_id => 's', p_enforce => true);

-- What holds: the user's before the task's before the tenant's, denials added up.
select * from resolve_llm_policy(:'acme');
select * from resolve_llm_policy(:'acme', 'embed', :'bob');
select has_policy, egress_mode from resolve_llm_policy('a0000000-0000-4000-8000-00000000000f');
reset role;
set role authenticated;
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000002"}', false) is not null as bob;
select egress_mode from resolve_llm_policy(:'acme', null, :'bob');
select egress_mode from resolve_llm_policy(:'acme', null, :'ann');
select egress_mode from resolve_llm_policy(:'other');
select count(*) from copilot_internal.tenant_llm_policies;
select set_llm_policy(:'acme', null);
reset role;
set role service_role;

-- What is no policy is refused with a sentence, and by the table itself.
\set VERBOSITY terse
select set_llm_policy(:'acme', '{"denied_model": []}');
select set_llm_policy(:'acme', '{"denied_models": "gpt-4o"}');
select set_llm_policy(:'acme', '{"denied_models": ["a*b"]}');
select set_llm_policy(:'acme', '{"egress_mode": "shut"}');
select set_llm_policy(:'acme', '{"default_model": 7}');
select set_llm_policy(:'acme', '{"user_overrides": {"ann": {}}}');
select set_llm_policy(:'acme', '{"task_overrides": {"t": {"egress": "open"}}}');
select set_llm_policy(:'acme', '[]');
select set_llm_policy('a0000000-0000-4000-8000-00000000000f', '{}');
\set VERBOSITY sqlstate
update copilot_internal.tenant_llm_policies set denied_models = '{}' where tenant_id = :'acme';
insert into copilot_internal.tenant_llm_policies (tenant_id, egress_mode) values (:'acme', 'shut');
-- Taken away.
select set_llm_policy(:'acme', null), set_llm_policy(:'acme', null) as again;
select pg_temp.charge('openai', 'gpt-4o');
