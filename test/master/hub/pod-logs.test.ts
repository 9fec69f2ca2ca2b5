import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readRequest } from '../../../master/hub/pod-logs.ts';
import type { StatusError } from '../../../shared/status.ts';

const test = suite('log options');
const nowMs = Date.parse('2030-01-01T00:00:00Z');
const read = (query: string) => readRequest(new URLSearchParams(query), 'web', nowMs);
const plain = { container: '', follow: false, previous: false, timestamps: false };

test('what kubectl asks for', () => {
  assert.equal(read(''), plain);
  assert.equal(read('follow=true&previous=1&timestamps=false&container=a&tailLines=0&limitBytes=5'), { container: 'a', follow: true, previous: true, timestamps: false, tailLines: 0, limitBytes: 5 });
  assert.equal(read('sinceSeconds=60'), { ...plain, sinceMs: nowMs - 60_000 });
  assert.equal(read('sinceTime=2029-01-01T00:00:00Z'), { ...plain, sinceMs: Date.parse('2029-01-01T00:00:00Z') });
});

test('longer ago than time is counted from', () => {
  assert.is(read('sinceSeconds=9000000000').sinceMs, 0);
  assert.is(read('sinceTime=1969-01-01T00:00:00Z').sinceMs, 0);
});

test('what is wrong is said as upstream says it', () => {
  const problem = (query: string): string => {
    try {
      return JSON.stringify(read(query));
    } catch (error) {
      return `${(error as StatusError).code} ${(error as StatusError).message}`;
    }
  };
  assert.is(problem('tailLines=-1'), '422 PodLogOptions "web" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0');
  assert.is(problem('limitBytes=0'), '422 PodLogOptions "web" is invalid: limitBytes: Invalid value: 0: must be greater than 0');
  assert.is(problem('sinceSeconds=0&limitBytes=-2'), '422 PodLogOptions "web" is invalid: [sinceSeconds: Invalid value: 0: must be greater than 0, limitBytes: Invalid value: -2: must be greater than 0]');
  assert.match(problem('sinceSeconds=5&sinceTime=2029-01-01T00:00:00Z'), /^422 PodLogOptions "web" is invalid: .*Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified$/);
  assert.is(problem('tailLines=ten'), '400 strconv.ParseInt: parsing "ten": invalid syntax');
  assert.match(problem('sinceTime=yesterday'), /^400 /);
});

test.run();
