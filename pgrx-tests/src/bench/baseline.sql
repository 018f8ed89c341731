-- The obvious way, as a peer to measure against: one row per quota, locked by every charge until it commits.
-- Charge one tenant's two quotas (its own resource and 'all') and record the cost, in one statement for the client.
create schema baseline;
create table baseline.quota (
    tenant_id uuid not null, resource_type text not null, limit_usd numeric not null, spent_usd numeric not null default 0,
    primary key (tenant_id, resource_type));
create table baseline.ledger (
    like copilot_internal.llm_cost_records including defaults including constraints including indexes);
create function baseline.charge(p_tenant_id uuid, p_cost_usd numeric, p_request_id text) returns boolean language plpgsql as $$
declare
    v_refused boolean;
begin
    perform 1 from baseline.quota where tenant_id = p_tenant_id and resource_type in ('all', 'llm') order by resource_type for update;
    select bool_or(spent_usd + p_cost_usd > limit_usd) into v_refused
      from baseline.quota where tenant_id = p_tenant_id and resource_type in ('all', 'llm');
    if v_refused then
        return false;
    end if;
    update baseline.quota set spent_usd = spent_usd + p_cost_usd where tenant_id = p_tenant_id and resource_type in ('all', 'llm');
    -- The same full row that the extension writes: bench puts the statement here.
    {insert};
    return true;
end $$;
