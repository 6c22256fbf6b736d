// startServer under vitest.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, program, startServer, type StartedServer } from 'openhands-local'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { Client } from './client.js'

let server: StartedServer
beforeAll(async () => { server = await startServer({ maxRunning: 0 }) })
beforeEach(() => server.reset())
afterAll(() => server.stop())

test('a message is kept', async () => {
  const client = new Client(server.url)
  const conversation = await client.create()
  await client.say(conversation, 'Hi')
  const event = await server.waitForEvent(conversation, { source: 'user', args: { content: 'Hi' } })
  expect(event.message).toBe('Hi')
  await server.waitForEvent(conversation, e => e.source === 'agent' && e.message?.includes('Hi') === true, { start: event.id + 1 })
  expect(await client.messages(conversation)).toContain('Hi')
  const requests = await server.requests.wait({ operation: 'AddEvent', status: '2xx' })
  expect(requests.map(r => r.event_id)).toEqual([event.id])
  expect(requests[0].request.body).toContain('"Hi"')
})

test.each([1, 2, 3, 4])('each finds it empty (%i)', async () => {
  const client = new Client(server.url)
  expect(await client.conversations()).toBe(0)
  expect((await server.requests.find({ method: 'GET', path: '/api/*' })).map(r => r.path)).toEqual(['/api/conversations'])
  await client.create()
  expect(await client.conversations()).toBe(1)
})

test('a client tries again', async () => {
  await server.faults.add({ name: 'busy', match: { operation: 'AddEvent' }, do: { status: 503 }, times: 2 })
  await new Client(server.url).say('hello', 'Hi')
  expect(await server.faults.used('busy')).toBe(2)
  expect((await server.requests.find({ operation: 'AddEvent' })).map(r => r.status)).toEqual([503, 503, 200])
})

test('faults of the test before are gone', async () => {
  await server.faults.preset('stays-starting')
  expect(await server.faults.all()).toHaveLength(1)
  await server.reset()
  expect(await server.faults.all()).toEqual([])
  await server.faults.preset('stays-starting')
  await server.faults.clear()
  expect(await server.faults.all()).toEqual([])
})

test('an hour passes at once', async () => {
  await server.clock.freeze()
  await server.clock.set(new Date('2030-01-01T00:00:00Z'))
  await server.clock.advance('1h')
  await server.clock.advance(30 * 60_000)
  expect(await server.clock.now()).toEqual(new Date('2030-01-01T01:30:00Z'))
  await server.clock.resume()
  await expect.poll(async () => Number(await server.clock.now())).toBeGreaterThan(Date.parse('2030-01-01T01:30:00Z'))
  await server.reset()
  expect((await server.clock.now()).getFullYear()).toBeLessThan(2030)
  await server.clock.set('2031-01-01T00:00:00Z')
  await server.clock.reset()
  expect((await server.clock.now()).getFullYear()).toBeLessThan(2030)
})

test.concurrent.each(['one', 'two', 'three'])('at once, in the world %s', async name => {
  const world = server.world(name)
  const client = new Client(world.url)
  await client.say('hello', name)
  await world.waitForEvent('hello', { message: name })
  expect(await client.conversations()).toBe(1)
  expect(await world.requests.find({ operation: 'AddEvent' })).toHaveLength(1)
})

test('what does not come is told', async () => {
  await new Client(server.url).say('hello', 'Hi')
  await expect(server.waitForEvent('hello', { action: 'finish' }, { timeout: 1000 })).rejects.toThrow('within 1000 ms; there came: 0 user message')
  await expect(server.requests.wait({ operation: 'DeleteConversation' }, { timeout: 100 })).rejects.toThrow('0 of 1 requests came')
  await expect(server.waitForEvent('none', {})).rejects.toThrow('answers 404')
  await expect(server.call('GET', '/api/conversations/none/events')).rejects.toMatchObject({ status: 404 })
})

test('a key, flags and an end', async () => {
  const data = join(mkdtempSync(join(tmpdir(), 'openhands-local-')), 'data')
  const other = await startServer({ strict: true, key: 'secret', data, allowHost: ['a.example', 'b.example'] })
  expect(await other.call('GET', '/_local/info')).toMatchObject({ strict: true })
  await expect(connect(other.url).call('GET', '/api/conversations')).rejects.toMatchObject({ status: 401 })
  await connect(other.url, { key: 'secret' }).call('GET', '/api/conversations')
  await other.stop()
  expect(existsSync(join(data, 'events.db'))).toBe(true)
  await expect(fetch(other.url)).rejects.toThrow()
})

test('one that does not start', async () => {
  await expect(startServer({ agent: 'nobody', addr: 'localhost:0' })).rejects.toThrow('ended with 2')
})

test('it ends with its process, and does not keep it', async () => {
  const script = "require('openhands-local').startServer().then(server => console.log(server.url))"
  const url = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }).trim()
  await expect.poll(() => fetch(url).then(() => 'serves', () => 'gone'), { timeout: 10_000 }).toBe('gone')
})

test('the command', () => {
  const version = execFileSync('npx', ['--no', '--', 'openhands-local', '--version'], { encoding: 'utf8' })
  expect(version).toBe(execFileSync(program(), ['--version'], { encoding: 'utf8' }))
  expect(spawnSync('npx', ['--no', '--', 'openhands-local', 'nothing']).status).toBe(2)
})

test('there is no Go here', () => {
  expect(spawnSync('go', ['version']).status).toBe(127)
})
