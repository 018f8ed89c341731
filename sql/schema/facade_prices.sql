-- Setting prices.

create function public.set_model_price(
    p_model_provider text, p_model_name text, p_input_per_million_usd numeric, p_output_per_million_usd numeric,
    p_effective_from timestamptz default null, p_components jsonb default '{}', p_tenant_id uuid default null)
    returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
    v_wrong text := case
        when p_model_provider is null or length(p_model_provider) not between 1 and 200 then
            'p_model_provider must have 1 to 200 characters'
        when p_model_name is null or length(p_model_name) not between 1 and 200 then
            'p_model_name must have 1 to 200 characters'
        when p_input_per_million_usd < 0 or p_input_per_million_usd > 1000000000 then
            'p_input_per_million_usd must be between 0 and 1000000000, or NULL when unknown'
        when p_output_per_million_usd < 0 or p_output_per_million_usd > 1000000000 then
            'p_output_per_million_usd must be between 0 and 1000000000, or NULL when unknown'
        when p_components is null or jsonb_typeof(p_components) <> 'object' then 'p_components must be a JSON object'
        when not isfinite(p_effective_from) then 'p_effective_from must be finite'
        when p_tenant_id = '00000000-0000-0000-0000-000000000000' then 'the nil UUID names nobody'
    end;
begin
    v_wrong := coalesce(v_wrong, copilot_internal.price_problem(p_input_per_million_usd, p_output_per_million_usd,
        p_components));
    if v_wrong is not null then
        raise exception '%', v_wrong using errcode = 'invalid_parameter_value';
    end if;
    insert into copilot_internal.model_pricing as p
        (model_provider, model_name, input_per_million_usd, output_per_million_usd, components, effective_from,
         tenant_id)
    values (p_model_provider, p_model_name, p_input_per_million_usd, p_output_per_million_usd, p_components,
        coalesce(p_effective_from, clock_timestamp()), p_tenant_id)
    on conflict (model_provider, model_name, tenant_id, list_name, effective_from) do update
        set input_per_million_usd = excluded.input_per_million_usd,
            output_per_million_usd = excluded.output_per_million_usd, components = excluded.components
    returning p.id into v_id;
    return v_id;
end $$;
comment on function public.set_model_price(text, text, numeric, numeric, timestamptz, jsonb, uuid) is
    'Adds a model''s price from a moment on (default now), in USD per million tokens; NULL is unknown, 0 is free. '
    'p_components as in model_pricing. The same moment again corrects the row.';

create function public.set_sandbox_price(
    p_provider text, p_sandbox_type text, p_components jsonb, p_effective_from timestamptz default null,
    p_region text default null, p_tenant_id uuid default null)
    returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_known constant text[] := array['per_second_usd', 'vcpu_second_usd', 'memory_gib_second_usd',
        'disk_gib_second_usd', 'gpu_second_usd', 'creation_usd', 'egress_gib_usd'];
    v_prices jsonb := '{}';
    v_name text;
    v_price jsonb;
    v_id uuid;
    v_wrong text := case
        when p_provider is null or length(p_provider) not between 1 and 200 then 'p_provider must have 1 to 200 '
            'characters'
        when p_sandbox_type is null or length(p_sandbox_type) not between 1 and 200 then
            'p_sandbox_type must have 1 to 200 characters'
        when length(p_region) not between 1 and 200 then 'p_region must have 1 to 200 characters, or be NULL for all'
        when p_components is null or jsonb_typeof(p_components) <> 'object' or p_components = '{}' then
            'p_components must be a JSON object of prices'
        when not isfinite(p_effective_from) then 'p_effective_from must be finite'
        when p_tenant_id = '00000000-0000-0000-0000-000000000000' then 'the nil UUID names nobody'
    end;
begin
    if v_wrong is null then
        for v_name, v_price in select c.key, c.value from jsonb_each(p_components) c order by c.key loop
            v_wrong := case
                when not (v_name = any (v_known) or v_name || '_usd' = any (v_known)) then
                    format('unknown sandbox price "%s": there are per_second, vcpu_second, memory_gib_second, '
                        'disk_gib_second, gpu_second, creation and egress_gib', left(v_name, 60))
                when v_prices ? (regexp_replace(v_name, '_usd$', '') || '_usd') then format('%s is given twice', v_name)
                when jsonb_typeof(v_price) <> 'number' then format('%s must be a number', v_name)
                when v_price::numeric < 0 or v_price::numeric > 1000 then
                    format('%s must be between 0 and 1000', v_name)
                when scale(v_price::numeric) > 18 then format('%s has more than 18 decimals', v_name)
            end;
            exit when v_wrong is not null;
            v_prices := v_prices || jsonb_build_object(regexp_replace(v_name, '_usd$', '') || '_usd', v_price);
        end loop;
    end if;
    if v_wrong is not null then
        raise exception '%', v_wrong using errcode = 'invalid_parameter_value';
    end if;
    insert into copilot_internal.e2b_pricing as p
        (provider, sandbox_type, region, tenant_id, effective_from, per_second_usd, vcpu_second_usd,
         memory_gib_second_usd, disk_gib_second_usd, gpu_second_usd, creation_usd, egress_gib_usd)
    values (p_provider, p_sandbox_type, p_region, p_tenant_id, coalesce(p_effective_from, clock_timestamp()),
        (v_prices -> 'per_second_usd')::numeric, (v_prices -> 'vcpu_second_usd')::numeric,
        (v_prices -> 'memory_gib_second_usd')::numeric, (v_prices -> 'disk_gib_second_usd')::numeric,
        (v_prices -> 'gpu_second_usd')::numeric, (v_prices -> 'creation_usd')::numeric,
        (v_prices -> 'egress_gib_usd')::numeric)
    on conflict (provider, sandbox_type, region, tenant_id, effective_from) do update
        set per_second_usd = excluded.per_second_usd, vcpu_second_usd = excluded.vcpu_second_usd,
            memory_gib_second_usd = excluded.memory_gib_second_usd, disk_gib_second_usd = excluded.disk_gib_second_usd,
            gpu_second_usd = excluded.gpu_second_usd, creation_usd = excluded.creation_usd,
            egress_gib_usd = excluded.egress_gib_usd
    returning p.id into v_id;
    return v_id;
end $$;
comment on function public.set_sandbox_price(text, text, jsonb, timestamptz, text, uuid) is
    'Adds a sandbox type''s price from a moment on (default now); the same moment corrects it. p_components, USD: '
    'per_second, vcpu_second, memory_gib_second, disk_gib_second, gpu_second, creation, egress_gib. NULL is all '
    'regions, all tenants.';
