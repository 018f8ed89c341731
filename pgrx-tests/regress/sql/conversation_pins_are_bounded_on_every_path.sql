-- No path shows more than 100 pinned messages, whether they come by a pin, on a parent, or by a merge.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as root from append_message(:'tenant', :'chat', 'user', 'root') \gset
select path_id as twig from branch_from_message(:'tenant', :'chat', :'root') \gset
select count(*) from append_messages(:'tenant', :'chat', :'twig', (select jsonb_agg('{"role": "user", "content": "w"}'::jsonb) from generate_series(1, 100)));
select count(*) from copilot_internal.conversation_messages m, lateral pin_message(:'tenant', :'chat', m.id, null) where m.path_id = :'twig';
-- The root shows on the branch, which is full.
select pin_message(:'tenant', :'chat', :'root', null);
select message_id as leaf from append_message(:'tenant', :'chat', 'user', 'leaf') \gset
select pin_message(:'tenant', :'chat', :'leaf', null);
select from merge_path(:'tenant', :'chat', :'twig', :'main', 'full');
select unpin_message(:'tenant', :'chat', :'leaf');
select cardinality(merged_message_ids) from merge_path(:'tenant', :'chat', :'twig', :'main', 'full');
select get_pinned_message_count(:'tenant', :'chat', :'main');
select pin_message(:'tenant', :'chat', :'leaf', null);
