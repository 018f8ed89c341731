// Compiled, never run: what must compile, and what must not.

import type { SupabaseClient } from '@supabase/supabase-js'
import type { Database as Generated } from '../database.types.ts'
import type { Tollgate } from '../supabase.ts'

declare const tollgate: Tollgate
declare const generated: SupabaseClient<Generated>
declare const tenant: string

/** The calls that the documents give. With the generated types alone, four of them do not compile. */
export async function documented() {
  const metered = { p_scope: 'tenant', p_scope_id: tenant, p_resource_type: 'llm', p_limit_usd: null } as const
  await tollgate.rpc('set_quota', metered)
  // @ts-expect-error
  await generated.rpc('set_quota', metered)

  const platform = { p_scope: 'platform', p_scope_id: null, p_resource_type: 'llm', p_limit_usd: 10 } as const
  await tollgate.rpc('set_quota', platform)
  // @ts-expect-error
  await generated.rpc('set_quota', platform)

  const estimate = { p_model_provider: 'openai', p_model_name: 'gpt-4o', p_input_tokens: 1, p_output_tokens: null }
  await tollgate.rpc('estimate_llm_cost', estimate)
  // @ts-expect-error
  await generated.rpc('estimate_llm_cost', estimate)

  const exact = {
    p_tenant_id: tenant, p_model_provider: 'openai', p_model_name: 'gpt-4o', p_input_tokens: 1, p_output_tokens: 1,
    p_cost_usd: '0.000000000001',
  }
  await tollgate.rpc('record_llm_cost', exact)
  // @ts-expect-error
  await generated.rpc('record_llm_cost', exact)

  await tollgate.schema('metrics').from('llm_costs').select('total_cost')
  // @ts-expect-error
  await tollgate.from('llm_costs').select('total_cost')
}

/** What would fail at run time does not compile. */
export async function mistakes() {
  const call = {
    p_tenant_id: tenant, p_model_provider: 'openai', p_model_name: 'gpt-4o', p_input_tokens: 1, p_output_tokens: 1,
  }
  const { data: record } = await tollgate.rpc('record_llm_cost', call).single()
  if (!record) return
  // @ts-expect-error: null for a call without a price
  record.cost_usd.toFixed(4)
  record.cost_usd?.toFixed(4)
  // @ts-expect-error
  record.quota_status === 'EXCEDED'
  record.quota_status === 'EXCEEDED'
  // @ts-expect-error
  record.cost_status === 'OK'
  record.overrun_usd.toFixed(4)
  // With the generated types it compiles, and crashes.
  const { data: unsafe } = await generated.rpc('record_llm_cost', call).single()
  unsafe?.cost_usd.toFixed(4)

  const { data: released } = await tollgate.rpc('release_reservation', { p_reservation_id: tenant }).single()
  // @ts-expect-error
  released!.status === 'OK'
  released!.status === 'expired'

  const { data: current } = await tollgate.rpc('get_current_tenant_id')
  // @ts-expect-error: null for a user without a tenant
  exactly<string>(current)

  // @ts-expect-error
  await tollgate.rpc('set_quota', { p_scope: 'team', p_scope_id: tenant, p_resource_type: 'llm', p_limit_usd: 1 })

  const { data: quotas } = await tollgate.schema('metrics').from('quota_status').select()
  // @ts-expect-error
  quotas![0].status === 'FULL'
  quotas![0].status === 'SUSPENDED'
}

declare function exactly<T>(value: T): void
