// The image's health check says when the server is ready.
import { connect, type Server } from 'openhands-local'
import { GenericContainer, Wait, type StartedTestContainer } from 'testcontainers'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

let container: StartedTestContainer
let server: Server
beforeAll(async () => {
  container = await new GenericContainer('openhands-local:latest')
    .withCommand(['--no-key', '--data', 'memory'])
    .withExposedPorts(3000)
    .withWaitStrategy(Wait.forHealthCheck())
    .start()
  server = connect(`http://${container.getHost()}:${container.getMappedPort(3000)}`)
})
beforeEach(() => server.reset())
afterAll(() => container.stop())

test('it is alive', async () => {
  expect(await server.call('GET', '/alive')).toEqual({ status: 'ok' })
})
