-- A user's own conversations with what models answered, and their own words elsewhere; nothing that a colleague wrote.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ada b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ada'), (:'other', 'Other', :'bob');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'ada', 'Of Ada', p_share_audience => 'tenant', p_tenant_access => 'edit') \gset
select count(*) from append_message(:'tenant', :'chat', 'user', 'asked by Ada', :'ada');
select count(*) from append_message(:'tenant', :'chat', 'assistant', 'answered');
select count(*) from append_message(:'tenant', :'chat', 'user', 'asked by Bob', :'bob');
select conversation_id as own from create_conversation(:'tenant', :'bob', 'Of Bob') \gset
select count(*) from append_message(:'tenant', :'own', 'user', 'only for Bob', :'bob');
select config is not null as set from set_conversation_config('user', :'tenant', :'ada', '{"path_max_messages": 7}');
select item ->> 'kind' as kind, coalesce(item ->> 'content', item ->> 'title', item ->> 'path_max_messages') as what
from export_user_conversations(:'tenant', :'ada');
select item ->> 'kind' as kind, coalesce(item ->> 'content', item ->> 'title') as what
from export_user_conversations(:'tenant', :'bob');
select count(*) from export_user_conversations(:'other', :'ada');

-- Pages of one row give the same.
with recursive page as (
    select p.*, 1 as number from export_user_conversations(:'tenant', :'ada', p_limit => 1) p
    union all
    select n.*, page.number + 1
    from page cross join lateral export_user_conversations(:'tenant', :'ada', page.next_cursor, 1) n
    where page.number < 20)
select number, item ->> 'kind' as kind, coalesce(item ->> 'content', item ->> 'title') as what from page order by number;

\set VERBOSITY sqlstate
select export_user_conversations(:'tenant', null);
select export_user_conversations(:'tenant', :'ada', 'message:1');
select export_user_conversations(:'tenant', :'ada', p_limit => 0);
reset role;
select set_config('request.jwt.claims', json_build_object('sub', :'ada')::text, false) is not null as person;
set role authenticated;
select export_user_conversations(:'tenant', :'ada');
