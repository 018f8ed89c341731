-- A step in the life of conversations, of a tenant that is charged nothing. What a step meets that another has closed,
-- moved on or erased is refused, as it is to any client; what is not foreseen here is told.
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name) values ('00000000-0000-4000-8000-00000000c0de', 'talk');

create procedure torture.talk(p_kind integer, p_number integer) language plpgsql as $$
declare
    c_tenant constant uuid := '00000000-0000-4000-8000-00000000c0de';
    v_path copilot_internal.conversation_paths;
    v_other uuid;
    v_message uuid;
    v_removals integer;
    v_words constant text := repeat('word ', p_number % 40);
begin
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.tenant_id = c_tenant order by random() limit 1;
    select o.id into v_other from copilot_internal.conversation_paths o
    where o.tenant_id = c_tenant and o.conversation_id = v_path.conversation_id and o.id <> v_path.id
    order by random() limit 1;
    select m.id into v_message from copilot_internal.conversation_messages m
    where m.tenant_id = c_tenant and m.path_id = v_path.id order by random() limit 1;
    case
        when v_path.id is null or p_kind < 4 then
            perform public.create_conversation(c_tenant, null, v_words, p_request_id =>
                case when p_kind = 0 then 'made ' || p_number % 50 end);
        when p_kind < 40 then
            perform public.append_message(c_tenant, v_path.conversation_id, 'user', v_words, p_path_id => v_path.id,
                p_request_id => case when p_kind < 12 then 'said ' || p_number % 200 end);
        when p_kind < 48 then
            perform public.append_messages(c_tenant, v_path.conversation_id, v_path.id,
                '[{"role": "assistant", "content": "call"}, {"role": "tool", "content": "result"}]');
        when p_kind < 56 then
            perform public.branch_from_message(c_tenant, v_path.conversation_id, v_message,
                p_position => case p_kind % 2 when 0 then 'after' else 'before' end, p_activate => p_kind % 4 = 0);
        when p_kind < 62 then
            perform public.merge_path(c_tenant, v_path.conversation_id, v_path.id, v_other,
                case p_kind % 2 when 0 then 'full' else 'summary' end,
                p_summary_content => case p_kind % 2 when 1 then v_words || '.' end, p_archive_source => p_kind < 59);
        when p_kind < 72 then
            select max(c.removal_count) into v_removals from public.get_path_context(c_tenant, v_path.id) c;
            perform public.apply_compaction(c_tenant, v_path.conversation_id, v_path.id, v_message, 'semantic', 'short',
                p_base_operation_id => (copilot_internal.governing_operation(c_tenant, v_path.id)).id,
                p_removal_count => v_removals);
        when p_kind < 76 then
            perform public.delete_message(c_tenant, v_path.conversation_id, v_message);
        when p_kind < 80 then
            perform public.erase_message(c_tenant, v_path.conversation_id, v_message);
        when p_kind < 84 then
            perform public.pin_message(c_tenant, v_path.conversation_id, v_message, null);
        when p_kind < 87 then
            perform public.revert_compaction(c_tenant, (
                select o.id from copilot_internal.compaction_operations o
                where o.tenant_id = c_tenant and o.path_id = v_path.id and o.state = 'applied' limit 1));
        when p_kind < 90 then
            perform public.archive_conversation(c_tenant, v_path.conversation_id, p_kind % 2 = 0);
        when p_kind < 94 then
            perform public.erase_conversation(c_tenant, v_path.conversation_id);
        when p_kind < 97 then
            perform public.maintain_conversations(100);
        else
            perform public.claim_paths_for_compaction(5, '10 seconds', 8);
    end case;
exception
    when sqlstate 'PT409' or no_data_found or invalid_parameter_value or unique_violation or program_limit_exceeded then
        null;
end $$;
grant execute on procedure torture.talk to service_role;
grant execute on function copilot_internal.governing_operation to service_role;
