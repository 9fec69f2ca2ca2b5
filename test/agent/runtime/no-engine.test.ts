import { mkdtemp, rename, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DockerRuntime } from '../../../agent/runtime/docker.ts';
import { noEngineText } from '../../../agent/runtime/no-engine.ts';
import { RuntimeError } from '../../../agent/runtime/runtime.ts';

const test = suite('no engine');
const base = await mkdtemp(join(tmpdir(), 'wherry-engine-'));
test.after(() => rm(base, { recursive: true }));

const pinged = (socket: string): Promise<string> => new DockerRuntime({ host: `unix://${socket}` }).ping().then(() => 'answered', (error: Error) => {
  assert.instance(error, RuntimeError);
  assert.is((error as RuntimeError).fault, 'unreachable');
  return error.message;
});

test('a socket that is not there', async () => {
  const socket = join(base, 'none.sock');
  assert.is(await pinged(socket), `there is no Docker engine at ${socket}: the socket does not exist; is Docker installed and running?`);
});

test('a socket on which nobody listens', async () => {
  const [made, left] = [join(base, 'made.sock'), join(base, 'left.sock')];
  const server = createServer().listen(made);
  await new Promise((listening) => { server.once('listening', listening); });
  // Under this name it stays when its server has gone, as a killed engine's does.
  await rename(made, left);
  await new Promise((closed) => { server.close(closed); });
  assert.is(await pinged(left), `no Docker engine listens on ${left}; is Docker running?`);
});

test('a socket that this user may not use, and errors that are none of a socket', () => {
  const of = (fields: object): string => noEngineText(Object.assign(new Error('as it is'), fields));
  assert.match(of({ code: 'EACCES', syscall: 'connect', address: '/s' }), /^no permission to use the Docker engine at \/s: run the agent as root/);
  assert.is(of({ code: 'ECONNRESET', syscall: 'read' }), 'as it is');
  assert.is(of({ code: 'EOTHER', syscall: 'connect', address: '/s' }), 'as it is');
});

test.run();
