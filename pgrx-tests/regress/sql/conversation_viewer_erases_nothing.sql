-- A viewer reads, and erases nothing, not even what they wrote as a member.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat', p_share_audience => 'tenant', p_tenant_access => 'edit') \gset
reset role;
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', 'b0000000-0000-4000-8000-000000000002', 'member');
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000002", "role": "authenticated"}', false) is not null as is_bob;
set role authenticated;
select conversation_id as own from create_conversation(:'tenant') \gset
select message_id as words from append_message(:'tenant', :'chat', 'user', 'Words') \gset
select message_id as more from append_message(:'tenant', :'chat', 'user', 'More words') \gset
select done from erase_message(:'tenant', :'chat', :'more');
reset role;
update copilot_internal.tenant_memberships set role = 'viewer' where user_id = 'b0000000-0000-4000-8000-000000000002';
set role authenticated;
select count(*) from get_path_messages(:'tenant', :'main');
select from erase_message(:'tenant', :'chat', :'words');
select from delete_message(:'tenant', :'chat', :'words');
select from erase_conversation(:'tenant', :'own');
select from erase_user_conversations(:'tenant', 'b0000000-0000-4000-8000-000000000002');
-- The server does it for them.
reset role;
set role service_role;
select done, erased > 0 as erased from erase_user_conversations(:'tenant', 'b0000000-0000-4000-8000-000000000002');
