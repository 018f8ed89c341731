-- Erasures take turns: a thousand that wait for their sandboxes keep no other from its end.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as words from append_message(:'tenant', :'chat', 'user', 'Words') \gset
reset role;
insert into copilot_internal.conversations (id, tenant_id, erasing_at, created_at) select gen_random_uuid(), :'tenant', now() - interval '1 day', now() - interval '1 day' from generate_series(1, 1000);
insert into copilot_internal.conversation_paths (id, conversation_id, tenant_id, is_primary, depth) select gen_random_uuid(), id, tenant_id, true, 0 from copilot_internal.conversations where erasing_at is not null;
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, terminated_at)
select tenant_id, conversation_id, id, 'box ' || id, 'terminated', now() from copilot_internal.conversation_paths where conversation_id <> :'chat';
update copilot_internal.conversations set updated_at = erasing_at where erasing_at is not null;
update copilot_internal.conversations set expires_at = now() where id = :'chat';
set role service_role;
select task, done from maintain_conversations() where task in ('retention', 'erase');
select task, done from maintain_conversations() where task in ('retention', 'erase');
select count(*) from copilot_internal.conversation_messages;
select count(*) from copilot_internal.conversations;
