-- Ids and costs of a private conversation are for its owner, and for the tenant's owners and admins: in the views, in the ledger, in the rollups.
\set tenant a0000000-0000-4000-8000-000000000001
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set cleo b0000000-0000-4000-8000-000000000003
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ann');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'bob', 'member'), (:'tenant', :'cleo', 'member');
set role service_role;
select conversation_id as cleos, path_id as cleos_path from create_conversation(:'tenant', :'cleo') \gset
select conversation_id as shared, path_id as shared_path from create_conversation(:'tenant', :'cleo', p_share_audience => 'tenant') \gset
select conversation_id as bobs, path_id as bobs_path from create_conversation(:'tenant', :'bob') \gset
select count(*) from (select record_llm_cost(:'tenant', 'p', 'm', 1, 1, u.user_id::uuid, u.chat::uuid, u.path::uuid, p_cost_usd => u.cost, p_request_id => u.name)
    from (values ('private', :'cleo', :'cleos', :'cleos_path', 1), ('of nobody', null, :'cleos', :'cleos_path', 2), ('shared', :'cleo', :'shared', :'shared_path', 4),
        ('own', :'bob', :'bobs', :'bobs_path', 8), ('elsewhere', :'cleo', 'c0000000-0000-4000-8000-000000000009', null, 16), ('without', :'cleo', null, null, 32),
        ('a path alone', :'cleo', null, :'cleos_path', 128)) u (name, user_id, chat, path, cost)) r;
select count(*) from (select record_e2b_cost(:'tenant', 's' || u.chat, 'standard', 1, :'cleo', u.chat::uuid, u.path::uuid, p_cost_usd => 64)
    from (values (:'cleos', :'cleos_path'), (:'shared', :'shared_path')) u (chat, path)) r;
select refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'private'), 1, 'wrong', 'r1') is not null as refunded;
select count(*) > 0 as folded from copilot_internal.maintain();
reset role;
create function public.names(p_id uuid) returns text language sql stable security definer as $$
    select coalesce((select case when user_id = 'b0000000-0000-4000-8000-000000000002' then 'bob''s' when share_audience = 'tenant' then 'shared' else 'cleo''s' end
                     from copilot_internal.conversations where id = p_id), 'elsewhere') $$;
create view public.seen with (security_invoker) as
    select 'by conversation' as source, names(conversation_id) as conversation, sum(total_cost) as cost from metrics.cost_by_conversation group by 1, 2
    union all select 'by path', names(conversation_id), sum(total_cost) from metrics.cost_by_path group by 1, 2
    union all select 'llm', names(conversation_id), sum(cost_usd) from copilot_internal.llm_cost_records where conversation_id is not null group by 1, 2
    union all select 'llm', 'a path alone', sum(cost_usd) from copilot_internal.llm_cost_records
        where conversation_id is null and path_id is not null group by 1, 2
    union all select 'e2b', names(conversation_id), sum(cost_usd) from copilot_internal.e2b_cost_records where conversation_id is not null group by 1, 2
    union all select 'corrections', names(conversation_id), sum(cost_usd) from copilot_internal.cost_corrections group by 1, 2
    union all select 'rollups', names(conversation_id), sum(cost_usd) from copilot_internal.conversation_rollups group by 1, 2
    union all select 'by user', user_id::text, total_cost from metrics.cost_by_user;
grant select on public.seen to authenticated, service_role;
create function public.as_user(p_user text) returns void language sql as $$ select set_config('request.jwt.claims', format('{"sub": "%s"}', p_user), false) $$;
select as_user(:'bob');
set role authenticated;
select * from public.seen order by 1, 2;
-- What the tenant has spent in all is known to its members.
select total_cost from metrics.tenant_total_costs;
reset role;
select as_user(:'cleo');
set role authenticated;
select * from public.seen order by 1, 2;
reset role;
select as_user(:'ann');
set role authenticated;
select * from public.seen order by 1, 2;
reset role;
set role metrics_reader;
select sum(total_cost) from metrics.cost_by_path;
select sum(total_cost) from metrics.cost_by_user;
reset role;
-- Where conversations are not stored, nothing says that one is private.
drop view public.seen;
drop extension pg_tollgate_conversations;
select as_user(:'bob');
set role authenticated;
select count(*), sum(total_cost) from metrics.cost_by_conversation;
