// The limit is 0.01 USD a month; each call costs 0.0035.

import { dearest, recordOrRefuse, setLimits, spendByModel } from '../supabase.ts'
import { present } from '../tollgate.ts'
import { failure, key, server, tell, tenant, url } from './environment.ts'

const tollgate = server()
const usage = { prompt_tokens: 1000, completion_tokens: 100 }

for (const id of ['req-1', 'req-1', 'req-2']) {
  const response = await recordOrRefuse(tollgate, tenant, id, usage)
  tell(id, { status: response.status, ...(await response.json()) })
}
const refused = await recordOrRefuse(tollgate, tenant, 'req-3', usage)
tell('refused', { status: refused.status, wait: refused.headers.get('Retry-After'), reason: await refused.text() })
tell('reused id', await failed({ prompt_tokens: 1000, completion_tokens: 101 }))
tell('bad input', await failed({ prompt_tokens: -1, completion_tokens: 1 }))

// As `require_quota` answers any client.
const required = await fetch(`${url}/rest/v1/rpc/require_quota`, {
  method: 'POST', headers: { apikey: key, 'Content-Type': 'application/json' },
  body: JSON.stringify({ p_tenant_id: tenant, p_resource_type: 'llm', p_estimated_cost_usd: '0.0035' }),
})
const body = (await required.json()) as { code: string }
tell('required', { status: required.status, wait: required.headers.get('Retry-After'), code: body.code })

tell('dearest', { known: await dearest(tollgate, 'openai', 'gpt-4o', 1000), unknown: await dearest(tollgate, 'acme', 'm', 1) })
await setLimits(tollgate, tenant)
tell('spend', { models: await spendByModel(tollgate, tenant) })

// Whatever the answer: what is typed as present is.
const unpriced = {
  p_tenant_id: tenant, p_model_provider: 'acme', p_model_name: 'm', p_input_tokens: 1, p_output_tokens: 1,
}
const exact = { ...unpriced, p_cost_usd: '0.000000000001' }
const check = { p_tenant_id: tenant, p_resource_type: 'llm', p_estimated_cost_usd: '1000' } as const
const hold = { p_tenant_id: tenant, p_resource_type: 'llm', p_amount_usd: '1', p_request_id: 'hold' } as const
const { data: held } = await tollgate.rpc('reserve_quota', hold).single().throwOnError()
const p_reservation_id = held.reservation_id!
const answers = await Promise.all([
  tollgate.rpc('record_llm_cost', unpriced).throwOnError(),
  tollgate.rpc('record_llm_cost', { ...unpriced, p_enforce: true }).throwOnError(),
  tollgate.rpc('record_llm_cost', exact).throwOnError(),
  tollgate.rpc('record_e2b_cost', { p_tenant_id: tenant, p_sandbox_id: 's', p_sandbox_type: 'none', p_duration_seconds: 1 }).throwOnError(),
  tollgate.rpc('check_quota_before_operation', check).throwOnError(),
  tollgate.rpc('check_quota_before_operation', { ...check, p_tenant_id: crypto.randomUUID() }).throwOnError(),
  tollgate.rpc('reserve_quota', { ...hold, p_amount_usd: 1000, p_request_id: 'too much' }).throwOnError(),
  tollgate.rpc('extend_reservation', { p_reservation_id, p_additional_usd: '1000' }).throwOnError(),
  tollgate.rpc('check_and_record_quota_atomic', { p_scope: 'platform', p_scope_id: null, p_cost_usd: '0', p_resource_type: 'e2b' }).throwOnError(),
  tollgate.rpc('estimate_llm_cost', { p_model_provider: 'acme', p_model_name: 'm', p_input_tokens: 1, p_output_tokens: null }).throwOnError(),
  tollgate.rpc('get_tenant_cost_summary', { p_tenant_id: tenant }).throwOnError(),
])
answers.push(await tollgate.rpc('commit_reservation', { p_reservation_id, p_actual_cost_usd: 1000, p_overrun: 'reject' }).throwOnError() as never)
answers.push(await tollgate.rpc('release_reservation', { p_reservation_id }).throwOnError() as never)
const rows = answers.flatMap((answer) => answer.data as unknown as Record<string, unknown>[])
const absent = rows.flatMap((row) => present.filter((column) => column in row && row[column] === null))
const seen = present.filter((column) => rows.some((row) => column in row))
tell('present', { rows: rows.length, absent, unseen: present.filter((column) => !seen.includes(column)) })

async function failed(other: typeof usage) {
  const error = await failure(recordOrRefuse(tollgate, tenant, 'req-1', other))
  return { message: error.message }
}
