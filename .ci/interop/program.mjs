// Runs the built program for the scripts here and beside.
//
// Logs and ready files are kept in the folder INTEROP_TEMP.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

// check prints what holds, and of what does not what was seen.
export function check(name, holds, seen = '') {
  console.log(holds ? 'ok' : 'FAIL', name, holds ? '' : JSON.stringify(seen))
}

// until waits 20 seconds for a condition; says whether it came.
export async function until(condition) {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(10)) {
    if (await condition()) return true
  }
  return condition()
}

// start runs the program: on a free port, or on that of an earlier run.
export async function start(program, { data = 'memory', port = 0, key = '', flags = [] }) {
  const folder = mkdtempSync(join(process.env.INTEROP_TEMP, 'node-'))
  const ready = join(folder, 'ready.json')
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith('OPENHANDS_LOCAL_'))
  const child = spawn(program, ['--addr', `127.0.0.1:${port}`, '--data', data, '--ready-file', ready, ...flags], {
    env: { ...Object.fromEntries(environment), SESSION_API_KEY: key },
    stdio: ['ignore', 'ignore', openSync(join(folder, 'log'), 'w')],
  })
  const log = () => readFileSync(join(folder, 'log'), 'utf8')
  const ended = new Promise(done => child.on('exit', done))
  process.on('exit', () => child.kill('SIGKILL')) // does nothing to what has ended
  await until(() => existsSync(ready) || child.exitCode !== null)
  if (!existsSync(ready)) throw new Error(`the server does not start:\n${log()}`)
  const { url } = JSON.parse(readFileSync(ready))
  const stop = async () => {
    child.kill('SIGTERM')
    if (await Promise.race([ended.then(() => 'ended'), sleep(15_000, 'late', { ref: false })]) === 'late') {
      throw new Error('the server still runs 15 s after SIGTERM')
    }
  }
  return { url, port: Number(new URL(url).port), log, stop }
}
