-- What a user's settings leave open the tenant's say, then the global ones, then what ships.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
\pset format unaligned
\set show 'select key, value from jsonb_each(get_effective_conversation_config(:''tenant'', :''owner'')) where key in (''path_max_messages'', ''merge_max_messages'', ''archive_after'') order by 1;'
select get_effective_conversation_config(:'tenant');
select config ->> 'path_max_messages' as path_max_messages from set_conversation_config('global', null, null, '{"path_max_messages": 10, "merge_max_messages": 11}');
select config ->> 'path_max_messages' as path_max_messages from set_conversation_config('tenant', :'tenant', null, '{"path_max_messages": 20, "archive_after": "30 days"}');
select config ->> 'path_max_messages' as path_max_messages from set_conversation_config('user', :'tenant', :'owner', '{"path_max_messages": 30}');
:show
select config ->> 'path_max_messages' as path_max_messages from set_conversation_config('user', :'tenant', :'owner', '{"path_max_messages": null}');
:show
-- The application's own upsert.
insert into copilot_internal.conversation_configs (config_level, tenant_id, path_max_messages) values ('tenant', :'tenant', 40)
on conflict (config_level, tenant_id, user_id) do update set path_max_messages = excluded.path_max_messages;
:show
select count(*) from copilot_internal.conversation_configs;
\set VERBOSITY sqlstate
select set_conversation_config('tenant', :'tenant', null, '{"path_max_messages": 0}');
select set_conversation_config('tenant', :'tenant', null, '{"path_max_messages": "many"}');
select set_conversation_config('tenant', :'tenant', null, '{"tenant_id": null}');
select set_conversation_config('tenant', null, null, '{}');
select set_conversation_config('team', :'tenant', null, '{}');
select set_conversation_config('tenant', gen_random_uuid(), null, '{}');
reset role;
select set_config('request.jwt.claims', json_build_object('sub', :'member')::text, false) is not null as member;
set role authenticated;
select config ->> 'path_max_messages' as own from set_conversation_config('user', :'tenant', :'member', '{"path_max_messages": 7}');
select set_conversation_config('user', :'tenant', :'owner', '{"path_max_messages": 7}');
select set_conversation_config('tenant', :'tenant', null, '{"path_max_messages": 7}');
select set_conversation_config('global', null, null, '{"path_max_messages": 7}');
select get_effective_conversation_config(:'tenant', :'owner');
select config_level from copilot_internal.conversation_configs order by 1;
update copilot_internal.conversation_configs set path_max_messages = 1;
