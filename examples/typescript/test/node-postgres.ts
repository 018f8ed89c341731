import pg from 'pg'
import { connect, metered, reserve } from '../node-postgres.ts'
import { failure, tell, tenant } from './environment.ts'

const pool = connect()
const response = { usage: { prompt_tokens: 1000, completion_tokens: 100 }, text: 'Hello' }

tell('metered', { text: (await metered(pool, tenant, 'call-1', '0.01', async () => response)).text })
const down = metered(pool, tenant, 'call-2', '0.01', () => Promise.reject(new Error('the provider is down')))
tell('failed', { message: (await failure(down)).message })
const refused = await failure(metered(pool, tenant, 'call-3', '1000', async () => response))
tell('refused', { status: refused.status, reason: refused.message })
tell('bad input', { code: (await failure(reserve(pool, tenant, 'call-4', 'NaN'))).code })
tell('reused id', { code: (await failure(reserve(pool, tenant, 'call-1', '0.02'))).code })
// The server ends all connections while the model answers.
const restarted = await metered(pool, tenant, 'call-5', '0.01', async () => {
  const other = new pg.Client()
  await other.connect()
  await other.query('set role none')
  await other.query(`select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where usename = session_user and datname = current_database() and pid <> pg_backend_pid()`)
  await other.end()
  return response
})
tell('restarted', { text: restarted.text })
await pool.end()
