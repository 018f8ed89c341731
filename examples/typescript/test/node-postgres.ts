import pg from 'pg'
import { metered, reserve } from '../node-postgres.ts'
import { failure, tell, tenant } from './environment.ts'

const pool = new pg.Pool()
const response = { usage: { prompt_tokens: 1000, completion_tokens: 100 }, text: 'Hello' }

tell('metered', { text: (await metered(pool, tenant, 'call-1', '0.01', async () => response)).text })
const down = metered(pool, tenant, 'call-2', '0.01', () => Promise.reject(new Error('the provider is down')))
tell('failed', { message: (await failure(down)).message })
const refused = await failure(metered(pool, tenant, 'call-3', '1000', async () => response))
tell('refused', { status: refused.status, reason: refused.message })
tell('bad input', { code: (await failure(reserve(pool, tenant, 'call-4', 'NaN'))).code })
tell('reused id', { code: (await failure(reserve(pool, tenant, 'call-1', '0.02'))).code })
await pool.end()
