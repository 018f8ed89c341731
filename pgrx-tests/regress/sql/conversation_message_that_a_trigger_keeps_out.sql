-- A message whose row a trigger keeps out takes no number: the append fails.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name) values (:'tenant', 'Acme');
select conversation_id as chat, path_id as path from create_conversation(:'tenant') \gset
create function public.keep_out() returns trigger language plpgsql as $$ begin
    return case when new.content <> 'kept out' then new end;
end $$;
create trigger keep_out before insert on copilot_internal.conversation_messages
    for each row execute function public.keep_out();
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'first');
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'kept out');
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'kept out', p_request_id => 'r');
select count(*) from append_messages(:'tenant', :'chat', :'path', '[{"role": "user", "content": "kept out"}]');
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'second', p_request_id => 'r');
select * from verify_conversations();
