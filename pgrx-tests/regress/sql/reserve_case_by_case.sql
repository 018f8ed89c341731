-- The life of a hold, case by case.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
set role service_role;
insert into copilot_internal.tenants (id, name) values ('a0000000-0000-4000-8000-000000000001', 'Acme');
select set_quota('tenant', :'tenant', 'llm', 10) is not null as made;
create temp view standing as
    select current_spend_usd as spent, reserved_usd as held, remaining_usd as remaining from metrics.quota_status where tenant_id = :'tenant' and resource_type = 'llm';

-- Committed at less: the rest is free at once.
select allowed, reserved_usd, status, limit_usd, current_spend_usd, remaining_usd, replayed, retryable from reserve_quota(:'tenant', 'llm', 6, 'r1');
select reservation_id as id from reserve_quota(:'tenant', 'llm', 6, 'r1') \gset
table standing;
select * from commit_reservation(:'id', 2.5);
table standing;
-- Again: the first answer. At another cost: an error. Released: an error.
select * from commit_reservation(:'id', 2.5);
select * from commit_reservation(:'id', 2.4);
select * from release_reservation(:'id');
select * from extend_reservation(:'id', '1 hour');
-- Reserved again, though it is resolved: the first answer, with the figures of now. Anything else: an error.
select allowed, reserved_usd, status, current_spend_usd, remaining_usd, replayed from reserve_quota(:'tenant', 'llm', 6, 'r1');
\set VERBOSITY terse
select * from reserve_quota(:'tenant', 'llm', 5, 'r1');
select * from reserve_quota(:'tenant', 'llm', 6, 'r1', p_user_id => :'user');
select * from reserve_quota(:'tenant', 'llm', 6, 'r1', p_ttl => '1 hour');
select * from reserve_quota(:'tenant', 'e2b', 6, 'r1');
\set VERBOSITY default

-- No room: nothing is held, and the same request may be tried again. Holds alone are in the way: retryable.
select reservation_id as id from reserve_quota(:'tenant', 'llm', 7, 'r2') \gset
select allowed, reservation_id, reserved_usd, status, blocked_scope, blocked_resource_type, remaining_usd, retry_after_seconds > 0 as waits, reason, retryable
from reserve_quota(:'tenant', 'llm', 1, 'r3');
select allowed, retryable from reserve_quota(:'tenant', 'llm', 8, 'r3');
-- Released: free at once. Again: the first answer. Committed after that: an error.
select * from release_reservation(:'id', 'not needed');
select * from release_reservation(:'id');
select * from commit_reservation(:'id', 1);
select allowed, replayed from reserve_quota(:'tenant', 'llm', 1, 'r3');

-- Committed at more: all of it is charged, and told. With reject it is not, and the hold stays.
select reservation_id as id from reserve_quota(:'tenant', 'llm', 1, 'r4') \gset
select * from commit_reservation(:'id', 8, 'reject');
select * from commit_reservation(:'id', 1, 'perhaps');
table standing;
select * from commit_reservation(:'id', 8);
table standing;
select allowed, status from reserve_quota(:'tenant', 'llm', 0, 'r5');

-- Expired: counted by nobody. What it cost is charged, late. Released it is expired. Extended it is admitted again in full.
select set_quota('tenant', :'tenant', 'llm', 20) is not null as raised;
select reservation_id as late from reserve_quota(:'tenant', 'llm', 2, 'r6', p_ttl => '4 seconds') \gset
select reservation_id as gone from reserve_quota(:'tenant', 'llm', 2, 'r7', p_ttl => '4 seconds') \gset
select reservation_id as again from reserve_quota(:'tenant', 'llm', 2, 'r8', p_ttl => '4 seconds') \gset
select reservation_id as refused from reserve_quota(:'tenant', 'llm', 2, 'r9', p_ttl => '4 seconds') \gset
table standing;
select pg_sleep(4.1);
table standing;
select * from commit_reservation(:'late', 1);
select * from commit_reservation(:'late', 1);
select * from release_reservation(:'gone');
select * from release_reservation(:'gone');
select allowed, reserved_usd, expires_at > clock_timestamp() as lives, status from extend_reservation(:'again', p_additional_usd => 0.5);
table standing;
select allowed, reserved_usd, status, reason from extend_reservation(:'refused', p_additional_usd => 10);
select task, done from copilot_internal.maintain() where task = 'expire';
select state, late, released_usd from copilot_internal.quota_reservations order by request_id;
-- Marked as expired it can still be committed.
select status, late from commit_reservation(:'refused', 0.25);

-- Extended: never shorter, more money where it fits; the same request again gives the first answer.
select allowed, reserved_usd from extend_reservation(:'again', '1 hour', 0.5, 'e1');
select allowed, reserved_usd, replayed from extend_reservation(:'again', '1 hour', 0.5, 'e1');
select * from extend_reservation(:'again', '1 hour', 0.6, 'e1');
select expires_at > clock_timestamp() + interval '50 minutes' as long from extend_reservation(:'again', '1 second');
select allowed, reserved_usd, status, retryable from extend_reservation(:'again', p_additional_usd => 100);
select * from extend_reservation(:'again');

-- Priced and committed by a record: charged to the moment of the reservation; the same request again replays.
select recorded, cost_usd, cost_status, overrun_usd, replayed from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_request_id => 'c1', p_reservation_id => :'again');
select recorded, cost_usd, replayed from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_request_id => 'c1', p_reservation_id => :'again');
select recorded, cost_usd, reason, replayed from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_request_id => 'c2', p_reservation_id => :'again');
select r.charged_at = h.reserved_at as at_its_moment, h.state, h.charged_usd, h.released_usd
from copilot_internal.llm_cost_records r join copilot_internal.quota_reservations h on h.id = r.reservation_id;
-- A model without a price costs what was reserved, and p_enforce is not asked again.
select reservation_id as id from reserve_quota(:'tenant', 'llm', 0.75, 'r10', :'user') \gset
select recorded, cost_usd, cost_status, reason from record_llm_cost(:'tenant', 'nobody', 'knows', 1, 1, p_reservation_id => :'id', p_enforce => true);
select user_id = :'user' as of_its_user, pricing is not null as told from copilot_internal.llm_cost_records where model_provider = 'nobody';
-- Of another resource, user or tenant: refused.
select reservation_id as id from reserve_quota(:'tenant', 'llm', 0.75, 'r11', :'user') \gset
select * from record_e2b_cost(:'tenant', 's', 'standard', 1, p_reservation_id => :'id');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, :'tenant', p_reservation_id => :'id');
select * from record_llm_cost(:'user', 'openai', 'gpt-4o', 1, 1, p_reservation_id => :'id');
select * from commit_reservation(:'id', 1, p_tenant_id => :'user');
select * from release_reservation(:'user');
-- In a batch, too.
select ordinal, recorded, cost_usd from record_llm_costs(jsonb_build_array(jsonb_build_object('tenant_id', :'tenant', 'model_provider', 'openai',
    'model_name', 'gpt-4o', 'input_tokens', 1000, 'output_tokens', 100, 'reservation_id', :'id')));

-- Bad input.
select * from reserve_quota(:'tenant', 'llm', -1, 'x');
select * from reserve_quota(:'tenant', 'llm', null, 'x');
select * from reserve_quota(:'tenant', 'llm', 1, null);
select * from reserve_quota(:'tenant', 'all', 1, 'x');
select * from reserve_quota(:'tenant', 'llm', 1, 'x', p_ttl => '0.9 seconds');
select * from reserve_quota(:'tenant', 'llm', 1, 'x', p_ttl => '8 days 1 microsecond');
select * from reserve_quota(:'tenant', 'llm', 1, 'x', p_ttl => null);
select * from commit_reservation(:'id', null);
select * from commit_reservation(null, 1);
select * from copilot_internal.verify();
table standing;
-- A denial is told to the outbox when the caller asks for it.
select allowed from reserve_quota(:'tenant', 'llm', 1000, 'denied', p_log_denial => true);
select event_type, tenant_id = :'tenant' as of_the_tenant from claim_quota_events() where event_type = 'denied';
