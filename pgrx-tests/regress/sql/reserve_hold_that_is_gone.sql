-- What becomes of requests and costs whose hold is committed, released or expired.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set timezone = 'UTC';
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 10, 'lifetime') is not null as made;
create temp view standing as select current_spend_usd as spent, reserved_usd as held, remaining_usd as remaining from metrics.quota_status where tenant_id = :'tenant';
-- The same request: while it lives, the first answer.
select allowed, replayed, state, reservation_id as id from reserve_quota(:'tenant', 'llm', 6, 'r1') \gset
select allowed, replayed, state, reservation_id = :'id' as same from reserve_quota(:'tenant', 'llm', 6, 'r1');
-- Released, it is admitted again in full, under the same id; or refused. It is never allowed without a hold that lives.
select status from release_reservation(:'id');
table standing;
select allowed, replayed, state, reserved_usd, expires_at > clock_timestamp() + interval '9 minutes' as lives, reservation_id = :'id' as same from reserve_quota(:'tenant', 'llm', 6, 'r1');
table standing;
select allowed, replayed, state, reservation_id = :'id' as same from reserve_quota(:'tenant', 'llm', 6, 'r1');
select status from release_reservation(:'id');
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 5);
select allowed, status, replayed, state, reservation_id, blocked_scope, reason from reserve_quota(:'tenant', 'llm', 6, 'r1');
select * from reserve_quota(:'tenant', 'llm', 7, 'r1');
table standing;
-- Expired, marked or not.
select reservation_id as id from reserve_quota(:'tenant', 'llm', 2, 'r2', p_ttl => '3 seconds') \gset
select pg_sleep(3.1);
select allowed, replayed, state, reserved_usd, expires_at > clock_timestamp() as lives, reservation_id = :'id' as same from reserve_quota(:'tenant', 'llm', 2, 'r2', p_ttl => '3 seconds');
table standing;
select pg_sleep(3.1);
select done from copilot_internal.maintain() where task = 'expire';
select allowed, replayed, state, reservation_id = :'id' as same from reserve_quota(:'tenant', 'llm', 2, 'r2', p_ttl => '3 seconds');
-- Committed: the operation was done and charged.
select status, charged_usd from commit_reservation(:'id', 1.5);
select allowed, replayed, state, reservation_id = :'id' as same from reserve_quota(:'tenant', 'llm', 2, 'r2', p_ttl => '3 seconds');
table standing;

-- A cost on a hold that is gone was spent: it is recorded, and the reason says what the hold was.
select recorded, cost_usd, reason, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.1, p_request_id => 'c1', p_reservation_id => :'id', p_enforce => true);
select reservation_id as released from reserve_quota(:'tenant', 'llm', 0.5, 'r3', :'user') \gset
select status from release_reservation(:'released');
select recorded, cost_usd, reason, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.1, p_request_id => 'c2', p_reservation_id => :'released');
select reservation_id as expired from reserve_quota(:'tenant', 'llm', 0.5, 'r4', p_ttl => '1 second') \gset
select pg_sleep(1.1);
select recorded, cost_usd, reason, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.1, p_request_id => 'c3', p_reservation_id => :'expired');
select state, late, charged_usd from copilot_internal.quota_reservations where id in (:'released', :'expired') order by state;
-- Without a price it is unpriced, as after the fact.
select recorded, cost_usd, cost_status, reason from record_llm_cost(:'tenant', 'acme', 'unheard-of', 1, 1, p_request_id => 'c4', p_reservation_id => :'released');
-- The same again replays, also under a new hold, which is released.
select recorded, cost_usd, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.1, p_request_id => 'c2', p_reservation_id => :'released');
select reservation_id as new from reserve_quota(:'tenant', 'llm', 0.5, 'r5') \gset
table standing;
select recorded, cost_usd, replayed from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.1, p_request_id => 'c2', p_user_id => :'user', p_reservation_id => :'new');
select state, reason from copilot_internal.quota_reservations where id = :'new';
table standing;
-- Only commit_reservation is told no new cost.
select * from commit_reservation(:'released', 1);
select r.cost_usd, r.reservation_id is not null as settles, r.user_id = :'user' as of_its_user, r.request_id
from copilot_internal.llm_cost_records r where r.request_id like 'c_' order by r.request_id;
select * from copilot_internal.verify();
