-- The same request id and content is the same operation: it is not charged again, and the answer is the first one with
-- the quota's present figures. Other content is 23505. A refusal is not remembered.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set user b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select set_quota('tenant', :'tenant', 'all', 10, 'lifetime') is not null as made;

-- record_llm_cost -----------------------------------------------------------------------------------------------------
select cost_record_id as id, cost_usd, remaining_usd, replayed
from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1', p_enforce => true) \gset first_
\echo :first_cost_usd :first_remaining_usd :first_replayed
select recorded from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_cost_usd => 1);
select recorded, cost_record_id = :'first_id' as same_record, cost_usd, cost_status, remaining_usd, overrun_usd, replayed
from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1', p_enforce => true);
-- Trace, span, metadata, enforcement and times that were defaulted are no content.
select cost_record_id = :'first_id' as same_record, replayed
from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1',
    p_trace_id => 't', p_span_id => 's', p_metadata => '{"try": 2}');
-- Everything else is.
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1001, 100, :'user', p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 101, :'user', p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o-mini', 1000, 100, :'user', p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'azure', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1', p_cost_usd => 0.0035);
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1', p_service_tier => 'batch');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1', p_usage => '{"cache_read_input_tokens": 1}');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', :'user', p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_path_id => :'user', p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_task => 'plan', p_request_id => 'r1');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, :'user', p_request_id => 'r1', p_occurred_at => '2024-01-01Z');
-- Another tenant's r1 is another request, and so is r1 of another function.
select recorded, replayed from record_llm_cost(:'other', 'openai', 'gpt-4o', 1001, 100, p_request_id => 'r1');
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.5, p_request_id => 'r1');
select recorded, replayed from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_request_id => 'r1');

-- record_e2b_cost: 60 × 0.00003025 = 0.001815 ---------------------------------------------------------------------------------
select recorded, cost_usd, replayed from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_request_id => 'r1');
select recorded, cost_usd, replayed from record_e2b_cost(:'tenant', 'box', 'standard', 60.0, p_request_id => 'r1', p_metadata => '{"try": 2}');
select * from record_e2b_cost(:'tenant', 'box', 'standard', 61, p_request_id => 'r1');
select * from record_e2b_cost(:'tenant', 'box2', 'standard', 60, p_request_id => 'r1');
select * from record_e2b_cost(:'tenant', 'box', 'gpu', 60, p_request_id => 'r1');
select * from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_region => 'eu', p_request_id => 'r1');
select * from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_vcpu_seconds => 60, p_request_id => 'r1');
select * from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_cost_usd => 0.006, p_request_id => 'r1');

-- check_and_record_quota_atomic -----------------------------------------------------------------------------------------
select allowed, current_spend_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.5, p_request_id => 'r1');
select * from check_and_record_quota_atomic('tenant', :'tenant', 0.6, p_request_id => 'r1');
select * from check_and_record_quota_atomic('tenant', :'tenant', 0.5, 'e2b', p_request_id => 'r1');
select * from check_and_record_quota_atomic('user', :'user', 0.5, p_tenant_id => :'tenant', p_request_id => 'r1');
-- The platform has request ids of its own.
select allowed from check_and_record_quota_atomic('platform', null, 0.25, p_request_id => 'r1');
select allowed from check_and_record_quota_atomic('platform', null, 0.25, p_request_id => 'r1');
select * from check_and_record_quota_atomic('platform', null, 0.26, p_request_id => 'r1');

-- A refusal is not remembered: 0.0035 + 1 + 0.5 + 0.001815 = 1.505315 are spent, 9 do not fit until there is room. ----------
select recorded, quota_status, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 9, p_request_id => 'r2', p_enforce => true);
select set_quota('tenant', :'tenant', 'all', 11, 'lifetime') is not null as made;
select recorded, remaining_usd, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 9, p_request_id => 'r2', p_enforce => true);
-- A request that was charged is never told "refused" later, whatever the quota says by now.
select set_quota('tenant', :'tenant', 'all', 0, 'lifetime') is not null as made;
select recorded, quota_status, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 9, p_request_id => 'r2', p_enforce => true);
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.5, p_request_id => 'r1');

-- The conflict says so.
\set VERBOSITY terse
select * from check_and_record_quota_atomic('platform', null, 0.26, p_request_id => 'r1');
\set VERBOSITY sqlstate
select count(*), count(request_id) from copilot_internal.llm_cost_records where tenant_id = :'tenant';
select count(*) from copilot_internal.e2b_cost_records;
select tenant_id is null as platform, cost_usd from copilot_internal.quota_charges order by 1;
-- An empty request id is a mistake, and a very long one too.
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_request_id => '');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_request_id => repeat('r', 501));
select replayed from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_request_id => repeat('r', 500));
