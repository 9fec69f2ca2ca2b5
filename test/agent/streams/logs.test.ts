import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { logTarget } from '../../../agent/pods/log-target.ts';
import { demultiplex } from '../../../agent/runtime/docker-streams.ts';
import { logs } from '../../../agent/streams/logs.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';
import { created, exited, sandbox, view } from '../pods/views.ts';

const test = suite('logs');
const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1' }] });
const waiting = (reason: string) => ({ containerStatuses: [{ name: 'a', ready: false, restartCount: 0, image: '', imageID: '', state: { waiting: { reason } } }] });

test('which container', () => {
  const crashed = exited('a', 1);
  assert.equal(logTarget(pod, [sandbox(), view('a')], undefined, 'a', false), { id: 'a-0' });
  assert.equal(logTarget(pod, [crashed, view('a', { attempt: 1 })], undefined, 'a', true), { id: 'a-0' });
  assert.equal(logTarget(pod, [crashed, created('a', { attempt: 1 })], undefined, 'a', false), { id: 'a-0' });
  assert.equal(logTarget(pod, [crashed], waiting('CrashLoopBackOff'), 'a', true), { id: 'a-0' });
});

test('why there is none', () => {
  const why = (views: Parameters<typeof logTarget>[1], reason: string, previous = false, name = 'a') => (logTarget(pod, views, waiting(reason), name, previous) as { refused: string }).refused;
  assert.is(why([], 'ContainerCreating'), 'container "a" in pod "p" is waiting to start: ContainerCreating');
  assert.is(why([], 'ImagePullBackOff'), 'container "a" in pod "p" is waiting to start: trying and failing to pull image');
  assert.is(why([view('a')], '', true), 'previous terminated container "a" in pod "p" not found');
  assert.equal(logTarget(pod, [], undefined, 'a', false), { refused: 'container "a" in pod "p" is not available' });
  assert.is(why([], '', false, 'z'), 'container z is not valid for pod p');
});

test('limitBytes cuts within a chunk', async () => {
  const runtime = new FakeRuntime(new FakeClock());
  runtime.addImage('a:1');
  const id = await runtime.create('x', { Image: 'a:1', Labels: {}, HostConfig: {} });
  runtime.held.get(id)!.log = [Buffer.from('one\n'), Buffer.from('two\n'), Buffer.from('three\n')];
  const request = { type: 'logs' as const, namespace: 'default', pod: 'p', uid: '', container: 'a', follow: false, previous: false, timestamps: false, limitBytes: 6 };
  let text = '';
  for await (const chunk of logs(request, { runtime, target: () => ({ id }) }, new AbortController().signal)) text += Buffer.from(chunk).toString();
  assert.is(text, 'one\ntw');
});

test('frames are taken apart however they are cut', async () => {
  const frame = (text: string, stream: number): Buffer => {
    const header = Buffer.alloc(8);
    header[0] = stream;
    header.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([header, Buffer.from(text)]);
  };
  const bytes = Buffer.concat([frame('hello ', 1), frame('', 2), frame('wörld', 2)]);
  for (let size = 1; size <= bytes.length; size++) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
    const got: Uint8Array[] = [];
    for await (const piece of demultiplex((async function* () { yield* chunks; })())) got.push(piece);
    assert.is(Buffer.concat(got).toString(), 'hello wörld');
  }
});

test.run();
