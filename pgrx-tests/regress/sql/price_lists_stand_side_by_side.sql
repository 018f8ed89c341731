-- A list has a name: another stands beside LiteLLM's with its own history and guards. Aliases, further names and details are
-- part of an entry.
\set VERBOSITY terse
set role service_role;
create function pg_temp.import(p_list jsonb, p_from timestamptz, p_name text default 'litellm')
    returns table (inserted bigint, changed bigint, unchanged bigint, missing bigint, skipped bigint, aliases bigint, details_changed bigint, skipped_because jsonb, further_names bigint)
    language sql as $$
    select i.inserted, i.changed, i.unchanged, i.missing, i.skipped, i.aliases, i.details_changed, i.skipped_because, i.further_names
    from copilot_internal.import_model_pricing(p_list, 'test', p_from, p_list => p_name) i $$;
-- A first import may begin at any moment, a later one may not begin before all time.
select * from pg_temp.import('{
    "m-1": {"litellm_provider": "acme", "input_cost_per_token": 1e-6, "mode": "chat", "max_output_tokens": 100, "aliases": ["m", "m-old"]},
    "m-2": {"litellm_provider": "acme", "input_cost_per_token": 2e-6},
    "m-latest": {"alias_of": "m-2"}, "m-gone": {"alias_of": "m-0"}, "m-self": {"alias_of": "m-self"},
    "sample_spec": {"litellm_provider": "x"}, "rules": {"a": 1}}', '-infinity');
select * from pg_temp.import('{"m-2": {"litellm_provider": "acme", "input_cost_per_token": 2e-6}}', '-infinity');
select copilot_internal.export_model_pricing();
select m.name, e.estimated_cost_usd, e.basis
from (values (1, 'm'), (2, 'm-old'), (3, 'm-latest'), (4, 'm-gone')) as m (place, name), lateral estimate_llm_cost('acme', m.name, 1000000, 0) e
order by m.place;
-- What has happened long ago has a price as well.
select cost_usd from record_llm_cost('a0000000-0000-4000-8000-000000000001', 'acme', 'm-1', 1000000, 0, p_occurred_at => '2010-01-01Z');
-- Another list: nothing of the first is missing for it.
select * from pg_temp.import('{
    "openai/m": {"litellm_provider": "openrouter", "input_cost_per_token": 5e-6},
    "m-2": {"litellm_provider": "acme", "input_cost_per_token": 9e-6}}', '2026-01-01Z', 'openrouter');
select copilot_internal.export_model_pricing(p_list => 'openrouter'), copilot_internal.export_model_pricing() ? 'openai/m' as in_litellm;
-- It goes before LiteLLM's where both have a model; its keys name no model of a caller without a provider.
select m.provider, m.name, e.estimated_cost_usd, e.basis
from (values (1, 'openrouter', 'openai/m'), (2, 'acme', 'm-2'), (3, 'unknown', 'openai/m'), (4, 'unknown', 'm-1')) as m (place, provider, name),
    lateral estimate_llm_cost(m.provider, m.name, 1000000, 0) e
order by m.place;
-- The target of an alias moves on, and what is said of a model changes: both have history.
select * from pg_temp.import('{
    "m-1": {"litellm_provider": "acme", "input_cost_per_token": 1e-6, "mode": "chat", "max_output_tokens": 200, "aliases": ["m"]},
    "m-2": {"litellm_provider": "acme", "input_cost_per_token": 2e-6}, "m-3": {"litellm_provider": "acme", "input_cost_per_token": 3e-6},
    "m-latest": {"alias_of": "m-3"}}', '2026-02-01Z');
select p.list_key, p.input_per_million_usd, p.details, p.entry, p.named_by, p.effective_from, p.effective_to, p.missing_since
from copilot_internal.model_pricing p where p.list_name = 'litellm' order by p.list_key, p.effective_from;
select copilot_internal.export_model_pricing('2026-01-31Z') -> 'm-latest' as before, copilot_internal.export_model_pricing('2026-02-01Z') -> 'm-latest' as after;
select copilot_internal.export_model_pricing('2026-01-31Z') #> '{m-1,max_output_tokens}' as before, copilot_internal.export_model_pricing('2026-02-01Z') #> '{m-1,max_output_tokens}' as after;
-- The same moment again corrects.
select * from pg_temp.import('{
    "m-1": {"litellm_provider": "acme", "input_cost_per_token": 1e-6, "mode": "chat", "max_output_tokens": 300, "aliases": ["m"]},
    "m-2": {"litellm_provider": "acme", "input_cost_per_token": 2e-6}, "m-3": {"litellm_provider": "acme", "input_cost_per_token": 4e-6},
    "m-latest": {"alias_of": "m-3"}}', '2026-02-01Z');
select count(*), count(*) filter (where effective_from = '2026-02-01Z') as since from copilot_internal.model_pricing where list_name = 'litellm';
-- A guard looks at its own list.
select problem from copilot_internal.import_model_pricing((
    select jsonb_object_agg('n-' || i, '{"litellm_provider": "acme", "input_cost_per_token": 1}'::jsonb) from generate_series(1, 10) i), 'test', '2026-01-01Z', p_list => 'ours');
select problem from copilot_internal.import_model_pricing('{"n-1": {"litellm_provider": "acme"}}', 'test', '2026-02-01Z', true, p_list => 'ours');
select problem from copilot_internal.import_model_pricing('{"n-1": {"litellm_provider": "acme"}}', 'test', '2026-02-01Z', true, p_list => 'theirs');
select copilot_internal.import_model_pricing('{"n-1": {"litellm_provider": "acme"}}', 'test', '2026-02-01Z', p_list => '');
select copilot_internal.import_model_pricing('{"n-1": {"litellm_provider": "acme"}}', 'test', 'infinity');
