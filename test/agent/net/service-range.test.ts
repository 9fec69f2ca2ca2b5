import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createServiceRange } from '../../../agent/net/service-range.ts';
import type { ServiceRangeOptions } from '../../../agent/net/service-range.ts';
import { systemClock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';

const test = suite('service range');
const replace = '-4 route replace local 10.96.0.0/16 dev lo src 192.168.77.5';
const present = 'local 10.96.0.0/16 dev lo scope host src 192.168.77.5 \n';

function setup(answers: { show?: string; fail?: Error }, over: Partial<ServiceRangeOptions> = {}) {
  const calls: string[] = [];
  const range = createServiceRange({
    range: '10.96.0.0/16', nodeAddress: '192.168.77.5', clock: systemClock, log: silentLog,
    async ip(args) {
      const call = args.join(' ');
      calls.push(call);
      if (call.includes(' show ')) return answers.show ?? '';
      if (answers.fail) throw answers.fail;
      return '';
    },
    ...over,
  });
  return { range, calls };
}

async function refusal(run: () => Promise<void>): Promise<string> {
  return run().then(() => 'no error', (error: Error) => error.message);
}

test('makes the route', async () => {
  const { range, calls } = setup({});
  await range.ensure();
  assert.equal(calls.slice(1), [replace]);
});

test('leaves a route that is there', async () => {
  const { range, calls } = setup({ show: present });
  await range.ensure();
  assert.is(calls.length, 1);
});

test('replaces a route with another source', async () => {
  const { range, calls } = setup({ show: present.replace('77.5', '77.55') });
  await range.ensure();
  assert.is(calls[1], replace);
});

const failures: [string, Error, RegExp][] = [
  ['not permitted', new Error('RTNETLINK answers: Operation not permitted'), /not permitted; run the agent as root or with CAP_NET_ADMIN/],
  ['no ip command', Object.assign(new Error('spawn ip ENOENT'), { code: 'ENOENT' }), /the command ip is missing \(package iproute2\)/],
  ['a source that is no address of the node', new Error('RTNETLINK answers: Invalid argument'), /10\.96\.0\.0\/16 local with src 192\.168\.77\.5: RTNETLINK answers: Invalid argument/],
];
for (const [name, fail, want] of failures) {
  test(`says why: ${name}`, async () => {
    const { range } = setup({ fail });
    assert.match(await refusal(() => range.ensure()), want);
  });
}

test('refuses a range that is none, or that holds the node itself', async () => {
  assert.match(await refusal(() => setup({}, { range: 'fd00::/64' }).range.ensure()), /is no IPv4 network/);
  assert.match(await refusal(() => setup({}, { range: '10.96.0.0' }).range.ensure()), /is no IPv4 network/);
  assert.match(await refusal(() => setup({}, { range: '192.168.0.0/16' }).range.ensure()), /holds 192\.168\.77\.5, an address of this node/);
  assert.match(await refusal(() => setup({}, { range: '127.0.0.0/8' }).range.ensure()), /holds 127\.0\.0\.1/);
});

test('run tells changes only, goes on after a failure, and removes the route at stop when asked', async () => {
  const answers: { show?: string; fail?: Error } = { fail: new Error('Operation not permitted') };
  const changes: boolean[] = [];
  const stop = new AbortController();
  let rounds = 0;
  const { range, calls } = setup(answers, {
    removeAtStop: true, onChange: (holds) => changes.push(holds),
    clock: { ...systemClock, after: (_, run) => {
      rounds++;
      if (rounds === 3) delete answers.fail;
      setImmediate(rounds === 6 ? () => stop.abort() : run);
      return () => {};
    } },
  });
  await range.run(stop.signal);
  assert.equal(changes, [false, true]);
  assert.is(calls.at(-1), '-4 route del local 10.96.0.0/16 dev lo');
});

test.run();
