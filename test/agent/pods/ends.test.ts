import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ExecResult } from '../../../agent/runtime/runtime.ts';
import { podOf } from '../../fakes/pod.ts';
import { withNode, type FakeNode } from './fake-node.ts';

/** How containers end: their hook first, in the same grace, and by whose grace that is. */
const test = suite('ends of containers');
const pod = (container: object, spec: object = {}) => podOf('p', { containers: [{ name: 'a', image: 'a:1', ...container }], terminationGracePeriodSeconds: 600, ...spec });

/** Commands that take their time, and what containers are told at their end: seconds after `from`, and the seconds that are left to them. */
function timed(node: FakeNode, commands: Record<string, Partial<ExecResult> & { readonly takesMs: number }>) {
  const told: { readonly afterMs: number; readonly graceSeconds: number }[] = [];
  const run: string[] = [];
  let fromMs = 0;
  node.runtime.exec = async (_, command, timeoutMs = Infinity) => {
    run.push(command.join(' '));
    const { takesMs, ...result } = commands[command.join(' ')]!;
    const timedOut = takesMs > timeoutMs;
    await new Promise<void>((resolve) => { node.clock.after(Math.min(takesMs, timeoutMs), resolve); });
    return { exitCode: timedOut ? -1 : 0, output: '', timedOut, ...result };
  };
  const stop = node.runtime.stop.bind(node.runtime);
  node.runtime.stop = (id, graceSeconds) => {
    if (node.containers('p').some((one) => one.id === id)) told.push({ afterMs: Math.round((node.clock.monotonic() - fromMs) / 1000) * 1000, graceSeconds });
    return stop(id, graceSeconds);
  };
  return { told, run, from: () => { fromMs = node.clock.monotonic(); } };
}

const deleted = (one: ReturnType<typeof pod>, graceSeconds: number) =>
  ({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-01-02T03:05:05Z', deletionGracePeriodSeconds: graceSeconds } });
const messages = (node: FakeNode, reason: string): string[] => [...node.events.values()].filter((event) => event.reason === reason).map(({ message }) => message);

for (const [what, preStop, grace, expected, failed] of [
  ['a hook and the stop signal share the grace', { exec: { command: ['work'] } }, 12, { afterMs: 8000, graceSeconds: 4 }, false],
  ['a hook that takes longer is given up, and a moment is left', { exec: { command: ['endless'] } }, 12, { afterMs: 12_000, graceSeconds: 2 }, true],
  ['a hook that fails is told of without its words, and changes nothing else', { exec: { command: ['bad'] } }, 12, { afterMs: 1000, graceSeconds: 11 }, true],
  ['a sleep is a hook', { sleep: { seconds: 5 } }, 12, { afterMs: 5000, graceSeconds: 7 }, false],
  ['and no longer than the grace', { sleep: { seconds: 500 } }, 12, { afterMs: 12_000, graceSeconds: 2 }, false],
  ['without grace there is no hook', { exec: { command: ['work'] } }, 0, { afterMs: 0, graceSeconds: 0 }, false],
  ['what is no hook fails', { tcpSocket: { port: 1 } }, 12, { afterMs: 0, graceSeconds: 12 }, true],
] as const) {
  test(what, () => withNode(async (node) => {
    const { told, from } = timed(node, { work: { takesMs: 8000 }, endless: { takesMs: 1e9 }, bad: { takesMs: 1000, exitCode: 3, output: 'a secret' } });
    const one = pod({ lifecycle: { preStop } });
    await node.assign(one);
    await node.pass(1000);
    assert.is(node.running('p').length, 1);
    from();
    await node.assign(deleted(one, grace));
    await node.pass(20_000);
    assert.equal(told, [expected]);
    assert.equal(messages(node, 'FailedPreStopHook'), failed ? ['PreStopHook failed'] : []);
    assert.ok(node.reports.get('p')?.gone);
  }));
}

for (const kind of ['liveness', 'startup'] as const) {
  test(`a ${kind} probe's own grace, and the pod's where it has none`, () => withNode(async (node) => {
    const { told, run } = timed(node, { probe: { takesMs: 0, exitCode: 1 }, bye: { takesMs: 1000 } });
    const probe = { exec: { command: ['probe'] }, periodSeconds: 10, failureThreshold: 1 };
    const container = (more: object) => ({ [`${kind}Probe`]: { ...probe, ...more }, lifecycle: { preStop: { exec: { command: ['bye'] } } } });
    await node.assign(pod(container({ terminationGracePeriodSeconds: 5 })));
    await node.pass(1500);
    assert.is(told[0]?.graceSeconds, 4, 'what the hook left of it');
    assert.equal(run.slice(0, 2), ['probe', 'bye']);
    assert.is(messages(node, 'Killing')[0], `Container a failed ${kind} probe, will be restarted`);
  }).then(() => withNode(async (node) => {
    const { told } = timed(node, { probe: { takesMs: 0, exitCode: 1 } });
    await node.assign(pod({ [`${kind}Probe`]: { exec: { command: ['probe'] }, failureThreshold: 1 } }));
    await node.pass(2000);
    assert.is(told[0]?.graceSeconds, 600);
  })));
}

test.run();
