-- Who was erased is named by nothing in others' conversations, and by no bill of a sandbox that still ran.
\set tenant a0000000-0000-4000-8000-000000000001
\set ann b0000000-0000-4000-8000-0000000000a0
\set bob b0000000-0000-4000-8000-0000000000b0
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ann');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'bob', 'admin');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'ann', 'Shared', p_share_audience => 'tenant', p_tenant_access => 'edit') \gset
select count(*) from unnest(array['user', 'assistant', 'user', 'assistant']) r (role),
    append_message(:'tenant', :'chat', r.role, 'words', case r.role when 'user' then :'ann'::uuid end, p_token_count => 5000) m;
select message_id as first from get_path_context(:'tenant', :'path') where effective_sequence = 1 \gset
select message_id as second from get_path_context(:'tenant', :'path') where effective_sequence = 2 \gset
select message_id as third from get_path_context(:'tenant', :'path') where effective_sequence = 3 \gset
-- The member writes, pins, deletes and compacts, and has a sandbox here and one in a conversation of their own.
select append_message(:'tenant', :'chat', 'user', 'of Bob', :'bob') is not null as written;
select pin_message(:'tenant', :'chat', :'first', :'bob');
select state, operation_id as operation from apply_compaction(:'tenant', :'chat', :'path', :'second', 'minimal', 'short', p_user_id => :'bob') \gset
select state from revert_compaction(:'tenant', :'operation', :'bob');
select delete_message(:'tenant', :'chat', :'third', :'bob') is not null as deleted;
select count(*) from set_conversation_config('tenant', :'tenant', null, '{"path_max_messages": 60}', :'bob');
select context_id as shared from acquire_execution_context(:'tenant', :'chat', :'path', :'bob', p_estimated_cost_usd => 0.5) \gset
select conversation_id as own, path_id as own_path from create_conversation(:'tenant', :'bob', 'Own') \gset
select context_id as own_box from acquire_execution_context(:'tenant', :'own', :'own_path', :'bob', p_estimated_cost_usd => 0.5) \gset
select activated from activate_execution_context(:'shared', 'box-1');
select activated from activate_execution_context(:'own_box', 'box-2');
select conversation_id as other, path_id as other_path from create_conversation(:'tenant', :'ann', 'Other', p_share_audience => 'tenant', p_tenant_access => 'edit') \gset
select context_id as billed from acquire_execution_context(:'tenant', :'other', :'other_path', :'bob', p_estimated_cost_usd => 0.5) \gset
select activated from activate_execution_context(:'billed', 'box-3');
select replayed from release_execution_context(:'billed', 10);
-- Those that are not billed yet go on until they are, under no name.
select done, remaining_contexts from erase_user_conversations(:'tenant', :'bob');
select finished from erase_user(:'bob', :'tenant');
select cost_status is not null as billed, replayed from release_execution_context(:'shared', 10);
select cost_status is not null as billed, replayed from release_execution_context(:'own_box', 10);
select cost_status is not null as billed, replayed from release_execution_context(:'own_box', 10);
select done, remaining_contexts from erase_user_conversations(:'tenant', :'bob');
select finished from erase_user(:'bob', :'tenant');
select count(*), count(user_id) as named from copilot_internal.e2b_cost_records;
-- A bill is a pseudonym's from then on, and known as its context's all the same.
select replayed, cost_usd is not null as told from release_execution_context(:'billed', 10);
select count(*) from copilot_internal.e2b_cost_records where request_id = 'execution_context:' || :'billed';
reset role;
-- Only what is kept so that a restored backup can be erased again.
create function pg_temp.naming(p_user_id uuid) returns setof text language plpgsql as $$
declare
    v_table text;
    v_is_named boolean;
begin
    for v_table in select relname from pg_class where relnamespace = 'copilot_internal'::regnamespace and relkind = 'r' order by 1 loop
        execute format('select exists (select from copilot_internal.%I r where r::text like %L)', v_table, '%' || p_user_id || '%') into v_is_named;
        if v_is_named then
            return next v_table;
        end if;
    end loop;
end $$;
select pg_temp.naming(:'bob');
select count(*) > 1 as named from pg_temp.naming(:'ann');
select is_pinned, pinned_by is null as by_nobody from copilot_internal.conversation_messages where id = :'first';
select * from verify_conversations();
select * from copilot_internal.verify();
