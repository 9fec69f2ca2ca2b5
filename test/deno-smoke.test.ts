import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, until } from './e2e/lab.ts';

/** Master and agent on Deno, from the very sources, without a build: the node joins and the API answers. */
const test = suite('deno smoke');
const deno = ['node_modules/.bin/deno', 'run', '-A', '--no-prompt', '--node-modules-dir=manual'] as const;
const port = 26443;
const processes: ChildProcess[] = [];
let directory = '';

function start(...args: string[]): { readonly output: () => string } {
  const child = spawn(deno[0], [...deno.slice(1), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  processes.push(child);
  return { output: () => text };
}

test.before(async () => { directory = await mkdtemp(join(tmpdir(), 'wherry-deno-')); });
test.after(async () => {
  await Promise.all(processes.map((child) => new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), 5000).unref();
  })));
  await rm(directory, { recursive: true, force: true });
});

test('master and agent run from their sources', async () => {
  const data = join(directory, 'master');
  const master = start('master/main.ts', 'master', '--data-dir', data, '--bind-address', '127.0.0.1', '--port', String(port));
  await until('the master is ready', 30_000, async () => master.output().includes('master: ready'));
  const token = (await run(deno[0], [...deno.slice(1), 'master/main.ts', 'token', 'create', '--data-dir', data])).trim();
  assert.match(token, /^wherry1\.[a-z0-9]{6}\.[a-z0-9]{16}\.[\w-]{43}$/);
  const agent = start('agent/main.ts', '--master', `wss://127.0.0.1:${port}`, '--token', token, '--node-name', 'deno', '--node-ip', '127.0.0.1', '--data-dir', join(directory, 'agent'),
    // No engine is needed to join: the node then says that its runtime is down.
    '--docker-host', `unix://${directory}/no-engine.sock`);
  await until('the node has joined', 30_000, async () => {
    const list = await run(deno[0], ['eval', `
      import { readFileSync } from 'node:fs';
      import { request } from 'node:https';
      const text = readFileSync(${JSON.stringify(join(data, 'admin.kubeconfig'))}, 'utf8');
      const pem = (key) => atob(new RegExp(key + ': (\\\\S+)').exec(text)[1]);
      request('https://127.0.0.1:${port}/api/v1/nodes/deno', { ca: pem('certificate-authority-data'), cert: pem('client-certificate-data'), key: pem('client-key-data') }, (answer) => {
        let body = ''; answer.on('data', (chunk) => { body += chunk; }).on('end', () => console.log(body));
      }).end();`]);
    return list.includes('"kubeletVersion"') && list.includes('container runtime');
  }).catch((error: Error) => { throw new Error(`${error.message}\n${agent.output()}`); });
});

test.run();
