// node-postgres at the console. Ends with status 0 when every check held.
'use strict'
const assert = require('assert')
const { Client } = require('pg')

async function main() {
  const client = new Client({ database: process.argv[2] })
  await client.connect()
  const pools = await client.query('SHOW POOLS')
  assert(pools.rows[0].cl_active >= 1, pools.rows)
  assert.strictEqual(pools.fields[2].dataTypeID, 23)
  const named = { name: 'lists', text: 'SHOW LISTS' }
  for (let turn = 0; turn < 3; turn++) assert((await client.query(named)).rows.length >= 14)
  await assert.rejects(client.query('KILL_CLIENT $1', [1000000]), { code: '42704' })
  await assert.rejects(client.query('SHOW NONSENSE'), { code: '42601' })
  const both = await client.query('SHOW VERSION; SHOW STATE')
  assert.deepStrictEqual(both.map((one) => one.rows.length >= 1), [true, true])
  assert.strictEqual((await client.query('')).rows.length, 0)
  await client.end()
}

main().catch((error) => { console.error(error); process.exit(1) })
