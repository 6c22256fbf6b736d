#!/usr/bin/env node
// The command openhands-local: the program of this platform.
'use strict'

const { spawn } = require('node:child_process')
const { program } = require('./index.js')

const child = spawn(program(), process.argv.slice(2), { stdio: 'inherit' })
child.on('error', error => {
  console.error('openhands-local:', error.message)
  process.exit(1)
})
// Ctrl-C reaches the program too; what is sent to this process alone is passed on.
process.on('SIGINT', () => {})
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => {
  if (!signal) process.exit(code ?? 1)
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
})
