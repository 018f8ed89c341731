-- maintain_conversations archives and erases by the settings, and erases what was temporary or of a tenant long deleted.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select conversation_id as brief from create_conversation(:'tenant', :'owner', 'Temporary', p_expires_at => clock_timestamp() + interval '1 day') \gset
select config ->> 'archive_after' as archive_after from set_conversation_config('tenant', :'tenant', null, '{"archive_after": "10 days", "erase_after": "100 days"}');
select task, done from maintain_conversations();
reset role;
set session_replication_role = replica;
update copilot_internal.conversations set created_at = clock_timestamp() - interval '20 days', last_message_at = null;
update copilot_internal.conversation_paths set created_at = clock_timestamp() - interval '20 days', last_message_at = null;
reset session_replication_role;
set role service_role;
select task, done from maintain_conversations() where done > 0;
select count(*) from copilot_internal.conversation_paths where archived_at is not null;
reset role;
update copilot_internal.conversations set expires_at = clock_timestamp() where id = :'brief';
set role service_role;
select task, done from maintain_conversations() where done > 0;
select title from copilot_internal.conversations;
select delete_tenant(:'tenant');
select task, done from maintain_conversations() where done > 0;
reset role;
update copilot_internal.tenants set deleted_at = clock_timestamp() - interval '31 days';
set role service_role;
select task, done from maintain_conversations() where done > 0;
select count(*) from copilot_internal.conversations;
select finished from purge_tenant(:'tenant');
