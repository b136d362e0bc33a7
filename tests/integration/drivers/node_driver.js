// node-postgres through the target, scenario by scenario: node node_driver.js SCENARIO
// Reports {"served": [[client, backend], ...]} and ends with status 0 when every check held.
'use strict'
const assert = require('assert')
const { Client, Pool } = require('pg')
const optional = (name) => { try { return require(name) } catch { return null } }
const Cursor = optional('pg-cursor')
const served = []

async function connect(options) {
  const client = new Client(options)
  await client.connect()
  return client
}

const scenarios = {
  // The same names with different text in every client, used again and again.
  async named() {
    const clients = await Promise.all(Array.from({ length: 12 }, () => connect()))
    await Promise.all(clients.map(async (client, number) => {
      for (let turn = 0; turn < 20; turn++) {
        await client.query('begin')
        const pid = await client.query({ name: 'pid', text: 'select pg_backend_pid() as pid' })
        served.push([number, pid.rows[0].pid])
        const got = await client.query({ name: 's1', text: `select $1::int + ${number} as sum, $2::text as tag`, values: [turn, `${number}/${turn}`] })
        assert.deepStrictEqual(got.rows, [{ sum: turn + number, tag: `${number}/${turn}` }])
        await client.query('commit')
        const loose = await client.query({ name: 's2', text: `select ${number}::int as number` })
        assert.strictEqual(loose.rows[0].number, number)
      }
      // node-postgres itself refuses another text under a name it has used.
      await assert.rejects(client.query({ name: 's1', text: 'select 1' }), /must be unique/)
      await client.end()
    }))
  },

  // Each client is told what everybody notifies, in one order, and knows its own by the process id.
  async notifications() {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect()))
    const orders = clients.map(() => [])
    clients.forEach((client, number) => client.on('notification', (note) => {
      assert.strictEqual(note.payload.startsWith(`${number} `), note.processId === client.processID)
      orders[number].push(note.payload)
    }))
    await Promise.all(clients.map((client) => client.query('listen news')))
    await Promise.all(clients.map(async (client, number) => {
      for (let turn = 0; turn < 5; turn++) {
        await client.query('begin')
        served.push([number, (await client.query('select pg_backend_pid() as pid')).rows[0].pid])
        await client.query("select pg_notify('news', $1)", [`${number} ${turn}`])
        await client.query('commit')
      }
    }))
    for (let patience = 0; orders.some((order) => order.length < 40) && patience < 200; patience++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    orders.forEach((order) => assert.deepStrictEqual(order, orders[0]))
    assert.strictEqual(orders[0].length, 40)
    await Promise.all(clients.map((client) => client.end()))
  },

  async pool() {
    const pool = new Pool({ max: 15 })
    await pool.query('drop table if exists node_rows; create table node_rows (n int primary key, body jsonb)')
    await Promise.all(Array.from({ length: 300 }, async (_, number) => {
      const client = await pool.connect()
      try {
        await client.query('begin')
        served.push([client.processID, (await client.query('select pg_backend_pid() as pid')).rows[0].pid])
        await client.query('insert into node_rows values ($1, $2)', [number, { number, text: 'é'.repeat(number) }])
        if (number % 10 === 0) {
          await assert.rejects(client.query('insert into node_rows values ($1, $2)', [number, {}]), { code: '23505' })
          await assert.rejects(client.query('select 1'), { code: '25P02' })
          await client.query('rollback')
        } else {
          const row = (await client.query('select body from node_rows where n = $1', [number])).rows[0]
          assert.deepStrictEqual(row.body, { number, text: 'é'.repeat(number) })
          await client.query('commit')
        }
      } finally {
        client.release()
      }
    }))
    const counted = await pool.query('select count(*)::int as count from node_rows')
    assert.strictEqual(counted.rows[0].count, 270)
    await pool.end()
  },

  // Queries queued on one client without waiting, errors among them.
  async queued() {
    const client = await connect()
    const answers = await Promise.allSettled(Array.from({ length: 200 }, (_, number) =>
      number % 7 === 3 ? client.query('select $1::int / 0', [number]) : client.query('select $1::int as n', [number])))
    answers.forEach((answer, number) => {
      if (number % 7 === 3) assert.strictEqual(answer.reason.code, '22012')
      else assert.strictEqual(answer.value.rows[0].n, number)
    })
    const several = await client.query('select 1 as a; select 2 as b; select 3 as c')
    assert.deepStrictEqual(several.map((result) => Object.values(result.rows[0])[0]), [1, 2, 3])
    await client.end()
  },

  async settings() {
    const clients = await Promise.all(Array.from({ length: 6 }, (_, number) =>
      connect({ application_name: `node ${number}`, options: `-c search_path=s${number} -c geqo=off`, statement_timeout: 10000 + number })))
    for (let turn = 0; turn < 4; turn++) {
      await Promise.all(clients.map(async (client, number) => {
        const row = (await client.query(`select current_setting('application_name') as a, current_setting('search_path') as s,
          current_setting('geqo') as g, current_setting('statement_timeout') as t, pg_backend_pid() as pid`)).rows[0]
        served.push([number, row.pid])
        assert.deepStrictEqual({ ...row, pid: 0 }, { a: `node ${number}`, s: `s${number}`, g: 'off', t: number ? `${10000 + number}ms` : '10s', pid: 0 })
      }))
    }
    served.length = 0 // connections are chosen by equal settings: rotation is no promise here
    await Promise.all(clients.map((client) => client.end()))
  },

  async cursors() {
    if (!Cursor) return console.log('no pg-cursor')
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect()))
    await Promise.all(clients.map(async (client, number) => {
      for (let turn = 0; turn < 5; turn++) {
        await client.query('begin')
        served.push([number, (await client.query('select pg_backend_pid() as pid')).rows[0].pid])
        const cursor = client.query(new Cursor('select n from generate_series(1, $1::int) n', [1000]))
        let sum = 0
        for (let rows; (rows = await cursor.read(150)).length;) sum += rows.reduce((total, row) => total + row.n, 0)
        assert.strictEqual(sum, 500500)
        await cursor.close()
        const early = client.query(new Cursor('select n from generate_series(1, 100000) n'))
        assert.strictEqual((await early.read(10)).length, 10)
        await early.close()
        await client.query('commit')
      }
      await client.end()
    }))
  },

  // A client side time-out destroys the connection; what ran must not stay.
  async timeouts() {
    for (let turn = 0; turn < 5; turn++) {
      const client = await connect({ query_timeout: 100 })
      client.on('error', () => {})
      await assert.rejects(client.query('select pg_sleep(20)'), /timeout/)
      client.connection.stream.destroy()
    }
    const client = await connect({ statement_timeout: 100 })
    await assert.rejects(client.query('select pg_sleep(20)'), { code: '57014' })
    assert.strictEqual((await client.query('select 7 as n')).rows[0].n, 7)
    await client.end()
  },
}

scenarios[process.argv[2]]().then(
  () => console.log(JSON.stringify({ served })),
  (error) => { console.error(error); process.exit(1) })
