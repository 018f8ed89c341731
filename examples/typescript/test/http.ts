// PostgREST's protocol before the database, without Docker. Prints the port, and serves until it is ended.

import { serve } from '@hono/node-server'
import { App } from '@supabase/lite'
import { PostgresConnection } from '@supabase/lite/postgres'

// An argument of type jsonb is JSON text already, which its driver would make a JSON string of.
const jsonb = { to: 3802, from: [3802], serialize: String, parse: JSON.parse }
const url = `postgresql:///${process.env.PGDATABASE}`
const connection = new PostgresConnection({ url, postgresOptions: { types: { jsonb } } })
// The API roles are there with their grants; it would make them, and grant them every table.
Object.assign(connection, { rlsState: 'active' })
const app = new App({
  connection,
  api: { schemas: ['public', 'metrics'] },
  auth: {
    enabled: true, jwt_secret: process.env.SUPABASE_JWT_SECRET!, publishable_key: 'sb_publishable_examples',
    secret_key: process.env.SUPABASE_SECRET_KEY!,
  },
})
serve({ fetch: (request) => app.fetch(request, { peerAddress: null }), hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  console.log(port)
})
