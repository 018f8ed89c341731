-- A file in which many prices jump or vanish is more likely broken than true.
set role service_role;
\set VERBOSITY default
create function pg_temp.list(p_models integer, p_factor numeric, p_zero integer default 0) returns jsonb language sql as $$
    select jsonb_object_agg('m' || g, jsonb_build_object('litellm_provider', 'acme', 'input_cost_per_token',
        case when g <= p_zero then 0 else 0.000001 * p_factor end))
    from generate_series(1, p_models) g
$$;
select inserted from copilot_internal.import_model_pricing(pg_temp.list(40, 1), 'first', '2026-01-01Z');
-- Fivefold is a change, more is a jump; 4 in 40 may vanish, not 5.
select changed, problem from copilot_internal.import_model_pricing(pg_temp.list(40, 5), 'next', '2026-02-01Z', p_dry_run => true);
select changed, problem from copilot_internal.import_model_pricing(pg_temp.list(40, 5.1), 'next', '2026-02-01Z', p_dry_run => true);
select changed, problem from copilot_internal.import_model_pricing(pg_temp.list(40, 0.19), 'next', '2026-02-01Z', p_dry_run => true);
select changed, problem from copilot_internal.import_model_pricing(pg_temp.list(40, 1, 4), 'next', '2026-02-01Z', p_dry_run => true);
select changed, problem from copilot_internal.import_model_pricing(pg_temp.list(40, 1, 5), 'next', '2026-02-01Z', p_dry_run => true);
select missing, problem from copilot_internal.import_model_pricing(pg_temp.list(36, 1), 'next', '2026-02-01Z', p_dry_run => true);
select missing, problem from copilot_internal.import_model_pricing(pg_temp.list(35, 1), 'next', '2026-02-01Z', p_dry_run => true);
select * from copilot_internal.import_model_pricing(pg_temp.list(40, 5.1), 'next', '2026-02-01Z');
select count(*), count(*) filter (where source = 'first') as first from copilot_internal.model_pricing;
select changed, problem from copilot_internal.import_model_pricing(pg_temp.list(40, 5.1), 'next', '2026-02-01Z', p_force => true);
