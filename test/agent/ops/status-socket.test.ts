import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readAgentConfig } from '../../../agent/config.ts';
import { askStatus } from '../../../agent/ops/ask.ts';
import { collect, type StatusSources } from '../../../agent/ops/collect.ts';
import { exitCodeOf, StatusFailure } from '../../../agent/ops/status.ts';
import { serveStatus, socketPath } from '../../../agent/ops/status-socket.ts';
import { LinkStatus } from '../../../agent/session/link-status.ts';
import { Journal } from '../../../agent/state/journal.ts';
import { silentLog } from '../../../shared/log.ts';
import { podOf } from '../../fakes/pod.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { until } from '../../e2e/lab.ts';

const test = suite('agent status socket');
let dataDir = '';

test.before.each(async () => { dataDir = await mkdtemp(join(tmpdir(), 'wherry-status-')); });
test.after.each(async () => { await rm(dataDir, { recursive: true, force: true }); });

const served = async (answer: () => Promise<unknown>): Promise<() => Promise<void>> => {
  const abort = new AbortController();
  const running = serveStatus({ dataDir, answer, log: silentLog }, abort.signal);
  await until('the socket is there', 10_000, () => stat(socketPath(dataDir)).then((found) => (found.mode & 0o777) === 0o600), 10);
  return async () => { abort.abort(); await running; };
};

const pod = podOf('web', { containers: [{ name: 'main', image: 'a:1' }] }, { uid: 'u1' });

test('a running agent answers, and its files do when it has ended', async () => {
  const clock = new FakeClock();
  const state = await Journal.open({ directory: join(dataDir, 'state'), log: silentLog });
  await state.apply({ epoch: 'e', revision: 7, complete: true, items: [{ type: 'pod', revision: 7, object: pod }], removed: [] });
  await state.note('pod-status/u1', { phase: 'Running' });
  const link = new LinkStatus(clock);
  link.bytes.sent = 12;
  let trouble: string | undefined;
  let engineTrouble: string | undefined;
  const sources: StatusSources = {
    config: readAgentConfig({ nodeName: 'edge-1', nodeIp: '192.0.2.1', dataDir, master: 'wss://m:6443' }), clock, startedMs: clock.now(), state, link: () => link.view, trouble: () => trouble,
    parts: () => ({ pods: [{ pod, status: { phase: 'Running' as const } }], listeners: [], serviceRange: undefined, unsent: { pods: 1, events: 2, eventsDropped: 3 }, engineTrouble }),
  };
  const stop = await served(() => collect(sources));
  link.trying();
  link.ended('refused', 5000);
  [trouble, engineTrouble] = ['disk full', 'no Docker here'];
  const away = await askStatus(dataDir);
  assert.equal([away.state, exitCodeOf(away), away.link?.lastError?.message, away.link?.nextTry], ['not connected', 1, 'refused', '2026-01-02T03:04:10.000Z']);
  assert.equal(away.problems, ['the state cannot be written: disk full', 'the engine does not answer: no Docker here']);
  [trouble, engineTrouble] = [undefined, undefined];
  link.welcomed();
  const status = await askStatus(dataDir);
  assert.equal([status.state, exitCodeOf(status), status.node, status.master, status.held.revision, status.link?.bytesSent, status.unsent], ['connected', 0, 'edge-1', 'https://m:6443', 7, 12, { pods: 1, events: 2, eventsDropped: 3 }]);
  assert.equal(status.pods.map(({ name, phase }) => [name, phase]), [['web', 'Running']]);
  assert.ok(status.flash!.journalBytes > 0 && status.memory!.residentBytes > 1e6);
  await stop();
  await state.close();
  const stopped = await askStatus(dataDir);
  assert.equal([stopped.state, exitCodeOf(stopped), stopped.held, stopped.pods.map(({ name, phase }) => [name, phase])], ['not running', 2, { epoch: 'e', revision: 7, items: 1 }, [['web', 'Running']]]);
});

test('nothing there, a socket that was left, a journal that is damaged', async () => {
  const none = await askStatus(join(dataDir, 'nowhere'));
  assert.equal([none.state, none.node, none.held.revision, none.problems], ['not running', '', 0, []]);
  const state = await Journal.open({ directory: join(dataDir, 'state'), log: silentLog });
  await state.apply({ epoch: 'e', revision: 7, complete: true, items: [{ type: 'pod', revision: 7, object: pod }], removed: [] });
  await state.close();
  // A process that is killed leaves its socket: as here, where one ends without closing it.
  const child = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(socketPath(dataDir))}, () => process.kill(process.pid, 'SIGKILL'))`]);
  await once(child, 'exit');
  assert.ok((await stat(socketPath(dataDir))).isSocket());
  assert.is((await askStatus(dataDir)).state, 'not running');
  await (await served(() => Promise.resolve({})))();
  await mkdir(join(dataDir, 'identity'));
  await writeFile(join(dataDir, 'identity', 'identity.json'), '{}');
  const damaged = await askStatus(dataDir);
  assert.is(damaged.problems.length, 1);
  assert.match(damaged.problems[0]!, /identity\.json is unreadable/);
});

test('a process that has the state and does not answer counts as running', async () => {
  const state = await Journal.open({ directory: join(dataDir, 'state'), log: silentLog });
  try {
    const status = await askStatus(dataDir);
    assert.equal([status.state, status.pid, exitCodeOf(status)], ['not connected', process.pid, 1]);
    assert.match(status.problems[0]!, /runs this agent and does not answer/);
  } finally {
    await state.close();
  }
});

test('an answer that makes no sense, or none, is one line', async () => {
  for (const answer of [() => Promise.resolve({ state: 'great' }), () => Promise.reject(new Error('bug'))]) {
    const stop = await served(answer);
    try {
      await askStatus(dataDir);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, StatusFailure);
      assert.not.match((error as Error).message, /\n/);
    }
    await stop();
  }
});

test('many clients that read nothing do not keep others out for long, and nothing is kept of them', async () => {
  let asked = 0;
  const stop = await served(() => Promise.resolve({ asked: ++asked, filler: 'x'.repeat(4_000_000) }));
  const idle = Array.from({ length: 4 }, () => connect(socketPath(dataDir)));
  await Promise.all(idle.map((socket) => once(socket, 'connect')));
  await until('all are answered', 10_000, () => Promise.resolve(asked === 4), 10);
  // The fifth is turned away at once instead of waiting.
  const fifth = connect(socketPath(dataDir));
  fifth.on('error', () => undefined);
  await once(fifth, 'close');
  assert.is(asked, 4);
  for (const socket of idle) socket.destroy();
  await stop();
});

test.run();
