-- A branch counts what it shows a model, though its parent's counts were left behind by a compaction that was taken back.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as m1 from append_message(:'tenant', :'chat', 'user', 'one one one one') \gset
select message_id as m2 from append_message(:'tenant', :'chat', 'user', 'two') \gset
select operation_id as operation from apply_compaction(:'tenant', :'chat', :'main', :'m1', 'semantic', 's') \gset
select path_id as branch from branch_from_message(:'tenant', :'chat', :'m2') \gset
select message_id as m3 from append_message(:'tenant', :'chat', 'user', 'three', p_path_id => :'branch') \gset
select state from revert_compaction(:'tenant', :'operation');
select path_id as twig from branch_from_message(:'tenant', :'chat', :'m3') \gset
select open_message_count, open_token_count from copilot_internal.conversation_paths where id = :'twig';
select * from verify_conversations();
