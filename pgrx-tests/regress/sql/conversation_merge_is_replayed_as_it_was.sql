-- The same request id with another selection or summary is refused, a path goes with what it inherited, and people write no summaries.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as m1 from append_message(:'tenant', :'chat', 'user', 'one') \gset
select path_id as a from branch_from_message(:'tenant', :'chat', :'m1') \gset
select message_id as a1 from append_message(:'tenant', :'chat', 'user', 'a1', p_path_id => :'a') \gset
select message_id as a2 from append_message(:'tenant', :'chat', 'user', 'a2', p_path_id => :'a') \gset
select path_id as b from branch_from_message(:'tenant', :'chat', :'m1') \gset
select path_id as c from branch_from_message(:'tenant', :'chat', :'m1') \gset
select replayed from merge_path(:'tenant', :'chat', :'a', :'main', 'selective', array[:'a1']::uuid[], p_request_id => 'a');
select replayed from merge_path(:'tenant', :'chat', :'a', :'main', 'selective', array[:'a1']::uuid[], p_request_id => 'a');
select replayed from merge_path(:'tenant', :'chat', :'b', :'main', 'summary', p_summary_content => 'b', p_request_id => 'b');
select replayed from merge_path(:'tenant', :'chat', :'b', :'main', 'summary', p_summary_content => 'b', p_request_id => 'b');
\set VERBOSITY sqlstate
select replayed from merge_path(:'tenant', :'chat', :'a', :'main', 'selective', array[:'a2']::uuid[], p_request_id => 'a');
select replayed from merge_path(:'tenant', :'chat', :'b', :'main', 'summary', p_summary_content => 'other', p_request_id => 'b');
select erase_conversation(:'tenant', null);
delete from copilot_internal.conversation_paths where id = :'c';
select count(*) from copilot_internal.conversation_path_segments where path_id = :'c';
reset role;
select set_config('request.jwt.claims', json_build_object('sub', :'owner', 'role', 'authenticated')::text, false) is not null as signed_in;
set role authenticated;
select append_message(:'tenant', :'chat', 'user', 'x', p_message_type => 'merge_summary');
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'x');
