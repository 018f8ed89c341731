-- Charges in a loop of subtransactions, as PL/pgSQL makes one for each EXCEPTION block. Every third is taken back by an
-- error, every fifth by the error of a block around it; what is left is returned.
create schema torture;
create function torture.storm(p_tenant_id uuid, p_user_id uuid, p_usd numeric, p_request text, p_times integer)
    returns table (number integer, recorded boolean, id uuid, replayed boolean) language plpgsql as $$
begin
    for i in 1..p_times loop
        begin
            begin
                select i, r.recorded, r.cost_record_id, r.replayed into number, recorded, id, replayed
                from public.record_llm_cost(p_tenant_id, 'p', 'm', 1, 1, p_user_id => p_user_id, p_cost_usd => p_usd,
                    p_request_id => p_request || i, p_enforce => true) r;
                if i % 3 = 0 then
                    raise exception 'taken back';
                end if;
            exception when raise_exception then
                number := null;
            end;
            if i % 5 = 0 then
                raise exception 'taken back by the outer block';
            end if;
        exception when raise_exception then
            number := null;
        end;
        if number is not null then
            return next;
        end if;
    end loop;
end $$;
grant usage on schema torture to service_role;
grant execute on all functions in schema torture to service_role;
