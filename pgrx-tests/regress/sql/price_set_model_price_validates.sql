-- A price that the engine could not use is refused with 22023 and changes nothing.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select set_model_price(null, 'm', 1, 1);
select set_model_price('', 'm', 1, 1);
select set_model_price('acme', null, 1, 1);
select set_model_price('acme', repeat('m', 201), 1, 1);
select set_model_price('acme', 'm', -1, 1);
select set_model_price('acme', 'm', 1, -1e-30);
select set_model_price('acme', 'm', 'NaN', 1);
select set_model_price('acme', 'm', 1, 'Infinity');
select set_model_price('acme', 'm', 1000000000.1, 1);
select set_model_price('acme', 'm', 1e131071, 1);
-- 18 decimals of a dollar per million are exact, 19 are not.
select set_model_price('acme', 'm', 1e-19, 1);
select set_model_price('acme', 'm', 1, 1, 'infinity');
select set_model_price('acme', 'm', 1, 1, '-infinity');
-- A component that is not known would be a price that is never charged.
select set_model_price('acme', 'm', 1, 1, p_components => null);
select set_model_price('acme', 'm', 1, 1, p_components => '[]');
select set_model_price('acme', 'm', 1, 1, p_components => '{"cache_read_cost": 1}');
select set_model_price('acme', 'm', 1, 1, p_components => '{"cache_read_input_token_cost": "1"}');
select set_model_price('acme', 'm', 1, 1, p_components => '{"cache_read_input_token_cost": -1}');
select set_model_price('acme', 'm', 1, 1, p_components => '{"cache_read_input_token_cost": 1e300}');
select set_model_price('acme', 'm', 1, 1, p_components => '{"cache_read_input_token_cost_above_0k_tokens": 1}');
-- What a token costs is said once.
select set_model_price('acme', 'm', 1, 1, p_components => '{"input_cost_per_token": 0.000001}');
select count(*) from copilot_internal.model_pricing;

\set VERBOSITY terse
select set_model_price('acme', 'm', 1, 1, p_components => '{"cache_read_cost": 1}');
select set_model_price('acme', 'm', 1, 1, p_components => '{"input_cost_per_token": 0.000001}');
\set VERBOSITY sqlstate

select set_model_price('acme', 'm', 1e-18, 1000000000, '2020-01-01Z', '{"cache_read_input_token_cost": null}') is not null as made;
select input_per_million_usd, output_per_million_usd, components from copilot_internal.model_pricing;
