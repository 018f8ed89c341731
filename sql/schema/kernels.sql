-- What kernels and facades rest on.

create function copilot_internal.sole_tenant(p_user_id uuid) returns uuid
    language sql stable
begin atomic
    select case when count(*) = 1 then (pg_catalog.array_agg(m.tenant_id))[1] end
    from copilot_internal.active_memberships m where m.user_id = p_user_id;
end;
comment on function copilot_internal.sole_tenant(uuid) is 'The tenant of a user who has exactly one; else NULL. Run as the owner.';

create function copilot_internal.price_problem(p_input_per_million_usd numeric, p_output_per_million_usd numeric, p_components jsonb)
    returns text language c immutable parallel safe as 'MODULE_PATHNAME', 'price_problem_wrapper';
comment on function copilot_internal.price_problem(numeric, numeric, jsonb) is
    'Why the pricing engine cannot use these prices of a model, or NULL when it can. A key that it does not know is a problem: it would be a price that is never charged.';
