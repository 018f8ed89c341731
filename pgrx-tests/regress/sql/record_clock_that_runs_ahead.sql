-- A moment that is a little in the future is taken as now: clocks differ.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set timezone = 'UTC';
set role service_role;
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'r', p_occurred_at => clock_timestamp() + interval '4 minutes 59 seconds');
select recorded from record_e2b_cost(:'tenant', 's', 'standard', 1, p_cost_usd => 1, p_occurred_at => clock_timestamp() + interval '1 second');
select count(*) from record_llm_costs(jsonb_build_array(
    jsonb_build_object('tenant_id', :'tenant', 'model_provider', 'acme', 'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 1),
    jsonb_build_object('tenant_id', :'tenant', 'model_provider', 'acme', 'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 1,
        'occurred_at', clock_timestamp() + interval '50 ms')));
select bool_and(occurred_at <= clock_timestamp() and charged_at = occurred_at and occurred_at = recorded_at) as now from copilot_internal.llm_cost_records;
-- A retry says the same moment, which is still ahead or has come; another moment is another request.
select occurred_at + interval '2 minutes' as ahead, occurred_at + interval '0.3 seconds' as soon, occurred_at - interval '1 second' as before
from copilot_internal.llm_cost_records where request_id = 'r' \gset
select recorded, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'r', p_occurred_at => :'ahead');
select pg_sleep(0.4);
select recorded, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'r', p_occurred_at => :'soon');
select recorded, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'r', p_occurred_at => :'before');
-- Later than that is a mistake.
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_occurred_at => clock_timestamp() + interval '5 minutes 10 seconds');
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_occurred_at => 'infinity');
set pg_tollgate.clock_skew = '1h';
reset role;
show pg_tollgate.clock_skew;
set pg_tollgate.clock_skew = '0';
set role service_role;
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_occurred_at => clock_timestamp() + interval '1 second');
reset role;
set pg_tollgate.clock_skew = '1h';
set role service_role;
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_occurred_at => clock_timestamp() + interval '50 minutes');
