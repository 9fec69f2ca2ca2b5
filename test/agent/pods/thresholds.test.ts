import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultHard, isMet, keptBack, parseDuration, parseGraces, parseThresholds, quantityOf, type Observations } from '../../../agent/pods/thresholds.ts';

const test = suite('eviction thresholds');
const says = (run: () => unknown, what: RegExp): void => assert.throws(run, (error: Error) => what.test(error.message));

test('the kubelet\'s text is read, memory first', () => {
  assert.equal(parseThresholds('nodefs.available<10%, memory.available<100Mi'), [
    { signal: 'memory.available', value: { amount: 104_857_600 }, graceMs: 0 }, { signal: 'nodefs.available', value: { share: 0.1 }, graceMs: 0 },
  ]);
  assert.is(parseThresholds(defaultHard).length, 5);
  assert.equal(parseThresholds('memory.available<0%,nodefs.available<100%'), []);
  assert.equal(parseThresholds(''), []);
});

test('what is wrong is said in the kubelet\'s words', () => {
  says(() => parseThresholds('memory.available=1Gi'), /^invalid eviction threshold syntax memory\.available=1Gi, expected <signal><operator><value>$/);
  says(() => parseThresholds('cpu.available<1'), /^eviction signal cpu\.available is not supported$/);
  says(() => parseThresholds('memory.available<1Gi,memory.available<2Gi'), /^found duplicate eviction threshold for signal memory\.available$/);
  says(() => parseThresholds('memory.available<-1Gi'), /^eviction threshold memory\.available must be positive: -1Gi$/);
  says(() => parseThresholds('memory.available<lots'), /must be positive: lots$/);
  says(() => parseThresholds('nodefs.available<101%'), /must be >= 0% and <= 100%: 101%$/);
  says(() => parseGraces('memory.available=soon'), /^invalid eviction grace period memory\.available=soon/);
});

test('durations', () => {
  assert.equal(['1m30s', '90s', '1.5h', '500ms', '5', '', '1d'].map(parseDuration), [90_000, 90_000, 5_400_000, 500, undefined, undefined, undefined]);
});

test('a threshold is met below it, and never by what cannot be read', () => {
  const seen = (available: number, capacity: number): Observations => new Map([['nodefs.available', { available, capacity }]]);
  const [tenth] = parseThresholds('nodefs.available<10%');
  assert.equal([isMet(tenth!, seen(99, 1000)), isMet(tenth!, seen(100, 1000)), isMet(tenth!, seen(0, 0)), isMet(tenth!, new Map())], [true, false, false, false]);
  assert.is(quantityOf(tenth!, 1005), 100);
});

test('hard thresholds are kept from what pods may ask for, soft ones are not', () => {
  const thresholds = [...parseThresholds('memory.available<1Ki,nodefs.available<10%'), ...parseThresholds('memory.available<1Mi', () => 1000)];
  assert.equal(keptBack(thresholds, { memoryBytes: 10_000, diskBytes: 5000 }), { memoryBytes: 1024, diskBytes: 500 });
});

test.run();
