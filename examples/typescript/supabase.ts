// supabase-js on your server. Keep the secret key there: it acts for every tenant.

import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import type { Database } from './tollgate.ts'

export type Tollgate = SupabaseClient<Database>

export function connect(url: string, secretKey: string, through = fetch): Tollgate {
  return createClient<Database>(url, secretKey, {
    auth: { persistSession: false, autoRefreshToken: false }, global: { fetch: through },
  })
}

/** Records a finished call that fits, or answers 429. A retry with the same request id returns the first result. */
export async function recordOrRefuse(
  tollgate: Tollgate, tenant: string, requestId: string, usage: { prompt_tokens: number; completion_tokens: number },
): Promise<Response> {
  const { data, error } = await tollgate
    .rpc('record_llm_cost', {
      p_tenant_id: tenant, p_model_provider: 'openai', p_model_name: 'gpt-4o',
      p_input_tokens: usage.prompt_tokens, p_output_tokens: usage.completion_tokens,
      p_request_id: requestId, p_enforce: true,
    })
    // Money as text: a JSON number is a double, and a column that is not named is not sent.
    .select('recorded, reason, retry_after_seconds, cost_usd::text, replayed')
    .single()
  if (error) throw new Error(`${error.code}: ${error.message}`) // bad input, or no permission
  if (!data.recorded) {
    const headers = data.retry_after_seconds === null ? undefined : { 'Retry-After': `${data.retry_after_seconds}` }
    return new Response(data.reason, { status: 429, headers })
  }
  return Response.json({ cost_usd: data.cost_usd, replayed: data.replayed })
}

/** Limits: one for a tenant, one that only meters, and one for the whole platform. Money may be text. */
export async function setLimits(tollgate: Tollgate, tenant: string) {
  const limits = [
    { p_scope: 'tenant', p_scope_id: tenant, p_resource_type: 'llm', p_limit_usd: '25.50' },
    { p_scope: 'tenant', p_scope_id: tenant, p_resource_type: 'e2b', p_limit_usd: null },
    { p_scope: 'platform', p_scope_id: null, p_resource_type: 'all', p_limit_usd: 10_000, p_period: 'day' },
  ] as const
  for (const limit of limits) {
    const { error } = await tollgate.rpc('set_quota', limit)
    if (error) throw error
  }
}

/** The dearest that a call may get: null output tokens are the model's maximum. Null when the model has no price. */
export async function dearest(tollgate: Tollgate, provider: string, model: string, inputTokens: number) {
  const { data, error } = await tollgate
    .rpc('estimate_llm_cost', {
      p_model_provider: provider, p_model_name: model, p_input_tokens: inputTokens, p_output_tokens: null,
    })
    .single()
  if (error) throw error
  return data.estimated_cost_usd
}

/** What each model has cost a tenant, the dearest first. */
export async function spendByModel(tollgate: Tollgate, tenant: string) {
  const { data, error } = await tollgate
    .schema('metrics').from('llm_costs').select('model_name, request_count, total_cost::text')
    .eq('tenant_id', tenant).order('total_cost', { ascending: false, nullsFirst: false })
  if (error) throw error
  return data
}
