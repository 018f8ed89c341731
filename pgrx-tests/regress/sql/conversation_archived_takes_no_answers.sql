-- An archived conversation takes no answer; a retry of one that came before is answered.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as done from append_message(:'tenant', :'chat', 'assistant', null, p_draft => true) \gset
select message_id as open from append_message(:'tenant', :'chat', 'assistant', null, p_draft => true) \gset
select replayed from finish_message(:'tenant', :'done', 'An answer');
select archived_at is not null as archived from archive_conversation(:'tenant', :'chat');
select from finish_message(:'tenant', :'open', 'Too late');
select replayed from finish_message(:'tenant', :'done', 'An answer');
select archived_at from archive_conversation(:'tenant', :'chat', false);
select replayed from finish_message(:'tenant', :'open', 'In time');
