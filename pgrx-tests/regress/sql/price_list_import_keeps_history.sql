-- A file brings the imported prices up to date: a change closes a range and opens another, what is gone is marked and
-- keeps its price, and what is not known is kept and counted.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set timezone = 'UTC';
set datestyle = 'ISO';
set role service_role;
\set january '{"sample_spec": {"mode": "chat"}, "acme/a": {"litellm_provider": "acme", "mode": "chat", "max_output_tokens": 50, "input_cost_per_token": 1e-6, "output_cost_per_token": 1.3e-10, "input_cost_per_token_batches": 0}, "acme/b": {"litellm_provider": "acme", "input_cost_per_token": 2e-6, "cost_per_thought": 7}}'
\set february '{"acme/a": {"litellm_provider": "acme", "mode": "chat", "max_output_tokens": 60, "input_cost_per_token": 3e-6, "output_cost_per_token": 1.3e-10, "input_cost_per_token_batches": 0}, "acme/c": {"litellm_provider": "acme", "input_cost_per_token": 4e-6}}'
-- A dry run tells and changes nothing.
select * from copilot_internal.import_model_pricing(:'january', 'january', '2026-01-01Z', p_dry_run => true);
select count(*) from copilot_internal.model_pricing;
select * from copilot_internal.import_model_pricing(:'january', 'january', '2026-01-01Z');
select * from copilot_internal.import_model_pricing(:'january', 'january', '2026-01-15Z');
select * from copilot_internal.import_model_pricing(:'february', 'february', '2026-02-01Z');
select list_key, model_name, source, input_per_million_usd as input, output_per_million_usd as output, effective_from, effective_to, missing_since
from copilot_internal.model_pricing order by list_key, effective_from;
-- Every value is there, at every moment.
select copilot_internal.export_model_pricing('2026-01-20Z') = :'january'::jsonb - 'sample_spec' as january,
       copilot_internal.export_model_pricing() = :'february'::jsonb as february;
-- The price of the day counts: 1,000,000 × 0.000001 and × 0.000003; one that is gone from the list still has its price.
select o.at, r.cost_usd, r.cost_status
from unnest(array['2025-12-31Z', '2026-01-31 23:59:59Z', '2026-02-01Z']::timestamptz[]) as o (at),
     lateral record_llm_cost(:'tenant', 'acme', 'a', 1000000, 0, p_occurred_at => o.at) r order by o.at;
select cost_usd from record_llm_cost(:'tenant', 'acme', 'b', 1000000, 0);
-- Without a count of the answer it is as long as the list says: 60 × 1.3e-10.
select * from estimate_llm_cost('acme', 'a', 0, null);
select * from estimate_llm_cost('acme', 'c', 0, null);
-- What returns is no longer missing; a later change closes the range again.
select inserted, changed, unchanged, missing from copilot_internal.import_model_pricing(:'january', 'march', '2026-03-01Z');
select list_key, input_per_million_usd as input, effective_from, effective_to, missing_since
from copilot_internal.model_pricing order by list_key, effective_from;
-- The operator's own price goes before the list's, whatever month it is from.
select set_model_price('acme', 'a', 9, 9, '2020-01-01Z') is not null as made;
select cost_record_id as id from record_llm_cost(:'tenant', 'acme', 'a', 1000000, 0)
\gset
select cost_usd, pricing ->> 'source' as source from copilot_internal.llm_cost_records where id = :'id';
-- The past is not written anew, and ranges cannot overlap.
select * from copilot_internal.import_model_pricing(:'february', 'late', '2026-02-15Z');
insert into copilot_internal.model_pricing (imported, source, list_name, list_key, model_provider, model_name, input_per_million_usd, effective_from)
values (true, 'by hand', 'litellm', 'acme/a', 'acme', 'a', 1, '2026-01-10Z');
-- The same moment corrects.
select inserted, changed, unchanged, missing from copilot_internal.import_model_pricing(:'february', 'corrected', '2026-03-01Z');
select list_key, input_per_million_usd as input, source from copilot_internal.model_pricing where effective_from = '2026-03-01Z' and imported;
set role authenticated;
select * from copilot_internal.import_model_pricing('{}', 'mine');
