-- A table that somebody has put in the place of the extension's, with a column of another type, gives no page: 42804.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name) values (:'tenant', 'Acme');
select conversation_id as chat, path_id as path from create_conversation(:'tenant') \gset
select sequence_in_path from append_message(:'tenant', :'chat', 'assistant', 'Hello');
select content, token_count from get_path_messages(:'tenant', :'path');
begin;
alter table copilot_internal.conversation_messages rename to replaced;
create table copilot_internal.conversation_messages as select * from copilot_internal.replaced;
alter table copilot_internal.conversation_messages alter column token_count type text using 'many';
grant all on copilot_internal.conversation_messages to tollgate_owner;
select content, token_count from get_path_messages(:'tenant', :'path');
rollback;
select content, token_count from get_path_messages(:'tenant', :'path');
