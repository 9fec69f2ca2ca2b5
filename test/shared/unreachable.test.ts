import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseUnreachable, stopSecondsOf, unreachableAnnotation } from '../../shared/unreachable.ts';
import { podOf } from '../fakes/pod.ts';

const test = suite('unreachable');

test('what can be said', () => {
  const none = undefined;
  for (const [text, stopSeconds, replaceSeconds] of [
    ['stay', none, Infinity], ['replace=300', none, 300], ['replace=0', none, 0], ['stop=600', 600, none],
    ['stop=600,stay', 600, Infinity], ['replace=900, stop=600', 600, 900],
  ] as const) assert.equal(parseUnreachable(text), { stopSeconds, replaceSeconds }, text);
});

test('and what cannot', () => {
  for (const text of ['', 'go', 'stay=3', 'stop', 'stop=', 'stop=-1', 'stop=1.5', 'stop=5m', 'stay,replace=3', 'stop=1,stop=2', 'stop=1,', 'stop=1;stay', 'stop=99999999999']) {
    assert.is(parseUnreachable(text), undefined, text);
  }
});

test('a pod without the annotation, or with one that makes no sense, is never stopped', () => {
  const pod = (annotations: Record<string, string>) => podOf('p', { containers: [{ name: 'a', image: 'a' }] }, { annotations });
  assert.is(stopSecondsOf(pod({})), undefined);
  assert.is(stopSecondsOf(pod({ [unreachableAnnotation]: 'nonsense' })), undefined);
  assert.is(stopSecondsOf(pod({ [unreachableAnnotation]: 'stop=7,stay' })), 7);
});

test.run();
