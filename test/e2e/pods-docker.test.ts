import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Bench, simplePod } from './pods-support.ts';

const test = suite('pods on Docker');
const bench = new Bench('wherry-e2e-pods');

test.before(() => bench.start());
test.after(() => bench.cleanUp());

test('a pod runs, is reported as a kubelet would, and is gone when deleted', async () => {
  const pod = simplePod('run');
  const began = performance.now();
  await bench.assign(pod);
  const status = await bench.phase('run', 'Running');
  console.log(`running after ${Math.round(performance.now() - began)} ms`);
  console.log(JSON.stringify(status, null, 1), JSON.stringify(bench.events.map((e) => e.message)));
  assert.ok(status.podIP);
  await bench.delete(pod, 5);
  await bench.gone('run');
  console.log(`gone after ${Math.round(performance.now() - began)} ms`);
  assert.equal((await bench.containers()).length, 0);
});

test.run();
