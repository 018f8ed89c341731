-- A trigger on quota_events charges the tenant while a batch is recorded: what comes after it in the batch counts it.
\set one a0000000-0000-4000-8000-000000000001
insert into copilot_internal.tenants (id, name) values (:'one', 'One');
select set_quota('tenant', :'one', 'llm', 100) is not null as limited, set_quota('tenant', :'one', 'all', 100000) is not null as as_good_as_not;
create function public.fee() returns trigger language plpgsql as $$
begin
    if new.event_type = 'threshold' and new.threshold = 0.8 then
        perform public.record_llm_cost(new.tenant_id, 'p', 'fee', 1, 1, p_cost_usd => 15);
    end if;
    return null;
end $$;
create trigger fee after insert on copilot_internal.quota_events for each row execute function public.fee();
set role service_role;
select recorded from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 50);
-- 0.8 is reached by the 750th; runs have 256. 50 + 900 × 0.04 + 15 = 101.
select quota_status, remaining_usd from record_llm_costs((
    select jsonb_agg(jsonb_build_object('tenant_id', :'one', 'model_provider', 'p', 'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 0.04))
    from generate_series(1, 900))) where ordinal = 900;
select event_type, threshold from copilot_internal.quota_events order by event_type, threshold;
select current_spend_usd from check_quota_before_operation(:'one', 'llm', 0);
