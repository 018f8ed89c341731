-- The whole price list that people use, in and out.

create function copilot_internal.read_price_list(p_prices jsonb) returns jsonb
    language c volatile parallel safe as 'MODULE_PATHNAME', 'read_price_list_wrapper';
comment on function copilot_internal.read_price_list(jsonb) is
    'A price list in LiteLLM''s form as the rows that import_model_pricing stores, with counts. Raises 22023 in one '
    'sentence for what is none.';

create function copilot_internal.price_list(p_text text) returns jsonb
    language c volatile parallel safe as 'MODULE_PATHNAME', 'price_list_wrapper';
comment on function copilot_internal.price_list(text) is
    'The text of a price list as jsonb, read strictly. A key that an object has twice, of which jsonb would keep one '
    'without a word, is 22023. So is nesting beyond 32 levels or a size beyond 32 MB.';

-- Every scalar price of an entry by its key, for comparing two versions of it.
create function copilot_internal.price_values(
    p_input_per_million_usd numeric, p_output_per_million_usd numeric, p_components jsonb)
    returns table (key text, value numeric)
    language sql immutable parallel safe
begin atomic
    select 'input_cost_per_token', p_input_per_million_usd * 0.000001 where p_input_per_million_usd is not null
    union all
    select 'output_cost_per_token', p_output_per_million_usd * 0.000001 where p_output_per_million_usd is not null
    union all
    select c.key, (c.value #>> '{}')::numeric from pg_catalog.jsonb_each(p_components) c
    where pg_catalog.jsonb_typeof(c.value) = 'number';
end;
comment on function copilot_internal.price_values(numeric, numeric, jsonb) is
    'Every price of a row of model_pricing that is a single number, in USD for one, by its key in the list.';

create function copilot_internal.import_model_pricing(
    p_prices jsonb, p_source text, p_effective_from timestamptz default now(), p_dry_run boolean default false,
    p_force boolean default false, p_list text default 'litellm')
    returns table (inserted bigint, changed bigint, unchanged bigint, missing bigint, skipped bigint,
        price_values bigint, unknown_keys jsonb, problem text,
        aliases bigint, details_changed bigint, skipped_because jsonb, further_names bigint)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_list jsonb;
    v_changed text[];
    v_vanished text[];
    v_first boolean;
    v_late text;
    v_known bigint;
    v_lost bigint;
    v_jumped bigint;
begin
    problem := case
        when p_source is null or length(p_source) not between 1 and 200 then 'p_source must have 1 to 200 characters'
        when p_effective_from is null or p_effective_from = 'infinity' then 'p_effective_from must be a moment'
        when p_dry_run is null then 'p_dry_run must not be NULL'
        when p_force is null then 'p_force must not be NULL'
        when p_list is null or length(p_list) not between 1 and 200 or p_list ~ '[[:cntrl:]]' then
            'p_list must have 1 to 200 characters'
    end;
    if problem is not null then
        raise exception '%', problem using errcode = 'invalid_parameter_value';
    end if;
    v_list := copilot_internal.read_price_list(p_prices);
    if not p_dry_run then
        -- One import at a time, and no price of the operator's in the middle of it.
        lock table copilot_internal.model_pricing in share row exclusive mode;
    end if;
    v_first := not exists (select from copilot_internal.model_pricing p where p.list_name = p_list);
    if p_effective_from = '-infinity' and not v_first then
        raise exception 'p_effective_from may be -infinity in the first import of a list alone'
            using errcode = 'invalid_parameter_value';
    end if;

    with incoming as materialized (
        select r.* from jsonb_to_recordset(v_list -> 'rows')
            as r (list_key text, provider text, name text, input numeric, output numeric, components jsonb,
                  details jsonb, entry jsonb, named_by text)
    ), present as materialized (
        select * from copilot_internal.model_pricing p where p.list_name = p_list and p.effective_to is null
    ), compared as materialized (
        select i.list_key as incoming_key, p.list_key as present_key, p.effective_from, p.missing_since,
               coalesce(i.list_key, p.list_key) as key, coalesce(i.named_by, p.named_by) is null as is_entry,
               (i.provider, i.name, i.input * 1000000, i.output * 1000000, i.components) is distinct from
               (p.model_provider, p.model_name, p.input_per_million_usd, p.output_per_million_usd, p.components)
                   as differs,
               (i.details, i.entry, i.named_by) is distinct from (p.details, p.entry, p.named_by)
                   -- What is in force from a later moment on is not described anew from an earlier one.
                   and p.effective_from <= p_effective_from as described,
               i.input * 1000000 as new_input, i.output * 1000000 as new_output, i.components as new_components,
               p.input_per_million_usd, p.output_per_million_usd, p.components
        from incoming i
        full join present p on p.list_key = i.list_key
    ), paired as (
        select c.*, c.present_key is null as is_new, c.incoming_key is null as is_missing,
               c.present_key is not null and c.incoming_key is not null as is_kept
        from compared c
    )
    select count(*) filter (where c.is_new and c.is_entry),
           count(*) filter (where c.is_kept and c.differs and c.is_entry),
           count(*) filter (where c.is_kept and not c.differs and c.is_entry),
           count(*) filter (where c.is_kept and not c.differs and c.described and c.is_entry),
           count(*) filter (where c.is_missing and c.is_entry),
           count(*) filter (where not c.is_missing and not c.is_entry),
           coalesce(array_agg(c.key) filter (where c.is_kept and (c.differs or c.described)), '{}'),
           coalesce(array_agg(c.key) filter (where c.is_missing and c.missing_since is null), '{}'),
           count(*) filter (where c.is_missing and c.missing_since is null and c.is_entry),
           count(*) filter (where not c.is_new and c.missing_since is null and c.is_entry),
           min(c.key) filter (where c.is_kept and c.differs and c.effective_from > p_effective_from),
           count(*) filter (where j.jumped)
    into inserted, changed, unchanged, details_changed, missing, further_names, v_changed,
         v_vanished, v_lost, v_known, v_late, v_jumped
    from paired c
    left join lateral (
        select bool_or(n.value is null or (n.value = 0) <> (o.value = 0)
                   or n.value > 5 * o.value or o.value > 5 * n.value) as jumped
        from copilot_internal.price_values(c.input_per_million_usd, c.output_per_million_usd, c.components) o
        left join copilot_internal.price_values(c.new_input, c.new_output, c.new_components) n on n.key = o.key
        where c.differs
    ) j on c.is_kept and c.is_entry;

    aliases := (v_list ->> 'aliases')::bigint;
    skipped := (v_list ->> 'skipped')::bigint;
    skipped_because := v_list -> 'skipped_because';
    price_values := (v_list ->> 'price_values')::bigint;
    unknown_keys := v_list -> 'unknown';
    -- Few in number are never many.
    problem := case
        when v_late is not null then
            format('a later price of "%s" is in force already: p_effective_from must not be before it', v_late)
        when v_lost >= 5 and 10 * v_lost > v_known and not p_force then
            format('%s of %s models would vanish', v_lost, v_known)
        when v_jumped >= 5 and 20 * v_jumped > v_known and not p_force then
            format('prices of %s of %s models would go away, change more than fivefold, or become or cease to be 0',
                v_jumped, v_known)
    end;
    if p_dry_run then
        return next;
        return;
    end if;
    if problem is not null then
        raise exception '%', problem using errcode = 'invalid_parameter_value',
            hint = case when v_late is null then 'Look at the file; p_force => true imports it all the same.'
                        else 'Prices that have applied already stay as they are.' end;
    end if;

    update copilot_internal.model_pricing p set effective_to = p_effective_from
    where p.list_name = p_list and p.effective_to is null and p.list_key = any (v_changed)
      and p.effective_from < p_effective_from;
    with incoming as materialized (
        select r.* from jsonb_to_recordset(v_list -> 'rows')
            as r (list_key text, provider text, name text, input numeric, output numeric, components jsonb,
                  details jsonb, entry jsonb, named_by text)
    ), present as (
        -- What began at the same moment is corrected; what had been missing is there again.
        update copilot_internal.model_pricing p
        set model_provider = i.provider, model_name = i.name, input_per_million_usd = trim_scale(i.input * 1000000),
            output_per_million_usd = trim_scale(i.output * 1000000), components = i.components, details = i.details,
            entry = i.entry, named_by = i.named_by, missing_since = null,
            source = case when p.list_key = any (v_changed) then p_source else p.source end
        from incoming i
        where p.list_name = p_list and p.effective_to is null and p.list_key = i.list_key
          and (p.missing_since is not null or p.list_key = any (v_changed))
        returning p.list_key
    )
    insert into copilot_internal.model_pricing
        (model_provider, model_name, input_per_million_usd, output_per_million_usd, components, effective_from,
         imported, source, list_key, details, list_name, entry, named_by)
    select i.provider, i.name, trim_scale(i.input * 1000000), trim_scale(i.output * 1000000), i.components,
           p_effective_from, true, p_source, i.list_key, i.details, p_list, i.entry, i.named_by
    from incoming i
    where i.list_key not in (select c.list_key from present c)
      and not exists (
          select from copilot_internal.model_pricing p
          where p.list_name = p_list and p.list_key = i.list_key and p.effective_to is null);
    update copilot_internal.model_pricing p set missing_since = p_effective_from
    where p.list_name = p_list and p.effective_to is null and p.list_key = any (v_vanished);
    return next;
end $$;
comment on function copilot_internal.import_model_pricing(jsonb, text, timestamptz, boolean, boolean, text) is
    'Brings an imported list (p_list) up to date with a file in the form of LiteLLM''s. What changed has a new row '
    'from p_effective_from on; nothing is deleted. Returns how many entries fared how. p_dry_run only tells; p_force '
    'passes the guards.';

create function copilot_internal.export_model_pricing(p_at timestamptz default null, p_list text default 'litellm')
    returns jsonb
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(pg_catalog.jsonb_object_agg(p.list_key, coalesce(p.entry,
        p.details || p.components || pg_catalog.jsonb_build_object('litellm_provider', p.model_provider)
        || case when p.input_per_million_usd is null then '{}'::jsonb else pg_catalog.jsonb_build_object(
               'input_cost_per_token', pg_catalog.trim_scale(p.input_per_million_usd * 0.000001)) end
        || case when p.output_per_million_usd is null then '{}'::jsonb else pg_catalog.jsonb_build_object(
               'output_cost_per_token', pg_catalog.trim_scale(p.output_per_million_usd * 0.000001)) end)), '{}')
    from copilot_internal.model_pricing p
    where p.list_name = p_list and p.named_by is null
      and p.effective_from <= coalesce(p_at, pg_catalog.clock_timestamp())
      and (p.effective_to is null or p.effective_to > coalesce(p_at, pg_catalog.clock_timestamp()))
      and (p.missing_since is null or p.missing_since > coalesce(p_at, pg_catalog.clock_timestamp()));
end;
comment on function copilot_internal.export_model_pricing(timestamptz, text) is
    'An imported list as it stood at a moment (default now), in the form in which it came: every value as it was.';
