-- The application's server stores a model's answer and what it cost in one transaction.
create function public.summarise_document(p_document_id uuid, p_summary text, p_input_tokens bigint, p_output_tokens bigint)
    returns numeric language plpgsql security invoker set search_path = '' as $$
declare
    v_tenant_id uuid;
    v_cost_usd numeric;
begin
    update public.documents d set summary = p_summary where d.id = p_document_id returning d.tenant_id into v_tenant_id;
    if not found then
        raise exception 'no such document' using errcode = 'P0002';
    end if;
    select c.cost_usd into v_cost_usd
    from public.record_llm_cost(v_tenant_id, 'openai', 'gpt-4o-mini', p_input_tokens, p_output_tokens,
        p_task => 'summary', p_request_id => 'summary ' || p_document_id::text) c;
    return v_cost_usd;
end $$;
revoke execute on function public.summarise_document(uuid, text, bigint, bigint) from public, anon, authenticated;
grant execute on function public.summarise_document(uuid, text, bigint, bigint) to service_role;
