// node-postgres: numeric and bigint arrive as text, so money stays exact. Keep the model call outside of transactions.

import pg, { type Pool } from 'pg'

export interface Hold {
  reservation_id: string | null // null when refused
  status: string
  reason: string | null
  retry_after_seconds: number | null
}

/** A connection that ends while it is idle would end the process, if nobody listened. */
export function connect(): Pool {
  return new pg.Pool().on('error', (error) => console.error(error.message))
}

/** Sets an upper bound aside, named arguments in SQL's own notation. */
export async function reserve(pool: Pool, tenant: string, requestId: string, usd: string): Promise<Hold> {
  const { rows } = await pool.query<Hold>(
    `select reservation_id, status, reason, retry_after_seconds
       from reserve_quota(p_tenant_id => $1, p_resource_type => 'llm', p_amount_usd => $2, p_request_id => $3)`,
    [tenant, usd, requestId],
  )
  return rows[0]!
}

/** Records what the provider reported, and frees the rest of the hold. Returns the cost as text, null without a price.
 *  The money is spent, so it is tried again when the connection is lost. The request id makes that harmless. */
export async function record(
  pool: Pool, tenant: string, requestId: string, reservation: string, usage: object,
): Promise<string | null> {
  for (let wait = 100; ; wait *= 4) {
    try {
      const { rows } = await pool.query<{ cost_usd: string | null }>(
        `select cost_usd
           from record_llm_usage(p_tenant_id => $1, p_model_provider => 'openai', p_model_name => 'gpt-4o',
                                 p_usage => $2, p_request_id => $3, p_reservation_id => $4)`,
        [tenant, JSON.stringify(usage), requestId, reservation],
      )
      return rows[0]!.cost_usd
    } catch (error) {
      if (wait > 5_000) throw error
      await new Promise((resolve) => setTimeout(resolve, wait))
    }
  }
}

/** Reserve, call, record; a call that failed costs nothing. */
export async function metered<Response extends { usage: object }>(
  pool: Pool, tenant: string, requestId: string, usd: string, call: () => Promise<Response>,
): Promise<Response> {
  const hold = await reserve(pool, tenant, requestId, usd)
  if (!hold.reservation_id) throw Object.assign(new Error(hold.reason ?? hold.status), hold)
  const response = await call().catch(async (error: unknown) => {
    await pool.query('select release_reservation($1)', [hold.reservation_id])
    throw error
  })
  await record(pool, tenant, requestId, hold.reservation_id, response.usage)
  return response
}
